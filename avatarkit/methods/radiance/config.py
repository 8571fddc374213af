"""Options that all these methods have, and how a method's presets become a config. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from avatarkit.files.errors import UsageError


def option(default: Any, help_: str) -> Any:
    """A field of a config: its default and its help text."""
    return field(default=default, metadata={"help": help_})


@dataclass(frozen=True)
class RayConfig:
    """What decides a fit apart from the method's own field and losses."""

    preset: str = option("fast", "a bundle of options")
    resolution: int = option(256, "pixels a side of the square head crop")
    steps: int = option(3000, "training iterations")
    minutes: float = option(
        0.0, "stop after this time even if steps are left (0: no limit); not reproducible"
    )
    rays: int = option(512, "rays an iteration")
    batch: int = option(1, "frames an iteration")
    images: int = option(0, "training frames, evenly spread over those not held out (0: all of them)")
    expressions: int = option(52, "expression coefficients kept: the most active ones of the clip")
    seed: int = option(0, "seed of every draw")
    threads: int = option(0, "CPU threads (0: all cores)")
    device: str = option("cpu", "cpu")
    holdout: float = option(0.1, "share of the valid frames, the last ones, kept for measuring")
    background: str = option(
        "plate", "what is behind the head: plate (the clip's own), white, black or an image"
    )
    checkpoint: str = option("", "where interrupted work is kept")
    checkpoint_every: int = option(
        0, "also write a checkpoint every so many iterations (0: when interrupted)"
    )
    resume: bool = option(False, "go on from the checkpoint")
    keep_best: bool = option(True, "keep the weights that did best on held-out frames, not the last ones")
    preview: str = option("", "PNG rewritten during the fit: held-out frames, truth above avatar")

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


LIMITS: tuple[tuple[str, float, float], ...] = (
    ("resolution", 16, 2048), ("steps", 1, 10**8), ("minutes", 0, 10**6), ("rays", 16, 1 << 20),
    ("batch", 1, 64), ("images", 0, 10**6), ("expressions", 0, 512), ("threads", 0, 1024), ("holdout", 0, 0.9),
    ("checkpoint_every", 0, 10**8), ("coarse", 4, 1024), ("fine", 0, 1024), ("learning_rate_end", 0, 1),
    ("outside", 0, 1), ("focus", 0, 0.9),
)  # fmt: skip
CHOICES: dict[str, tuple[str, ...]] = {
    "device": ("cpu",),
    "sampling": ("paper", "skip"),
    "training_background": ("plate", "random", "white"),
}
# What may differ between the run that wrote a checkpoint and the one that takes it up.
FREE = {"checkpoint", "checkpoint_every", "resume", "preview", "minutes"}

Any_ = TypeVar("Any_", bound=RayConfig)


def make(
    config: type[Any_],
    method: str,
    presets: dict[str, dict[str, Any]],
    preset: str,
    options: dict[str, Any],
    limits: tuple[tuple[str, float, float], ...] = (),
) -> Any_:
    """The ``config`` of a preset with ``options`` on top. Raises UsageError for what cannot work."""
    if preset not in presets:
        raise UsageError(f"--preset {preset}: choose one of {', '.join(presets)}")
    known = {f.name for f in fields(config)}
    for name in options:
        if name not in known:
            raise UsageError(f"--{name.replace('_', '-')}: {method} has no such option")
    made = replace(config(preset=preset), **{**presets[preset], **options})
    for name, low, high in (*LIMITS, *limits):
        if not low <= getattr(made, name) <= high:
            raise UsageError(f"--{name.replace('_', '-')} must lie between {low:g} and {high:g}")
    for name, choices in CHOICES.items():
        if getattr(made, name) not in choices:
            raise UsageError(f"--{name.replace('_', '-')} must be {' or '.join(choices)}")
    if made.rays < made.batch:
        raise UsageError("--rays must be at least --batch")
    return made


def identity(config: RayConfig) -> dict[str, Any]:
    """The options that decide the weights, for comparing a checkpoint with the run that wants to go on from it."""
    return {f.name: getattr(config, f.name) for f in fields(config) if f.name not in FREE}
