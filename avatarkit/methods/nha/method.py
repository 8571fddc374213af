"""The method as the registry knows it: from a segmented track and its video to an avatar."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatarkit import heads
from avatarkit.data.clip import ClipFrames, split
from avatarkit.data.labels import shows_ears
from avatarkit.data.normal_maps import NormalMaps
from avatarkit.files.errors import AvatarkitError
from avatarkit.methods import fitting
from avatarkit.methods.best import Best
from avatarkit.methods.driving import neutral_frame
from avatarkit.methods.nha import checkpoint, config
from avatarkit.methods.nha.avatar import NeuralHeadAvatar
from avatarkit.methods.nha.trainer import Trainer
from avatarkit.methods.quality import Gauge, Quality
from avatarkit.methods.registry import Progress, Subject
from avatarkit.methods.scenery import scenery
from avatarkit.methods.session import clip_header, cores, peak_memory, some, track_hash
from avatarkit.ops import raster, set_threads
from avatarkit.rendering.performance import NECK_PIVOT

WATCHED, LOOKS, MEASURED = 6, 10, 24
"""Frames watched while the fit goes on, how often, and frames measured at its end."""


class NeuralHead:
    """Grassal et al., "Neural Head Avatars from Monocular RGB Videos", 2022, on the project's own head model."""

    name = "nha"
    Config = config.Config
    Avatar = NeuralHeadAvatar

    def fit(self, subject: Subject, config: config.Config, progress: Progress) -> NeuralHeadAvatar:
        """An avatar of the person in a segmented track.

        ``progress`` is called with ``stage`` and its ``step`` of ``steps``; while training also with ``loss``,
        ``heldout_psnr`` (dB on the head), ``samples_per_second`` and ``seconds_left``. On KeyboardInterrupt the work
        is kept in ``config.checkpoint`` when that names a file, and the exception goes on.
        Raises AvatarkitError and NoFaceError for tracks that cannot be used.
        """
        started = time.perf_counter()
        set_threads(config.threads or cores())
        track = subject.track
        training, heldout = split(track, config.holdout)
        rasterize = rasterizer(config.backend)
        normals = NormalMaps.open(Path(config.normals), track, training) if config.normals else None
        # Rest pose, torso and plate come from training frames alone: held-out ones stay unseen.
        shown = replace(track, valid=np.isin(np.arange(len(track)), training))
        rest = neutral_frame(shown)
        scene, pictures, policy = scenery(shown, subject.source, rest, config.background, progress)
        head = heads.load(track.meta.get("head", {}).get("name", "builtin"))
        if track.neutral.shape != head.vertices.shape:
            raise AvatarkitError("the track was made with another head model: track the clip again")
        with ClipFrames(track, subject.source, config.resolution, progress) as clip:
            gauge = Gauge(clip, scene, np.asarray(NECK_PIVOT, np.float32), rest)
            trainer = Trainer.create(config, clip, training, head, normals, rasterize)
            best = train(trainer, heldout, gauge, progress)
            coverage = trainer.coverage()
            trainer.figure.coverage = coverage.tensor()
            progress({"stage": "measuring", "step": 0, "steps": 1})
            draw = trainer.drawing()
            on_training = gauge.quality(draw, some(training, MEASURED))
            on_heldout = gauge.quality(draw, some(heldout, MEASURED))
        header = clip_header(self.name, shown, config, training, policy)
        header |= NeuralHeadAvatar.sizes(trainer.figure)
        header["metrics"] = metrics(trainer, on_training, on_heldout, time.perf_counter() - started)
        header["metrics"]["kept_step"] = best.step if config.keep_best and len(heldout) else trainer.step
        header["regions"] = ["skin", "eyes", "hair", *(["ears"] if shows_ears(track.meta) else [])]
        header["heldout_curve"] = best.curve
        return NeuralHeadAvatar(header, trainer.figure, coverage, pictures)


def rasterizer(backend: str) -> raster.Rasterizer:
    """What rasterizes a fit by ``backend``. Raises AvatarkitError where its library cannot be imported."""
    try:
        return raster.rasterizer(backend)
    except ImportError as error:
        raise AvatarkitError(
            f"--backend {backend}: it cannot be imported here ({error}): install it for this torch, or leave --backend "
            "out for the native one"
        ) from error


def train(trainer: Trainer, heldout: NDArray[np.int64], gauge: Gauge, progress: Progress) -> Best:
    """All steps of a fit, with looks at ``heldout`` frames, checkpoints and previews; see ``NeuralHead.fit``."""
    config, best = trainer.config, Best()
    path = Path(config.checkpoint) if config.checkpoint else None
    clip_hash = track_hash(trainer.clip.track)
    if config.resume:
        if path is None:
            raise AvatarkitError("nothing to resume: no checkpoint file was named")
        best = checkpoint.load(trainer, clip_hash, path)
    watched = some(heldout if len(heldout) else trainer.training, WATCHED)
    draw = trainer.drawing()
    fitting.run(
        trainer, best, config, progress,
        look=lambda: gauge.glance(draw, watched),
        looks=LOOKS,
        save=None if path is None else lambda: checkpoint.save(trainer, clip_hash, path, best),
        preview=(lambda: gauge.preview(draw, watched[:4], Path(config.preview))) if config.preview else None,
    )  # fmt: skip
    if config.keep_best and len(heldout):
        best.restore(trainer)
    if config.preview:
        gauge.preview(draw, watched[:4], Path(config.preview))
    return best


def metrics(trainer: Trainer, training: Quality, heldout: Quality, seconds: float) -> dict[str, Any]:
    """The figures of the fit; seconds count the whole work of this process, ms a step the training alone."""
    return {
        "steps": trainer.step,
        "seconds": seconds,
        "training_seconds": trainer.seconds,
        "ms_per_step": 1000 * trainer.seconds / max(trainer.step, 1),
        "samples_per_second": trainer.samples / max(trainer.seconds, 1e-9),
        "vertices": len(trainer.figure.template),
        **{f"train_psnr_{region}": value for region, value in asdict(training).items()},
        **{f"heldout_psnr_{region}": value for region, value in asdict(heldout).items()},
        "perceptual": trainer.perceptual_name,
        "peak_rss_mb": peak_memory(),
    }
