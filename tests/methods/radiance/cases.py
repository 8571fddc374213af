"""What the tests of all ray methods need: a known person, a trainer of any method, tiny options."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from avatarkit.data.clip import ClipFrames, split
from avatarkit.files.track import Track
from avatarkit.heads.arkit import INDEX
from avatarkit.methods import registry
from avatarkit.methods.quality import Gauge
from avatarkit.methods.radiance.trainer import Trainer
from avatarkit.methods.scenery import scenery
from avatarkit.rendering.performance import NECK_PIVOT
from tests.methods import synthetic

# Options that make a fit of seconds, by method.
TINY: dict[str, dict[str, Any]] = {
    "concat": {"finest": 64, "log2_size": 12, "coarse": 48, "rays": 256, "batch": 2, "width": 32},
    "neuralbody": {"width": 32, "coarse": 24, "rays": 128, "voxel": 14.0, "volume": 4, "appearance": 8},
    "manerf": {
        "width": 32, "depth": 4, "deform_width": 32, "deform_depth": 2, "coarse": 16, "fine": 16,
        "position_octaves": 6, "rays": 64, "voxel": 14.0, "volume": 4, "appearance": 8,
    },
    "nerface": {"width": 32, "depth": 4, "coarse": 24, "fine": 16, "position_octaves": 6, "rays": 128},
}  # fmt: skip
SHARED: dict[str, Any] = {"resolution": 32, "steps": 40, "threads": 1}


def make(folder: Path) -> Track:
    """A person of 12 frames with a head mesh that its coefficients move: the jaw's lower half drops."""
    track = synthetic.make(folder, frames=12)
    spread = np.random.default_rng(3).normal(size=(468, 3))
    neutral = synthetic.CENTER + synthetic.RADII * spread / np.linalg.norm(spread, axis=1, keepdims=True)
    shapes = np.zeros((len(track.expression_names), 468, 3), np.float32)
    below = np.clip(synthetic.CENTER[1] - neutral[:, 1], 0, None)
    shapes[INDEX["jawOpen"], :, 1] = -0.12 * below
    return replace(track, neutral=neutral.astype(np.float32), shapes=shapes)


def config(name: str, **options: Any) -> Any:
    """The tiny config of a method."""
    import sys

    module = sys.modules[registry.get(name).Config.__module__]
    return module.make(**{**SHARED, **TINY[name], **options})


@dataclass
class Setting:
    """A clip with all that a trainer needs."""

    track: Track
    clip: ClipFrames
    gauge: Gauge

    def trainer(self, name: str, training: np.ndarray | None = None, **options: Any) -> Trainer:
        """A fresh trainer of the method called ``name``."""
        torch.set_num_threads(1)
        positions = split(self.track, 0.1)[0] if training is None else training
        made: Trainer = registry.get(name).trainer(  # type: ignore[attr-defined]
            config(name, **options), self.clip, self.gauge, positions
        )
        return made


@contextmanager
def setting(track: Track, folder: Path, resolution: int = 32) -> Iterator[Setting]:
    """The clip read at a resolution, before its plate."""
    rest = 0
    seen = replace(track, valid=np.ones(len(track), bool))
    scene, _, _ = scenery(seen, folder, rest, "plate", lambda at: None)
    with ClipFrames(track, folder, resolution) as clip:
        yield Setting(track, clip, Gauge(clip, scene, np.asarray(NECK_PIVOT, np.float32), rest))
