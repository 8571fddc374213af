"""Options of the method. Imports nothing heavy: the command line reads it for ``--help``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from avatarkit.methods import options as shared
from avatarkit.methods.options import option

PRESETS: dict[str, dict[str, Any]] = {"fast": {}}
_LIMITS = (("size", 64, 4096), ("grid", 8, 128))
_CHOICES = {"mouth": ("photo", "generic", "driver")}


@dataclass(frozen=True)
class Config:
    """Everything that decides how a photo is prepared."""

    preset: str = option("fast", "fast")
    size: int = option(512, "pixels of the longer side of the frames (a smaller photo keeps its own size)")
    mouth: str = option(
        "photo", "inside of the mouth: photo (its own where it shows, else generic), generic or driver"
    )
    grid: int = option(28, "pixels between the points of the mesh around the face, of a 512 pixel photo")
    seed: int = option(0, "seed of the grain of the filled background")


def make(preset: str = "fast", **options: Any) -> Config:
    """The config of a preset with ``options`` on top. Raises UsageError for what cannot work."""
    return shared.make(Config, "photo", PRESETS, preset, options, _LIMITS, _CHOICES)
