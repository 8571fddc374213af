"""Distillation: a Gaussian avatar that imitates another avatar (student and teacher)."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from avatarkit import heads
from avatarkit.files.errors import AvatarkitError
from avatarkit.files.track import Track
from avatarkit.methods.gaussians import config as configs
from avatarkit.methods.gaussians.avatar import GaussiansAvatar
from avatarkit.methods.gaussians.measure import Gauge
from avatarkit.methods.gaussians.method import Gaussians, around, metrics, poses, train
from avatarkit.methods.gaussians.student import TaughtFrames, lessons, whole
from avatarkit.methods.gaussians.trainer import Trainer
from avatarkit.methods.registry import Progress
from avatarkit.methods.session import cores
from avatarkit.methods.stage import Stage
from avatarkit.metrics import image as images
from avatarkit.ops import set_threads


@dataclass(frozen=True)
class Likeness:
    """How close a student comes to its teacher on drives it has not seen; means over frames."""

    psnr: float
    """dB over the person's matte"""
    psnr_frame: float
    """dB over the crop"""
    ssim: float
    """over the crop"""
    frames: int


def distill(
    stage: Stage, track: Track | None, config: configs.Config, frames: int, progress: Progress
) -> GaussiansAvatar:
    """A student of the avatar on ``stage``, taught with ``frames`` of its pictures.

    ``track`` is the teacher's training clip, if at hand: its motion is taught then, and its head is the student's.
    The header's ``metrics`` hold ``teacher_psnr``, ``teacher_psnr_frame`` and ``teacher_ssim``.
    Raises AvatarkitError for teachers without what a student needs, or a track of another head model.
    """
    started = time.perf_counter()
    set_threads(config.threads or cores())
    stage = whole(stage)
    teacher = stage.avatar.header
    head = heads.load(teacher.get("head", {}).get("name", "builtin"))
    if tuple(teacher.get("expression_names", ())) != head.expression_names or "reference" not in teacher:
        raise AvatarkitError("the teacher is not driven by this head's expressions: fit it again")
    if track is not None and track.neutral.shape != head.vertices.shape:
        raise AvatarkitError(
            "the track was made with another head model than the teacher: track the clip again"
        )
    given = lessons(teacher, track, frames, config.seed)
    scene = stage.scene
    plate = stage.avatar.layers.plate if stage.rigged else scene.plate  # type: ignore[attr-defined]
    scene, pictures = around(replace(scene, plate=plate))
    person = _person(stage, track)
    clip = TaughtFrames(
        stage, [*given.teaching, *given.testing], head, person, config.resolution, scene.plate, progress
    )
    taught, tested = np.split(np.arange(len(clip.positions)), [len(given.teaching)])
    gauge = Gauge(clip, clip.plate)
    trainer = Trainer.create(config, clip, taught, head, 0, clip.plate)
    train(trainer, tested, gauge, progress)
    kept = {key: value for key, value in teacher.items() if key not in ("metrics", "field", "drivers")}
    header = {
        **kept, "method": Gaussians.name, "config": _kept(config), "resolution": config.resolution,
        "crop": [*stage.scene.crop, stage.scene.crop[2]],
        "seed": config.seed, "device": "cpu",
        "teacher": {"method": teacher["method"], "metrics": teacher.get("metrics", {})},
    }  # fmt: skip
    avatar = GaussiansAvatar.quantized(
        header, trainer.puppet, trainer.learner.base, trainer.learner.residual, pictures
    )
    progress({"stage": "measuring", "step": 0, "steps": 1})
    found = likeness(gauge, trainer, avatar, tested)
    on_teaching = gauge.quality(avatar, poses(trainer, taught[:60]), taught[:60])
    on_tests = gauge.quality(avatar, poses(trainer, tested), tested)
    header["metrics"] = {
        **metrics(trainer, on_teaching, on_tests, time.perf_counter() - started),
        "teacher_psnr": found.psnr, "teacher_psnr_frame": found.psnr_frame, "teacher_ssim": found.ssim,
        "tested_frames": found.frames,
    }  # fmt: skip
    return avatar


def likeness(
    gauge: Gauge, trainer: Trainer, avatar: GaussiansAvatar, positions: NDArray[np.int64]
) -> Likeness:
    """Of ``avatar`` to what the teacher shows in the frames at ``positions``."""
    rows = []
    for position, pose in poses(trainer, positions).items():
        ours, truth = (
            torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)[None]
            for picture in (gauge.picture(avatar, pose), gauge.clip.rgb(position))
        )
        matte = torch.from_numpy(gauge.clip.person(position).astype(np.float32) / 255)[None, None]
        rows.append(
            [
                float(images.psnr(ours, truth, matte).clamp(max=100)),
                float(images.psnr(ours, truth).clamp(max=100)),
                float(images.ssim(ours, truth)),
            ]
        )
    over_person, over_frame, ssim = np.mean(rows, 0).tolist() if rows else [float("nan")] * 3
    return Likeness(over_person, over_frame, ssim, len(rows))


def _person(stage: Stage, track: Track | None) -> tuple[Any, Any] | None:
    """Neutral head and shapes of the person: the track's, else what the teacher's file holds of them."""
    if track is not None:
        return track.neutral, track.shapes
    own = getattr(stage.avatar, "head", None)
    if isinstance(own, dict) and "neutral" in own:
        return own["neutral"], own.get("shapes")
    return None


def _kept(config: configs.Config) -> dict[str, Any]:
    kept = asdict(config)
    for name in ("checkpoint", "resume", "preview"):
        del kept[name]
    return kept
