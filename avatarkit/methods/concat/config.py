"""Options of the method and its presets. Imports nothing heavy: the command line reads it for ``--help``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from avatarkit.files.errors import UsageError
from avatarkit.methods.options import option
from avatarkit.methods.radiance import config as shared
from avatarkit.methods.radiance.config import RayConfig


@dataclass(frozen=True)
class Config(RayConfig):
    """Everything that decides a fit; the fields' defaults are the preset ``fast``."""

    preset: str = option("fast", "fast (the default) or paper (Gao et al. 2022, section 4.3)")
    steps: int = option(6000, "training iterations")
    rays: int = option(2048, "rays an iteration")
    batch: int = option(4, "frames an iteration")
    coarse: int = option(128, "ray samples across the side of the head's box")
    fine: int = option(0, "not used: one look at even steps")
    learning_rate: float = option(0.01, "of the table")
    learning_rate_network: float = option(2e-3, "of the networks")
    learning_rate_end: float = option(0.03, "share of the learning rate that is left at the end")

    coarsest: int = option(16, "cells a side of the coarsest level of the hash grid")
    finest: int = option(512, "cells a side of the finest level")
    log2_size: int = option(14, "table entries of a level, as a power of two")
    embedding: int = option(32, "numbers that the expression is mapped to")
    depth: int = option(7, "layers of the density network")
    width: int = option(128, "width of its layers")
    mask_until: float = option(0.2, "share of the fit with full mask loss")
    mask_weight: float = option(1.0, "weight of the mask loss in that phase")
    mask_weight_later: float = option(0.1, "weight of the mask loss after it")
    distortion_weight: float = option(0.03, "weight of the distortion loss, which thins fog before surfaces")


PRESETS: dict[str, dict[str, Any]] = {
    "fast": {},
    # The schedule of NeRFBlendShape's preset of that name.
    "paper": {
        "steps": 10_000, "rays": 4096, "finest": 1024, "coarse": 192, "learning_rate_end": 0.1, "mask_until": 0.175,
        "mask_weight_later": 0.0, "distortion_weight": 0.0, "training_background": "white", "outside": 1.0,
        "focus": 0.0, "keep_best": False,
    },
}  # fmt: skip
_LIMITS = (
    ("coarsest", 2, 256), ("finest", 16, 8192), ("log2_size", 8, 22), ("embedding", 1, 1024), ("depth", 1, 32),
    ("width", 8, 1024), ("mask_until", 0, 1), ("mask_weight", 0, 1e3), ("mask_weight_later", 0, 1e3),
    ("distortion_weight", 0, 1e3), ("fine", 0, 0),
)  # fmt: skip


def make(preset: str = "fast", **options: Any) -> Config:
    """The config of a preset with ``options`` on top. Raises UsageError for what cannot work."""
    made = shared.make(Config, "concat", PRESETS, preset, options, _LIMITS)
    if made.coarsest > made.finest:
        raise UsageError("--coarsest must not exceed --finest")
    return made
