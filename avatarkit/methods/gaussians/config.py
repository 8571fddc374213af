"""Options of the method and its presets. Imports nothing heavy: the command line reads it for ``--help``."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

from avatarkit.files.errors import UsageError


def _option(default: Any, help_: str) -> Any:
    return field(default=default, metadata={"help": help_})


@dataclass(frozen=True)
class Config:
    """Everything that decides a fit. The defaults are those of the preset ``fast``."""

    preset: str = _option("fast", "fast or draft (a quarter of the time)")
    resolution: int = _option(256, "pixels a side of the square head crop")
    steps: int = _option(6000, "training iterations, one frame each; learning rates fall along them")
    minutes: float = _option(
        1.0, "train for this time at most (0: no limit); learning rates fall along it; not reproducible"
    )
    count: int = _option(10000, "Gaussians; more do not generalize better")
    seed: int = _option(0, "seed of every draw")
    threads: int = _option(0, "CPU threads (0: all cores)")
    device: str = _option("cpu", "cpu")
    holdout: float = _option(0.1, "share of the valid frames, the last ones, kept for measuring")
    background: str = _option(
        "plate", "what is behind the person: plate (the clip's own), white, black or an image"
    )
    checkpoint: str = _option("", "where interrupted work is kept")
    checkpoint_every: int = _option(
        0, "also write a checkpoint every so many iterations (0: when interrupted)"
    )
    resume: bool = _option(False, "go on from the checkpoint")
    preview: str = _option("", "PNG rewritten during the fit: held-out frames, truth above avatar")

    expressions: int = _option(22, "principal components of the expression coefficients that drive residuals")
    landmarks: int = _option(10, "components of what the landmarks show beyond the coefficients (0: none)")
    pose: bool = _option(True, "residuals driven by the head's pose as well")
    coarse: float = _option(0.15, "share of the fit at half the resolution, for a quick start")
    rate: float = _option(1.0, "factor of all learning rates")
    rate_end: float = _option(0.02, "share of the learning rates that is left at the end")
    residual_rate: float = _option(1.0, "learning rate of the residuals, in units of their Gaussians'")
    structure_weight: float = _option(0.2, "weight of 1 - SSIM; that of the color is one less this")
    matte_weight: float = _option(0.1, "weight of the loss on the person's matte")
    swap: float = _option(
        0.1, "share of the steps before a plain background: edges stay free of the clip's own"
    )
    opacity_weight: float = _option(0.0, "weight of a prior against half transparent Gaussians")


PRESETS: dict[str, dict[str, Any]] = {
    "fast": {},
    "draft": {"steps": 1500, "minutes": 0.25},
}

# (name, lowest, highest)
_LIMITS: tuple[tuple[str, float, float], ...] = (
    ("resolution", 32, 2048), ("steps", 1, 10**8), ("minutes", 0, 10**6), ("count", 500, 200000),
    ("threads", 0, 1024), ("holdout", 0, 0.9), ("checkpoint_every", 0, 10**8), ("expressions", 0, 52),
    ("landmarks", 0, 100), ("coarse", 0, 0.9), ("rate", 0, 100), ("rate_end", 0, 1), ("residual_rate", 0, 100),
    ("structure_weight", 0, 1), ("matte_weight", 0, 100), ("swap", 0, 1), ("opacity_weight", 0, 100),
)  # fmt: skip
# What may differ between the run that wrote a checkpoint and the one that takes it up.
_FREE = {"checkpoint", "checkpoint_every", "resume", "preview", "minutes"}


def make(preset: str = "fast", **options: Any) -> Config:
    """The config of a preset with ``options`` on top. Raises UsageError for what cannot work."""
    if preset not in PRESETS:
        raise UsageError(f"--preset {preset}: choose one of {', '.join(PRESETS)}")
    known = {f.name for f in fields(Config)}
    for name in options:
        if name not in known:
            raise UsageError(f"--{name.replace('_', '-')}: gaussians has no such option")
    config = replace(Config(preset=preset), **{**PRESETS[preset], **options})
    for name, low, high in _LIMITS:
        if not low <= getattr(config, name) <= high:
            raise UsageError(f"--{name.replace('_', '-')} must lie between {low:g} and {high:g}")
    if config.device != "cpu":
        raise UsageError("--device must be cpu")
    return config


def identity(config: Config) -> dict[str, Any]:
    """The options that decide the weights, for comparing a checkpoint with the run that wants to go on from it."""
    return {f.name: getattr(config, f.name) for f in fields(Config) if f.name not in _FREE}
