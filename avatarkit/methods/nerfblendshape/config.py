"""Options of the method and its presets. Imports nothing heavy: the command line reads it for ``--help``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from avatarkit.files.errors import UsageError
from avatarkit.methods import options as shared
from avatarkit.methods.options import FitOptions, Limits, option


@dataclass(frozen=True)
class Config(FitOptions):
    """Everything that decides a fit. The fields' defaults are the preset ``fast``; ``make`` takes ``robust``."""

    preset: str = option(
        "fast", "robust (the default), fast, paper (Gao et al. 2022) or repro (Xie's reproduction)"
    )
    rays: int = option(4096, "rays an iteration")
    images: int = option(4, "frames an iteration")
    expressions: int = option(52, "expression coefficients kept: the most active ones of the clip")
    keep_best: bool = option(True, "keep the weights that did best on held-out frames, not the last ones")
    patience: float = option(
        0.0, "stop when held-out frames have not improved for this share of the iterations (0: never)"
    )

    levels: int = option(8, "levels of the hash grid")
    coarsest: int = option(16, "cells a side of the coarsest level of the hash grid")
    finest: int = option(512, "cells a side of the finest level")
    basis_levels: int = option(5, "how many of the levels, coarse to fine, the expression bases hold")
    log2_size: int = option(14, "table entries of a level, as a power of two")
    samples: int = option(128, "ray samples across the side of the head's box")
    learning_rate: float = option(0.01, "of the mean table")
    learning_rate_bases: float = option(0.01, "of the expression bases")
    learning_rate_network: float = option(0.01, "of the network")
    learning_rate_end: float = option(0.03, "share of the learning rates that is left at the end")
    components: int = option(0, "principal components of the coefficients that drive bases (0: each its own)")
    warp: bool = option(False, "take points back through the tracked mesh's motion before the field is asked")
    mesh_hull: bool = option(True, "nothing is in front of the tracked face")
    basis_l2: float = option(1e-5, "L2 penalty on the expression bases")
    pose_bases: bool = option(True, "bases driven by head rotation as well (neck, hair, light)")

    residual: bool = option(
        False, "bases driven by the track's own residual components as well; other drivers leave them at zero"
    )

    mask_until: float = option(0.2, "share of the iterations with full mask loss")
    mask_weight: float = option(1.0, "weight of the mask loss in that phase")
    mask_weight_later: float = option(0.1, "weight of the mask loss after it")
    entropy_weight: float = option(0.0, "weight of the entropy of the opacity")
    distortion_weight: float = option(0.03, "weight of the distortion loss, which thins fog before surfaces")
    patches_from: float = option(0.6, "share of the iterations after which patches are sampled too")
    patch_color_weight: float = option(0.1, "weight of the color loss on patches")
    perceptual_weight: float = option(0.1, "weight of the perceptual loss on patches")
    perceptual: str = option(
        "structure", "loss on patches: lpips, structure, or auto (the first that can be had)"
    )
    training_background: str = option("random", "behind the head during training: white or random")
    band: float = option(
        1.0, "weight of colors where the head matte is neither whole nor empty (0: the trimap is left out)"
    )
    outside: float = option(0.3, "chance of a pixel outside the head matte against one inside")
    focus: float = option(0.1, "share of the rays that fall on mouth and eyes")


DEFAULT = "robust"
PRESETS: dict[str, dict[str, Any]] = {
    "fast": {},
    # Fast, with the points of the moving face taken back to the face at rest by the tracked mesh: what held up best on
    # frames never seen.
    "robust": {"warp": True, "learning_rate_bases": 0.03, "focus": 0.15},
    # Gao et al. 2022, section 3.3.2 and 4.1. Its epochs (two with the mask, seven without patches) are taken as
    # 3,500 frames of four an iteration, and the shares below as those of the 10,000 iterations of this preset.
    "paper": {
        "steps": 10000, "levels": 16, "finest": 1024, "basis_levels": 16,
        "learning_rate_end": 0.1, "basis_l2": 0.0, "pose_bases": False,
        "samples": 192, "distortion_weight": 0.0,
        "mask_until": 0.175, "mask_weight_later": 0.0, "patches_from": 0.6125, "perceptual": "auto",
        "training_background": "white", "outside": 1.0, "focus": 0.0, "keep_best": False, "mesh_hull": False,
    },
    # Xie's reproduction: one frame an iteration, entropy of the opacity (eq. 11), a tenth of the perceptual weight.
    "repro": {
        "steps": 10000, "images": 1, "levels": 16, "finest": 1024, "basis_levels": 16,
        "learning_rate_end": 0.1, "basis_l2": 0.0, "pose_bases": False,
        "samples": 192, "distortion_weight": 0.0,
        "mask_until": 0.175, "mask_weight_later": 0.0, "entropy_weight": 1e-3, "patches_from": 0.6125,
        "patch_color_weight": 0.1, "perceptual_weight": 0.01, "perceptual": "auto",
        "training_background": "white", "outside": 1.0, "focus": 0.0, "keep_best": False, "mesh_hull": False,
    },
}  # fmt: skip

_LIMITS: Limits = (
    ("rays", 16, 1 << 20),
    ("images", 1, 64), ("expressions", 0, 512),
    ("coarsest", 2, 256), ("finest", 16, 8192), ("levels", 1, 16), ("basis_levels", 1, 16),
    ("log2_size", 8, 22), ("samples", 16, 4096), ("band", 0, 1), ("outside", 0, 1),
    ("focus", 0, 0.9),
    ("patience", 0, 1), ("components", 0, 512), ("mask_until", 0, 1), ("patches_from", 0, 1),
    ("learning_rate_end", 0, 1),
)  # fmt: skip
_CHOICES = {
    "perceptual": ("auto", "lpips", "structure"),
    "training_background": ("white", "random"),
}


def make(preset: str = DEFAULT, **options: Any) -> Config:
    """The config of a preset with ``options`` on top. Raises UsageError for what cannot work."""
    config = shared.make(Config, "nerfblendshape", PRESETS, preset, options, _LIMITS, _CHOICES)
    if config.rays < config.images:
        raise UsageError("--rays must be at least --images")
    if config.basis_levels > config.levels:
        raise UsageError("--basis-levels must not exceed --levels")
    if config.coarsest > config.finest:
        raise UsageError("--coarsest must not exceed --finest")
    return config
