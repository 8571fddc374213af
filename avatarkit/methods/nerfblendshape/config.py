"""Options of the method and its presets. Imports nothing heavy: the command line reads it for ``--help``."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

from avatarkit.files.errors import UsageError


def _option(default: Any, help_: str) -> Any:
    return field(default=default, metadata={"help": help_})


@dataclass(frozen=True)
class Config:
    """Everything that decides a fit. The fields' defaults are the preset ``fast``; ``make`` takes ``robust``."""

    preset: str = _option(
        "fast", "robust (the default), fast, paper (Gao et al. 2022) or repro (Xie's reproduction)"
    )
    resolution: int = _option(256, "pixels a side of the square head crop")
    steps: int = _option(6000, "training iterations")
    minutes: float = _option(
        0.0, "stop after this time even if steps are left (0: no limit); not reproducible"
    )
    rays: int = _option(4096, "rays an iteration")
    images: int = _option(4, "frames an iteration")
    expressions: int = _option(52, "expression coefficients kept: the most active ones of the clip")
    seed: int = _option(0, "seed of every draw")
    threads: int = _option(0, "CPU threads (0: all cores)")
    device: str = _option("cpu", "cpu")
    holdout: float = _option(0.1, "share of the valid frames, the last ones, kept for measuring")
    background: str = _option(
        "plate", "what is behind the head: plate (the clip's own), white, black or an image"
    )
    checkpoint: str = _option("", "where interrupted work is kept")
    checkpoint_every: int = _option(
        0, "also write a checkpoint every so many iterations (0: when interrupted)"
    )
    resume: bool = _option(False, "go on from the checkpoint")
    keep_best: bool = _option(True, "keep the weights that did best on held-out frames, not the last ones")
    patience: float = _option(
        0.0, "stop when held-out frames have not improved for this share of the iterations (0: never)"
    )
    preview: str = _option("", "PNG rewritten during the fit: held-out frames, truth above avatar")

    coarsest: int = _option(16, "cells a side of the coarsest level of the hash grid")
    finest: int = _option(512, "cells a side of the finest level")
    basis_levels: int = _option(9, "how many of the 16 levels, coarse to fine, the expression bases hold")
    log2_size: int = _option(14, "table entries of a level, as a power of two")
    samples: int = _option(128, "ray samples across the side of the head's box")
    learning_rate: float = _option(0.01, "of the mean table")
    learning_rate_bases: float = _option(0.01, "of the expression bases")
    learning_rate_network: float = _option(0.01, "of the network")
    learning_rate_end: float = _option(0.03, "share of the learning rates that is left at the end")
    components: int = _option(
        0, "principal components of the coefficients that drive bases (0: each its own)"
    )
    warp: bool = _option(
        False, "take points back through the tracked mesh's motion before the field is asked"
    )
    mesh_hull: bool = _option(True, "nothing is in front of the tracked face")
    basis_l2: float = _option(1e-5, "L2 penalty on the expression bases")
    pose_bases: bool = _option(True, "bases driven by head rotation as well (neck, hair, light)")

    residual: bool = _option(
        False, "bases driven by the track's own residual components as well; other drivers leave them at zero"
    )

    mask_until: float = _option(0.2, "share of the iterations with full mask loss")
    mask_weight: float = _option(1.0, "weight of the mask loss in that phase")
    mask_weight_later: float = _option(0.1, "weight of the mask loss after it")
    entropy_weight: float = _option(0.0, "weight of the entropy of the opacity")
    distortion_weight: float = _option(0.03, "weight of the distortion loss, which thins fog before surfaces")
    patches_from: float = _option(0.6, "share of the iterations after which patches are sampled too")
    patch_color_weight: float = _option(0.1, "weight of the color loss on patches")
    perceptual_weight: float = _option(0.1, "weight of the perceptual loss on patches")
    perceptual: str = _option(
        "structure", "loss on patches: lpips, structure, or auto (the first that can be had)"
    )
    training_background: str = _option("random", "behind the head during training: white or random")
    outside: float = _option(0.3, "chance of a pixel outside the head matte against one inside")
    focus: float = _option(0.1, "share of the rays that fall on mouth and eyes")


