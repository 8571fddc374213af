"""Options of the method and its presets. Imports nothing heavy: the command line reads it for ``--help``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from avatarkit.methods import options as shared
from avatarkit.methods.options import FitOptions, Limits, option


@dataclass(frozen=True)
class Config(FitOptions):
    """Everything that decides a fit. The defaults are those of the preset ``fast``."""

    preset: str = option("fast", "fast or draft (a quarter of the time)")
    steps: int = option(
        3000,
        "training iterations, one frame each; learning rates fall along them; more fit the clip, not the person",
    )
    minutes: float = option(
        1.0, "train for this time at most (0: no limit); learning rates fall along it; not reproducible"
    )
    count: int = option(10000, "Gaussians; more do not generalize better")

    expressions: int = option(22, "principal components of the expression coefficients that drive residuals")
    landmarks: int = option(10, "components of what the landmarks show beyond the coefficients (0: none)")
    pose: bool = option(True, "residuals driven by the head's pose as well")
    coarse: float = option(0.15, "share of the fit at half the resolution, for a quick start")
    rate: float = option(1.0, "factor of all learning rates")
    rate_end: float = option(0.02, "share of the learning rates that is left at the end")
    residual_rate: float = option(1.0, "learning rate of the residuals, in units of their Gaussians'")
    structure_weight: float = option(0.2, "weight of 1 - SSIM; that of the color is one less this")
    matte_weight: float = option(0.1, "weight of the loss on the person's matte")
    swap: float = option(
        0.1, "share of the steps before a plain background: edges stay free of the clip's own"
    )
    opacity_weight: float = option(0.0, "weight of a prior against half transparent Gaussians")


PRESETS: dict[str, dict[str, Any]] = {
    "fast": {},
    "draft": {"steps": 1500, "minutes": 0.25},
}

_LIMITS: Limits = (
    ("resolution", 32, 2048), ("count", 500, 200000),
    ("expressions", 0, 52),
    ("landmarks", 0, 100), ("coarse", 0, 0.9), ("rate", 0, 100), ("rate_end", 0, 1), ("residual_rate", 0, 100),
    ("structure_weight", 0, 1), ("matte_weight", 0, 100), ("swap", 0, 1), ("opacity_weight", 0, 100),
)  # fmt: skip


def make(preset: str = "fast", **options: Any) -> Config:
    """The config of a preset with ``options`` on top. Raises UsageError for what cannot work."""
    return shared.make(Config, "gaussians", PRESETS, preset, options, _LIMITS)
