"""What a fit changes: the Gaussians with their moments, and the residuals, whose moves wait for company."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from avatarkit.ops.anchors import BLENDED, CHANNELS, TOGETHER, LearnOptions, learn, settle


@dataclass
class Learner:
    """N Gaussians and K residuals under training.

    ``TOGETHER`` steps make a round. Their frames are known at its beginning, so one pass over the residuals applies the
    moves of the round before and blends all frames of the next (see ``ops.anchors.learn``).
    """

    base: Tensor
    """[14, N]"""
    residual: Tensor
    """[K, 7, N] as of the beginning of the round"""
    moments: Tensor
    """[2, 14, N]"""
    moves: Tensor
    """[TOGETHER, 7, N] what the steps of the round would do to the residuals, times their coefficients"""
    done: int = 0
    """steps of the round so far"""
    _frames: Tensor = field(default_factory=lambda: torch.empty(0), init=False)
    """[TOGETHER, K] coefficients of the round's frames, ``_products`` [TOGETHER, TOGETHER] with each other"""
    _products: Tensor = field(default_factory=lambda: torch.empty(0), init=False)
    _blends: Tensor = field(default_factory=lambda: torch.empty(0), init=False)
    """[TOGETHER, 7, N]"""

    @classmethod
    def create(cls, base: Tensor, residuals: int) -> Learner:
        """Of ``base`` [14, N] before any training."""
        count = base.shape[1]
        return cls(
            base, torch.zeros(residuals, BLENDED, count), torch.zeros(2, CHANNELS, count),
            torch.zeros(TOGETHER, BLENDED, count),
        )  # fmt: skip

    def begin(self, frames: Tensor) -> Tensor:
        """A round of frames of coefficients ``frames`` [TOGETHER, K]: [14, N] the Gaussians of its first."""
        self._settle(frames)
        result = self.base.clone()
        result[:BLENDED] += self._blends[0]
        return result

    def resume(self, frames: Tensor, done: int) -> None:
        """Go on in the round of ``frames`` after ``done`` steps, whose ``moves`` are there."""
        self.done = 0
        self._settle(frames)
        self.done = done

    def advance(self, gradient: Tensor, step: int, options: LearnOptions) -> Tensor | None:
        """One step from the ``gradient`` [14, N] of this frame: [14, N] of the round's next frame, None after its last.

        ``step``: how many steps there have been in the whole fit, this one counted.
        """
        at = self.done
        self.done += 1
        last = self.done == TOGETHER
        return learn(
            self.base, self.moments, gradient, None if last else self._blends[self.done], self.moves[: self.done],
            self._products[at if last else self.done, : self.done], step, options,
        )  # fmt: skip

    def blended(self, coefficients: Tensor) -> Tensor:
        """[14, N] Gaussians of any frame, as learned so far."""
        result = self.base.clone()
        result[:BLENDED] += torch.einsum("k,kcn->cn", coefficients, self.residual)
        if self.done:
            weights = self._frames[: self.done] @ coefficients
            result[:BLENDED] -= torch.einsum("j,jcn->cn", weights, self.moves[: self.done])
        return result

    def finish(self) -> None:
        """Bring ``residual`` up to date; after that a new round must begin."""
        self._settle(self._frames)

    def _settle(self, following: Tensor) -> None:
        now = self._frames[: self.done] if self.done else following[:0]
        self._blends = settle(self.residual, now, self.moves[: self.done], following)
        self._frames, self._products, self.done = following, following @ following.T, 0
