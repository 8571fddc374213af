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

    preset: str = option("fast", "fast (the default), paper (Zhang et al. 2023) or sparse (its few images)")
    voxel: float = option(5.0, "millimeters of a cell of the displacement volume")
    code: int = option(16, "numbers in every vertex's latent code")
    volume: int = option(
        16, "channels of the volume's first level; the coarser ones have 2, 4, 8 and 8 times as many"
    )
    appearance: int = option(32, "numbers in every training frame's appearance code")
    depth: int = option(8, "layers of the canonical network")
    width: int = option(256, "width of its layers")
    deform_depth: int = option(6, "layers of the deformation field")
    deform_width: int = option(128, "width of its layers")
    position_octaves: int = option(10, "frequencies of the canonical positions")
    deform_octaves: int = option(6, "frequencies of the positions that the deformation field sees")
    direction_octaves: int = option(4, "frequencies of the viewing directions")
    semantic: bool = option(True, "semantic labels at the vertices (table II: w/o semantic)")
    expression_input: bool = option(True, "expression at the vertices (table II: w/o expression)")
    hard_edge: bool = option(True, "the losses of eq. 11 and 12 (table II: w/o L_hard & L_edge)")
    hard_weight: float = option(0.01, "lambda 1 of eq. 13, of the hard surface loss")
    edge_weight: float = option(0.01, "lambda 2 of eq. 13, of the canonical edge loss")
    mask_weight: float = option(0.0, "weight of the mask loss, which the paper does not have")


PRESETS: dict[str, dict[str, Any]] = {
    "fast": {},
    # Section IV: 225 x 225 pixels, 200,000 iterations, rate 5e-4.
    "paper": {
        "steps": 200_000, "resolution": 225, "rays": 1024, "sampling": "paper", "outside": 1.0, "focus": 0.0,
        "learning_rate_end": 1.0, "keep_best": False, "training_background": "white",
    },
    "sparse": {"resolution": 225, "images": 50},
}  # fmt: skip
_LIMITS = (
    ("voxel", 0.5, 100), ("code", 0, 256), ("appearance", 0, 512), ("volume", 1, 256),
    ("depth", 2, 32), ("width", 8, 2048),
    ("deform_depth", 1, 32), ("deform_width", 8, 2048), ("position_octaves", 0, 16), ("deform_octaves", 0, 16),
    ("direction_octaves", 0, 16), ("hard_weight", 0, 1e3), ("edge_weight", 0, 1e3), ("mask_weight", 0, 1e3),
)  # fmt: skip


def make(preset: str = "fast", **options: Any) -> Config:
    """The config of a preset with ``options`` on top. Raises UsageError for what cannot work."""
    return shared.make(Config, "manerf", PRESETS, preset, options, _LIMITS)
