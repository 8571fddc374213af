"""Options that all these methods have. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from avatarkit.files.errors import UsageError
from avatarkit.methods import options
from avatarkit.methods.options import FitOptions, Limits, option


@dataclass(frozen=True)
class RayConfig(FitOptions):
    """What decides a fit apart from the method's own field and losses."""

    steps: int = option(3000, "training iterations")
    rays: int = option(512, "rays an iteration")
    batch: int = option(1, "frames an iteration")
    images: int = option(0, "training frames, evenly spread over those not held out (0: all of them)")
    expressions: int = option(52, "expression coefficients kept: the most active ones of the clip")
    keep_best: bool = option(True, "keep the weights that did best on held-out frames, not the last ones")

    coarse: int = option(64, "samples of a ray at the first look")
    fine: int = option(64, "samples of a ray where the first look saw something, beside the others")
    sampling: str = option(
        "skip", "paper: all samples; skip: those in cells that the mattes and the fit so far leave possible"
    )
    learning_rate: float = option(5e-4, "of Adam")
    learning_rate_end: float = option(0.1, "share of the learning rate that is left at the end")
    training_background: str = option(
        "random", "behind the head during training: plate (the clip's picture), random, or white"
    )
    outside: float = option(0.3, "chance of a pixel outside the head matte against one inside")
    focus: float = option(0.1, "share of the rays that fall on mouth and eyes")


LIMITS: Limits = (
    ("rays", 16, 1 << 20), ("batch", 1, 64), ("images", 0, 10**6), ("expressions", 0, 512), ("coarse", 4, 1024),
    ("fine", 0, 1024), ("learning_rate_end", 0, 1), ("outside", 0, 1), ("focus", 0, 0.9),
)  # fmt: skip
CHOICES = {"sampling": ("paper", "skip"), "training_background": ("plate", "random", "white")}

Own = TypeVar("Own", bound=RayConfig)


def make(
    config: type[Own],
    method: str,
    presets: dict[str, dict[str, Any]],
    preset: str,
    chosen: dict[str, Any],
    limits: Limits = (),
) -> Own:
    """The ``config`` of a preset with the ``chosen`` options on top. Raises UsageError for what cannot work."""
    made = options.make(config, method, presets, preset, chosen, (*LIMITS, *limits), CHOICES)
    if made.rays < made.batch:
        raise UsageError("--rays must be at least --batch")
    return made