DEFAULT = "robust"
PRESETS: dict[str, dict[str, Any]] = {
    "fast": {},
    # Fast, with the points of the moving face taken back to the face at rest by the tracked mesh: what held up best on
    # frames never seen.
    "robust": {"warp": True, "learning_rate_bases": 0.03, "focus": 0.15},
    # Gao et al. 2022, section 3.3.2 and 4.1. Its epochs (two with the mask, seven without patches) are taken as
    # 3,500 frames of four an iteration, and the shares below as those of the 10,000 iterations of this preset.
    "paper": {
        "steps": 10000, "finest": 1024, "basis_levels": 16,
        "learning_rate_end": 0.1, "basis_l2": 0.0, "pose_bases": False,
        "samples": 192, "distortion_weight": 0.0,
        "mask_until": 0.175, "mask_weight_later": 0.0, "patches_from": 0.6125, "perceptual": "auto",
        "training_background": "white", "outside": 1.0, "focus": 0.0, "keep_best": False, "mesh_hull": False,
    },
    # Xie's reproduction: one frame an iteration, entropy of the opacity (eq. 11), a tenth of the perceptual weight.
    "repro": {
        "steps": 10000, "images": 1, "finest": 1024, "basis_levels": 16,
        "learning_rate_end": 0.1, "basis_l2": 0.0, "pose_bases": False,
        "samples": 192, "distortion_weight": 0.0,
        "mask_until": 0.175, "mask_weight_later": 0.0, "entropy_weight": 1e-3, "patches_from": 0.6125,
        "patch_color_weight": 0.1, "perceptual_weight": 0.01, "perceptual": "auto",
        "training_background": "white", "outside": 1.0, "focus": 0.0, "keep_best": False, "mesh_hull": False,
    },
}  # fmt: skip

# (name, lowest, highest)
_LIMITS: tuple[tuple[str, float, float], ...] = (
    ("resolution", 16, 2048), ("steps", 1, 10**8), ("minutes", 0, 10**6), ("rays", 16, 1 << 20),
    ("images", 1, 64), ("expressions", 0, 512), ("threads", 0, 1024), ("holdout", 0, 0.9),
    ("checkpoint_every", 0, 10**8), ("coarsest", 2, 256), ("finest", 16, 8192), ("basis_levels", 1, 16),
    ("log2_size", 8, 22), ("samples", 16, 4096), ("outside", 0, 1), ("focus", 0, 0.9),
    ("patience", 0, 1), ("components", 0, 512), ("mask_until", 0, 1), ("patches_from", 0, 1),
    ("learning_rate_end", 0, 1),
)  # fmt: skip
_CHOICES = {
    "device": ("cpu",),
    "perceptual": ("auto", "lpips", "structure"),
    "training_background": ("white", "random"),
}
# What may differ between the run that wrote a checkpoint and the one that takes it up.
_FREE = {"checkpoint", "checkpoint_every", "resume", "preview", "minutes"}


def make(preset: str = DEFAULT, **options: Any) -> Config:
    """The config of a preset with ``options`` on top. Raises UsageError for what cannot work."""
    if preset not in PRESETS:
        raise UsageError(f"--preset {preset}: choose one of {', '.join(PRESETS)}")
    known = {f.name for f in fields(Config)}
    for name in options:
        if name not in known:
            raise UsageError(f"--{name.replace('_', '-')}: nerfblendshape has no such option")
    config = replace(Config(preset=preset), **{**PRESETS[preset], **options})
    for name, low, high in _LIMITS:
        if not low <= getattr(config, name) <= high:
            raise UsageError(f"--{name.replace('_', '-')} must lie between {low:g} and {high:g}")
    for name, choices in _CHOICES.items():
        if getattr(config, name) not in choices:
            raise UsageError(f"--{name.replace('_', '-')} must be {' or '.join(choices)}")
    if config.rays < config.images:
        raise UsageError("--rays must be at least --images")
    if config.coarsest > config.finest:
        raise UsageError("--coarsest must not exceed --finest")
    return config


def identity(config: Config) -> dict[str, Any]:
    """The options that decide the weights, for comparing a checkpoint with the run that wants to go on from it."""
    return {f.name: getattr(config, f.name) for f in fields(Config) if f.name not in _FREE}
