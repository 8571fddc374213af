"""E_reg,flame: a frame's own coefficients and pose stay near what was tracked."""

from __future__ import annotations

from torch import Tensor

EXPRESSION, TURN, MOVE = 0.08, 0.02, 0.003
"""Deviations that cost one: of a coefficient, of a turn (radians) and of a movement (meters)."""


def prior(expression: Tensor, turn: Tensor, move: Tensor) -> Tensor:
    """Sum of squared deviations in units of those above: ``expression`` [E], ``turn`` [3], ``move`` [3] from the track.

    The track's own values stand where the paper has the statistical model's mean: coefficients of this head lie in
    [0, 1] and were regularized when they were tracked.
    """
    parts = ((expression, EXPRESSION), (turn, TURN), (move, MOVE))
    return sum(((values / unit).square().mean() for values, unit in parts), expression.new_zeros(()))
