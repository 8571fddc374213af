"""Options of the method and its presets. Imports nothing heavy: the command line reads it for ``--help``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from avatarkit.methods.options import option
from avatarkit.methods.radiance import config as shared
from avatarkit.methods.radiance.config import RayConfig


@dataclass(frozen=True)
class Config(RayConfig):
    """Everything that decides a fit; the fields' defaults are the preset ``fast``."""

    preset: str = option("fast", "fast (the default) or paper (Peng et al. 2021)")
    fine: int = option(0, "samples of a second look: the paper has none")
    voxel: float = option(5.0, "millimeters of a cell of the first level")
    code: int = option(16, "numbers in every vertex's code")
    volume: int = option(
        16, "channels of the volume's first level; the coarser ones have 2, 4, 8 and 8 times as many"
    )
    appearance: int = option(128, "numbers in every training frame's latent code")
    width: int = option(256, "width of the networks")
    position_octaves: int = option(10, "frequencies of the positions that colors see")
    mask_weight: float = option(0.0, "weight of the mask loss, which the paper does not have")


PRESETS: dict[str, dict[str, Any]] = {
    "fast": {},
    "paper": {
        "steps": 200_000, "rays": 1024, "sampling": "paper", "outside": 1.0, "focus": 0.0, "keep_best": False,
        "training_background": "white",
    },
}  # fmt: skip
_LIMITS = (
    ("voxel", 0.5, 100), ("code", 1, 256), ("appearance", 0, 512), ("volume", 1, 256),
    ("width", 8, 2048), ("position_octaves", 0, 16), ("mask_weight", 0, 1e3), ("fine", 0, 0),
)  # fmt: skip


def make(preset: str = "fast", **options: Any) -> Config:
    """The config of a preset with ``options`` on top. Raises UsageError for what cannot work."""
    return shared.make(Config, "neuralbody", PRESETS, preset, options, _LIMITS)
