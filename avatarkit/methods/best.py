"""The state of a fit that did best on frames it was not fitted to: what is kept when a fit begins to overfit."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

PREFIX = "best."


class Trainable(Protocol):
    """A fit under way, as what looks after fits sees it."""

    step: int
    seconds: float
    """of training so far, without looks"""
    samples: int
    """ray samples shaded so far"""

    @property
    def share(self) -> float:
        """How much of the fit is done."""
        ...

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        ...

    def advance(self) -> float:
        """One iteration; returns its loss."""
        ...

    def keepsake(self) -> dict[str, Tensor]:
        """Copies of what ``recall`` needs to bring the fit's weights back to where they are now."""
        ...

    def recall(self, tensors: dict[str, Tensor]) -> None:
        """Puts the weights of a ``keepsake`` in place of the present ones."""
        ...


@dataclass
class Best:
    """The held-out curve of a fit and a copy of its best point."""

    curve: list[tuple[int, float]] = field(default_factory=list)
    """(step, dB) of every look"""
    tensors: dict[str, Tensor] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The best look's dB; minus infinity before the first."""
        return max((value for _, value in self.curve), default=-math.inf)

    @property
    def last(self) -> float:
        """The last look's dB, NaN before the first."""
        return self.curve[-1][1] if self.curve else math.nan

    @property
    def step(self) -> int:
        """The step of the best look, the earliest of equals."""
        return next((step for step, value in self.curve if value == self.value), 0)

    def offer(self, trainer: Trainable, value: float) -> None:
        """Notes a look at ``trainer`` as it stands, and copies its state where it is the best so far."""
        if math.isnan(value):  # no head to be seen in any of the frames
            return
        better = value > self.value
        self.curve.append((trainer.step, value))
        if better:
            self.tensors = trainer.keepsake()

    def restore(self, trainer: Trainable) -> None:
        """Puts the best state into ``trainer``, whose last one is lost. Does nothing where it is the last one."""
        if self.tensors and self.step != trainer.step:
            trainer.recall(self.tensors)

    def stale(self, step: int, patience: int) -> bool:
        """Whether ``patience`` steps (0: never) have passed without a better look."""
        return bool(patience and self.curve and step - self.step >= patience)

    def state(self) -> tuple[dict[str, Tensor], list[tuple[int, float]]]:
        """Tensors and curve for a checkpoint."""
        return {PREFIX + name: value for name, value in self.tensors.items()}, self.curve

    @classmethod
    def from_state(cls, tensors: dict[str, Tensor], curve: list[Any]) -> Best:
        """The inverse of ``state``, from all tensors of a checkpoint."""
        own = {name.removeprefix(PREFIX): value for name, value in tensors.items() if name.startswith(PREFIX)}
        return cls([(int(step), float(value)) for step, value in curve], own)
