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

    preset: str = option("fast", "fast (the default) or paper (Gafni et al. 2021)")
    training_background: str = option(
        "plate", "behind the head during training: plate (the clip's picture), random, or white"
    )
    depth: int = option(8, "layers of the network")
    width: int = option(256, "width of its layers")
    position_octaves: int = option(10, "frequencies of the positions")
    direction_octaves: int = option(4, "frequencies of the viewing directions")
    code: int = option(32, "numbers in every training frame's latent code")
    code_weight: float = option(5e-3, "weight of the latent codes' mean square")
    mask_weight: float = option(0.0, "weight of the mask loss, which the paper does not have")


PRESETS: dict[str, dict[str, Any]] = {
    "fast": {},
    # Section 4: 2,048 rays of one frame an iteration, 400,000 of them, 64 + 64 samples, rate 5e-4 to 5e-5.
    "paper": {
        "steps": 400_000, "rays": 2048, "sampling": "paper", "outside": 1.0, "focus": 0.0, "keep_best": False,
    },
}  # fmt: skip
_LIMITS = (
    ("depth", 2, 32), ("width", 8, 2048), ("position_octaves", 0, 16), ("direction_octaves", 0, 16),
    ("code", 0, 512), ("code_weight", 0, 1e3), ("mask_weight", 0, 1e3),
)  # fmt: skip


def make(preset: str = "fast", **options: Any) -> Config:
    """The config of a preset with ``options`` on top. Raises UsageError for what cannot work."""
    return shared.make(Config, "nerface", PRESETS, preset, options, _LIMITS)
