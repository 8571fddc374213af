"""The fit of a radiance field, from a segmented track and its video to an avatar; methods fill in their model."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from avatarkit.data.clip import ClipFrames, split
from avatarkit.data.rays import SceneBox, scene_box
from avatarkit.files.errors import AvatarkitError
from avatarkit.methods import fitting
from avatarkit.methods.best import Best
from avatarkit.methods.drivers import Drivers
from avatarkit.methods.driving import NECK_PIVOT, neutral_frame
from avatarkit.methods.hull import possible_cells
from avatarkit.methods.quality import Gauge, Quality
from avatarkit.methods.radiance import checkpoint
from avatarkit.methods.radiance.avatar import RayAvatar
from avatarkit.methods.radiance.config import RayConfig
from avatarkit.methods.radiance.model import RayModel, geometry_header
from avatarkit.methods.radiance.occupancy import CELLS, Occupancy
from avatarkit.methods.radiance.trainer import Trainer
from avatarkit.methods.registry import Progress, Subject
from avatarkit.methods.scenery import scenery
from avatarkit.methods.session import clip_header, cores, peak_memory, some, track_hash
from avatarkit.ops import set_threads

# Frames watched while the fit goes on, at this part of the resolution, how often, and frames measured at its end.
WATCHED, WATCHED_PART, LOOKS, MEASURED = 4, 4, 10, 16
HULL_FRAMES = 24


class RayMethod(ABC):
    """A method whose avatar is a ``RayModel``."""

    name: ClassVar[str]
    Config: ClassVar[type]
    Avatar: ClassVar[type[RayAvatar]]

    @abstractmethod
    def model(
        self, config: Any, clip: ClipFrames, training: NDArray[np.int64], parts: tuple[SceneBox, Drivers]
    ) -> RayModel:
        """The model before its first step, with an empty occupancy. Draws from torch's own generator, seeded."""

    def fit(self, subject: Subject, config: Any, progress: Progress) -> RayAvatar:
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
        if config.images:
            training = some(training, config.images)
        # Rest pose, torso and plate come from training frames alone: held-out ones stay unseen.
        seen = replace(track, valid=np.isin(np.arange(len(track)), training))
        rest = neutral_frame(seen)
        scene, pictures, policy = scenery(seen, subject.source, rest, config.background, progress)
        with ClipFrames(track, subject.source, config.resolution, progress) as clip:
            gauge = Gauge(clip, scene, np.asarray(NECK_PIVOT, np.float32), rest)
            trainer, best = self._train(config, clip, gauge, training, heldout, progress)
            trainer.settle()
            progress({"stage": "measuring", "step": 0, "steps": 1})
            draw = trainer.drawing()
            on_training = gauge.quality(draw, some(training, MEASURED))
            on_heldout = gauge.quality(draw, some(heldout, MEASURED))
        trainer.model.requires_grad_(False)
        header = clip_header(self.name, seen, config, training, policy)
        header |= geometry_header(trainer.model)
        header["metrics"] = _metrics(trainer, on_training, on_heldout, time.perf_counter() - started)
        header["metrics"]["kept_step"] = best.step if config.keep_best and len(heldout) else trainer.step
        header["metrics"]["training_frames"] = len(training)
        header["heldout_curve"] = best.curve
        return self.Avatar(header, trainer.model, pictures)

    def trainer(
        self, config: RayConfig, clip: ClipFrames, gauge: Gauge, training: NDArray[np.int64]
    ) -> Trainer:
        """A trainer before its first step."""
        torch.manual_seed(config.seed)
        chosen = some(training, HULL_FRAMES)
        box = scene_box(clip, chosen)
        drivers = Drivers.of(clip.track, training, config.expressions, pose=False)
        model = self.model(config, clip, training, (box, drivers))
        model.occupancy = Occupancy(possible_cells(clip, chosen, box, mesh=True, cells=CELLS))
        return Trainer.create(config, clip, gauge, training, model)

    def _train(
        self,
        config: RayConfig,
        clip: ClipFrames,
        gauge: Gauge,
        training: NDArray[np.int64],
        heldout: NDArray[np.int64],
        progress: Progress,
    ) -> tuple[Trainer, Best]:
        trainer, best = self.trainer(config, clip, gauge, training), Best()
        path = Path(config.checkpoint) if config.checkpoint else None
        clip_hash = track_hash(clip.track)
        if config.resume:
            if path is None:
                raise AvatarkitError("nothing to resume: no checkpoint file was named")
            best = checkpoint.load(trainer, self.name, clip_hash, path)
        watched = some(heldout if len(heldout) else training, WATCHED)
        draw = trainer.drawing()
        fitting.run(
            trainer, best, config, progress,
            look=lambda: gauge.glance(draw, watched, WATCHED_PART),
            looks=LOOKS,
            save=None if path is None else lambda: checkpoint.save(trainer, self.name, clip_hash, path, best),
            preview=(lambda: gauge.preview(draw, watched[:4], Path(config.preview))) if config.preview else None,
        )  # fmt: skip
        if config.keep_best and len(heldout):
            best.restore(trainer)
        if config.preview:
            gauge.preview(draw, watched[:4], Path(config.preview))
        return trainer, best


def _metrics(trainer: Trainer, training: Quality, heldout: Quality, seconds: float) -> dict[str, Any]:
    """The figures of the fit; seconds count the whole work of this process, ms a step the training alone."""
    return {
        "steps": trainer.step,
        "seconds": seconds,
        "training_seconds": trainer.seconds,
        "ms_per_step": 1000 * trainer.seconds / max(trainer.step, 1),
        "samples_per_second": trainer.samples / max(trainer.seconds, 1e-9),
        "samples_per_step": trainer.samples / max(trainer.step, 1),
        **{f"train_psnr_{region}": value for region, value in asdict(training).items()},
        **{f"heldout_psnr_{region}": value for region, value in asdict(heldout).items()},
        "perceptual": None,
        "peak_rss_mb": peak_memory(),
    }
