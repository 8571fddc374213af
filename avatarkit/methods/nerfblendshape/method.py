"""The method as the registry knows it: from a segmented track and its video to an avatar."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatarkit.data.clip import ClipFrames, split
from avatarkit.files.errors import AvatarkitError
from avatarkit.files.track import Track
from avatarkit.losses.patch import PatchLoss
from avatarkit.losses.perceptual import patch_loss
from avatarkit.methods import fitting
from avatarkit.methods.best import Best
from avatarkit.methods.driving import NECK_PIVOT, neutral_frame
from avatarkit.methods.nerfblendshape import checkpoint, config
from avatarkit.methods.nerfblendshape.avatar import NeRFBlendShapeAvatar, field_header
from avatarkit.methods.nerfblendshape.trainer import Trainer
from avatarkit.methods.quality import Gauge, Quality
from avatarkit.methods.registry import Progress, Subject
from avatarkit.methods.scenery import scenery
from avatarkit.methods.session import clip_header, cores, peak_memory, some, track_hash
from avatarkit.ops import set_threads

# Frames measured while the fit goes on, and at its end.
WATCHED, MEASURED = 12, 60
# Looks at the held-out frames in the course of a fit.
LOOKS = 24


class NeRFBlendShape:
    """Gao et al., "Reconstructing Personalized Semantic Facial NeRF Models From Monocular Video", 2022."""

    name = "nerfblendshape"
    Config = config.Config
    Avatar = NeRFBlendShapeAvatar

    def fit(self, subject: Subject, config: config.Config, progress: Progress) -> NeRFBlendShapeAvatar:
        """An avatar of the person in a segmented track.

        ``progress`` is called with ``stage`` and its ``step`` of ``steps``; while training also with ``loss``,
        ``heldout_psnr`` (dB on the head), ``samples_per_second`` and ``seconds_left``. On KeyboardInterrupt
        the work is kept in ``config.checkpoint`` when that names a file, and the exception goes on.
        Raises AvatarkitError and NoFaceError for tracks that cannot be used.
        """
        started = time.perf_counter()
        set_threads(config.threads or cores())
        track = subject.track
        training, heldout = split(track, config.holdout)
        loss, perceptual = patch_loss(config.perceptual)
        # Rest pose, torso and plate come from training frames alone: held-out ones stay unseen.
        seen = replace(track, valid=np.isin(np.arange(len(track)), training))
        rest = neutral_frame(seen)
        scene, pictures, policy = scenery(seen, subject.source, rest, config.background, progress)
        with ClipFrames(track, subject.source, config.resolution, progress) as clip:
            gauge = Gauge(clip, scene, np.asarray(NECK_PIVOT, np.float32), rest)
            trainer, best = _train(config, clip, training, heldout, loss, gauge, progress)
            bits = trainer.grid.final(trainer.field, trainer.tables, trainer.probes)
            progress({"stage": "measuring", "step": 0, "steps": 1})
            draw = trainer.drawing(bits)
            on_training = gauge.quality(draw, some(training, MEASURED))
            on_heldout = gauge.quality(draw, some(heldout, MEASURED))
        header = _header(seen, trainer, training, policy)
        header["metrics"] = _metrics(
            trainer, on_training, on_heldout, perceptual, time.perf_counter() - started
        )
        header["metrics"]["kept_step"] = best.step if config.keep_best and len(heldout) else trainer.step
        header["heldout_curve"] = best.curve
        tables, field = trainer.tables, trainer.field
        field.weights = field.weights.map(lambda matrix: matrix.detach())
        mesh = None if trainer.warps is None else trainer.warps.mesh
        return NeRFBlendShapeAvatar(header, field, tables, trainer.drivers, bits, mesh, pictures)


def _train(
    config: config.Config,
    clip: ClipFrames,
    training: NDArray[np.int64],
    heldout: NDArray[np.int64],
    loss: PatchLoss,
    gauge: Gauge,
    progress: Progress,
) -> tuple[Trainer, Best]:
    trainer, best = Trainer.create(config, clip, training, loss), Best()
    path = Path(config.checkpoint) if config.checkpoint else None
    clip_hash = track_hash(clip.track)
    if config.resume:
        if path is None:
            raise AvatarkitError("nothing to resume: no checkpoint file was named")
        best = checkpoint.load(trainer, clip_hash, path)
    watched = some(heldout if len(heldout) else training, WATCHED)
    draw = trainer.drawing()
    fitting.run(
        trainer, best, config, progress,
        look=lambda: gauge.glance(draw, watched),
        looks=LOOKS,
        save=None if path is None else lambda: checkpoint.save(trainer, clip_hash, path, best),
        preview=(lambda: gauge.preview(draw, watched[:4], Path(config.preview))) if config.preview else None,
        patience=round(config.patience * config.steps),
    )  # fmt: skip
    if config.keep_best and len(heldout):
        best.restore(trainer)
    if config.preview:
        gauge.preview(draw, watched[:4], Path(config.preview))
    return trainer, best


def _header(track: Track, trainer: Trainer, training: NDArray[np.int64], policy: str) -> dict[str, Any]:
    header = clip_header(NeRFBlendShape.name, track, trainer.config, training, policy)
    return {**header, "field": field_header(trainer.field), "drivers": trainer.drivers.header()}


def _metrics(
    trainer: Trainer, training: Quality, heldout: Quality, perceptual: str, seconds: float
) -> dict[str, Any]:
    """The figures of the fit; seconds count the whole work of this process, ms a step the training alone."""
    return {
        "steps": trainer.step,
        "seconds": seconds,
        "ms_per_step": 1000 * trainer.seconds / max(trainer.step, 1),
        "samples_per_second": trainer.samples / max(trainer.seconds, 1e-9),
        "samples_per_step": trainer.samples / max(trainer.step, 1),
        "bases": len(trainer.drivers),
        **{f"train_psnr_{region}": value for region, value in asdict(training).items()},
        **{f"heldout_psnr_{region}": value for region, value in asdict(heldout).items()},
        "perceptual": perceptual,
        "peak_rss_mb": peak_memory(),
    }
