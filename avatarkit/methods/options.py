"""What the options of all methods share: the fields of a fit, presets, limits. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from avatarkit.files.errors import UsageError

Limits = tuple[tuple[str, float, float], ...]
"""(field, lowest, highest)"""


def option(default: Any, help_: str) -> Any:
    """A field of a config: its default and its help text."""
    return field(default=default, metadata={"help": help_})


@dataclass(frozen=True)
class FitOptions:
    """What decides every fit to a clip, whatever the method."""

    preset: str = option("fast", "a bundle of options")
    resolution: int = option(256, "pixels a side of the square head crop")
    steps: int = option(6000, "training iterations")
    minutes: float = option(
        0.0, "stop after this time even if steps are left (0: no limit); not reproducible"
    )
    seed: int = option(0, "seed of every draw")
    threads: int = option(0, "CPU threads (0: all cores)")
    device: str = option("cpu", "cpu")
    holdout: float = option(0.1, "share of the valid frames, the last ones, kept for measuring")
    background: str = option(
        "plate", "what is behind the person: plate (the clip's own), white, black or an image"
    )
    checkpoint: str = option("", "where interrupted work is kept")
    checkpoint_every: int = option(
        0, "also write a checkpoint every so many iterations (0: when interrupted)"
    )
    resume: bool = option(False, "go on from the checkpoint")
    preview: str = option("", "PNG rewritten during the fit: held-out frames, truth above avatar")


LIMITS: Limits = (
    ("resolution", 16, 2048), ("steps", 1, 10**8), ("minutes", 0, 10**6), ("threads", 0, 1024), ("holdout", 0, 0.9),
    ("checkpoint_every", 0, 10**8),
)  # fmt: skip
CHOICES: Mapping[str, tuple[str, ...]] = {"device": ("cpu",)}
# What may differ between the run that wrote a checkpoint and the one that takes it up.
FREE = {"checkpoint", "checkpoint_every", "resume", "preview", "minutes"}

Own = TypeVar("Own")


def make(
    config: type[Own],
    method: str,
    presets: dict[str, dict[str, Any]],
    preset: str,
    options: dict[str, Any],
    limits: Limits,
    choices: Mapping[str, tuple[str, ...]] | None = None,
) -> Own:
    """The ``config`` of a preset with ``options`` on top; a method's ``limits`` replace the common ones of that name.

    Raises UsageError for what cannot work.
    """
    if preset not in presets:
        raise UsageError(f"--preset {preset}: choose one of {', '.join(presets)}")
    known = {f.name for f in fields(config)}  # type: ignore[arg-type]
    for name in options:
        if name not in known:
            raise UsageError(f"--{name.replace('_', '-')}: {method} has no such option")
    made = replace(config(preset=preset), **{**presets[preset], **options})  # type: ignore[call-arg,type-var]
    bounds = {name: (low, high) for name, low, high in (*LIMITS, *limits) if name in known}
    for name, (low, high) in bounds.items():
        if not low <= getattr(made, name) <= high:
            raise UsageError(f"--{name.replace('_', '-')} must lie between {low:g} and {high:g}")
    for name, allowed in {**CHOICES, **(choices or {})}.items():
        if name in known and getattr(made, name) not in allowed:
            raise UsageError(f"--{name.replace('_', '-')} must be {' or '.join(allowed)}")
    return made


def identity(config: Any) -> dict[str, Any]:
    """The options that decide the weights, for comparing a checkpoint with the run that wants to go on from it."""
    return {f.name: getattr(config, f.name) for f in fields(config) if f.name not in FREE}
