"""The method as the registry knows it: from a segmented track and its video to an avatar."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatarkit import heads
from avatarkit.data.clip import ClipFrames, split
from avatarkit.files.errors import AvatarkitError
from avatarkit.methods.driving import neutral_frame
from avatarkit.methods.gaussians import checkpoint, config
from avatarkit.methods.gaussians.avatar import REACH, GaussiansAvatar
from avatarkit.methods.gaussians.measure import Gauge, Quality
from avatarkit.methods.gaussians.puppet import Pose
from avatarkit.methods.gaussians.trainer import Trainer
from avatarkit.methods.registry import Progress, Subject
from avatarkit.methods.scenery import scenery
from avatarkit.methods.session import clip_header, cores, deferred_interrupt, peak_memory, some, track_hash
from avatarkit.ops import set_threads
from avatarkit.rendering.composite import Scene

WATCHED, MEASURED = 6, 60
"""Frames measured while the fit goes on, and at its end."""
EARLY = 300
"""Training frames of the first steps: a longer clip is read to its end after a first look at what they gave."""
FIRST_LOOK, LOOK_EVERY = 2.5, 15.0
"""Seconds to the first look at the held-out frames at the latest, and between two later ones."""
REPORT_EVERY = 0.5
QUALITY = 93
"""Of the JPEG in which the background is kept; the fit sees what the file holds."""


class Gaussians:
    """Gaussians on the tracked head with residuals linear in what drives it, fitted and rendered on CPU cores."""

    name = "gaussians"
    Config = config.Config
    Avatar = GaussiansAvatar

    def fit(self, subject: Subject, config: config.Config, progress: Progress) -> GaussiansAvatar:
        """An avatar of the person in a segmented track.

        ``progress`` is called with ``stage`` and its ``step`` of ``steps``; while training also with ``loss``,
        ``heldout_psnr`` (dB on the head) and ``seconds_left``. On KeyboardInterrupt the work is kept in
        ``config.checkpoint`` when that names a file, and the exception goes on.
        Raises AvatarkitError and NoFaceError for tracks that cannot be used.
        """
        started = time.perf_counter()
        set_threads(config.threads or cores())
        track = subject.track
        training, heldout = split(track, config.holdout)
        # Rest pose, background and planting come from training frames alone: held-out ones stay unseen.
        seen = replace(track, valid=np.isin(np.arange(len(track)), training))
        rest = neutral_frame(seen)
        scene, _, policy = scenery(seen, subject.source, rest, config.background, progress)
        scene, pictures = around(scene)
        head = heads.load(track.meta.get("head", {}).get("name", "builtin"))
        if track.neutral.shape != head.vertices.shape:
            raise AvatarkitError("the track was made with another head model: track the clip again")
        mattes = ("head", "person")
        early = some(training, EARLY)
        first = np.union1d(early, watched(training, heldout))
        with ClipFrames(
            track, subject.source, config.resolution, progress, layers=mattes, first=first
        ) as clip:
            gauge = Gauge(clip, scene.window(scene.behind(), config.resolution))
            progress({"stage": "planting", "step": 0, "steps": 1})
            trainer = Trainer.create(config, clip, training, head, rest, gauge.plate, early)
            progress({"stage": "planting", "step": 1, "steps": 1})
            train(trainer, heldout, gauge, progress, clip.finish)
            avatar = GaussiansAvatar.quantized(
                clip_header(Gaussians.name, seen, config, training, policy),
                trainer.puppet,
                trainer.learner.base,
                trainer.learner.residual,
                pictures,
            )
            progress({"stage": "measuring", "step": 0, "steps": 1})
            on_training, on_heldout = (
                gauge.quality(avatar, poses(trainer, chosen), chosen)
                for chosen in (some(training, MEASURED), some(heldout, MEASURED))
            )
        avatar.header["metrics"] = metrics(trainer, on_training, on_heldout, time.perf_counter() - started)
        return avatar


def around(scene: Scene) -> tuple[Scene, dict[str, Tensor]]:
    """``scene`` as the file holds it, and its encoded pictures.

    The background is compressed, and the torso is kept only outside the crop, where no Gaussians are, and below its
    middle: what is higher is hair that the crop cuts off, and does not go with the shoulders.
    """
    data = cv2.imencode(
        ".jpg", np.ascontiguousarray(scene.plate[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    )[1]
    plate = np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])
    kept = {"plate": torch.from_numpy(data.reshape(-1).copy())}
    x, y, side = scene.crop
    grown = round(REACH * side)
    x, y, side = x - grown, y - grown, side + 2 * grown
    height, width = plate.shape[:2]
    if scene.torso is None or (x <= 0 and y <= 0 and x + side >= width and y + side >= height):
        return replace(scene, plate=plate, torso=None), kept
    torso = scene.torso.copy()
    torso[max(y, 0) : max(y + side, 0), max(x, 0) : max(x + side, 0), 3] = 0
    torso[: max(y + side // 2, 0), :, 3] = 0
    if not torso[..., 3].any():
        return replace(scene, plate=plate, torso=None), kept
    data = cv2.imencode(".png", np.ascontiguousarray(torso[..., [2, 1, 0, 3]]))[1]
    kept["torso"] = torch.from_numpy(data.reshape(-1).copy())
    return replace(scene, plate=plate, torso=torso), kept


def poses(trainer: Trainer, positions: NDArray[np.int64]) -> dict[int, Pose]:
    """The poses of the frames at ``positions``."""
    return {int(position): trainer.pose(int(position)) for position in positions}


def watched(training: NDArray[np.int64], heldout: NDArray[np.int64]) -> NDArray[np.int64]:
    """The frames that are looked at while the fit goes on."""
    return some(heldout if len(heldout) else training, WATCHED)


def train(
    trainer: Trainer,
    heldout: NDArray[np.int64],
    gauge: Gauge,
    progress: Progress,
    finish: Callable[[Progress], None] | None = None,
) -> None:
    """All steps of a fit, with looks at ``heldout`` frames, checkpoints and previews; see ``Gaussians.fit``.

    ``finish`` is called before the first step that needs more than the trainer's early frames.
    """

    def told(at: dict[str, Any]) -> None:
        progress(at)
        if interrupted():
            raise KeyboardInterrupt

    config = trainer.config
    path = Path(config.checkpoint) if config.checkpoint else None
    clip_hash = track_hash(trainer.clip.track)
    if config.resume:
        if path is None:
            raise AvatarkitError("nothing to resume: no checkpoint file was named")
        checkpoint.load(trainer, clip_hash, path)
    shown = watched(trainer.training, heldout)
    quality = float("nan")
    now = time.perf_counter()
    reported, look, first = now - REPORT_EVERY, now + FIRST_LOOK, trainer.seconds
    begun = trainer.step
    with deferred_interrupt() as interrupted:
        while not trainer.finished:
            if finish is not None and trainer.step >= trainer.early:
                try:
                    finish(told)
                except (KeyboardInterrupt, AvatarkitError):  # Ctrl-C ends the decoder, too
                    if not interrupted():
                        raise
                finish = None
            value = 0.0 if interrupted() else trainer.advance()
            if not np.isfinite(value):
                raise AvatarkitError(
                    f"the fit diverged at iteration {trainer.step}: lower --rate, or try another --seed"
                )
            due = config.checkpoint_every and trainer.step % config.checkpoint_every == 0
            if path is not None and (interrupted() or due):
                checkpoint.save(trainer, clip_hash, path)
            if interrupted():
                raise KeyboardInterrupt
            now = time.perf_counter()
            if now > look or (trainer.step == trainer.early and np.isnan(quality)):
                quality = gauge.quality(trainer, poses(trainer, shown), shown).head
                if config.preview:
                    gauge.preview(trainer, poses(trainer, shown[:4]), shown[:4], Path(config.preview))
                look = time.perf_counter() + LOOK_EVERY
            if now - reported > REPORT_EVERY or trainer.finished:
                reported = now
                share = max(trainer.share, 1e-9)
                progress(
                    {
                        "stage": "fitting", "step": trainer.step, "steps": config.steps, "loss": value,
                        "heldout_psnr": quality,
                        "samples_per_second": (trainer.step - begun) / max(trainer.seconds - first, 1e-9),
                        "seconds": trainer.seconds, "seconds_left": max(trainer.seconds * (1 - share) / share, 0.0),
                    }
                )  # fmt: skip
    if finish is not None:
        finish(progress)
    if config.preview:
        gauge.preview(trainer, poses(trainer, shown[:4]), shown[:4], Path(config.preview))
    trainer.learner.finish()


def metrics(trainer: Trainer, training: Quality, heldout: Quality, seconds: float) -> dict[str, Any]:
    """The figures of the fit; seconds count the whole work of this process, ms a step the training alone."""
    return {
        "steps": trainer.step,
        "seconds": seconds,
        "ms_per_step": 1000 * trainer.seconds / max(trainer.step, 1),
        "samples_per_second": trainer.step / max(trainer.seconds, 1e-9),
        "gaussians": int(trainer.learner.base.shape[1]),
        "bases": len(trainer.puppet.drivers),
        "train_psnr_head": training.head,
        "train_psnr_frame": training.frame,
        "heldout_psnr_head": heldout.head,
        "heldout_psnr_frame": heldout.frame,
        "perceptual": None,
        "peak_rss_mb": peak_memory(),
    }
