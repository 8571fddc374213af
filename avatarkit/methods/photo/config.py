"""Options of the method. Imports nothing heavy: the command line reads it for ``--help``."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from avatarkit.files.errors import UsageError

PRESETS: dict[str, dict[str, Any]] = {"fast": {}}


def _option(default: Any, help_: str) -> Any:
    return field(default=default, metadata={"help": help_})


@dataclass(frozen=True)
class Config:
    """Everything that decides how a photo is prepared."""

    preset: str = _option("fast", "fast")
    size: int = _option(512, "pixels of the longer side of the frames (a smaller photo keeps its own size)")
    mouth: str = _option(
        "photo", "inside of the mouth: photo (its own where it shows, else generic), generic or driver"
    )
    grid: int = _option(28, "pixels between the points of the mesh around the face, of a 512 pixel photo")
    seed: int = _option(0, "seed of the grain of the filled background")


def make(preset: str = "fast", **options: Any) -> Config:
    """The config of a preset with ``options`` on top. Raises UsageError for what cannot work."""
    if preset not in PRESETS:
        raise UsageError(f"--preset {preset}: choose one of {', '.join(PRESETS)}")
    known = {f.name for f in fields(Config)}
    for name in options:
        if name not in known:
            raise UsageError(f"--{name.replace('_', '-')}: photo has no such option")
    config = Config(preset=preset, **{**PRESETS[preset], **options})
    for name, low, high in (("size", 64, 4096), ("grid", 8, 128)):
        if not low <= getattr(config, name) <= high:
            raise UsageError(f"--{name} must lie between {low} and {high}")
    if config.mouth not in ("photo", "generic", "driver"):
        raise UsageError("--mouth must be photo, generic or driver")
    return config
