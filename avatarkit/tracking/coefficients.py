"""Expression coefficients in [0, 1]: sparse, smooth in time, solved for many frames at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from avatarkit.tracking.camera import Linearized

Float = NDArray[np.float32]

PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
"""Entries of a symmetric 3 x 3 matrix in the order they are stored here."""
ROWS = ((0, 3, 4), (3, 1, 5), (4, 5, 2))
"""Where each of its rows is stored."""


FEW = 4
"""Frames up to which normal matrices are made one by one, without the table of products."""


class Products:
    """Pairwise products of the shapes, so that every frame's normal matrix is one row of a matrix product.

    The normal matrix of the coefficients is sum_p B_p^T M_p B_p with M_p = A_p^T W_p A_p a symmetric 3 x 3
    matrix per landmark, A_p the 2 x 3 derivative of the projection. It is linear in M, and what multiplies M
    depends on the shapes only: [E (E + 1) / 2, 6 P] once, instead of a Jacobian per frame. That table is 15 MB:
    reading it for a frame or two takes longer than multiplying those out.
    """

    def __init__(self, shapes: Float) -> None:
        self.shapes, self.count = shapes, len(shapes)
        self.flat = np.ascontiguousarray(shapes.reshape(self.count, -1), np.float32)

    @cached_property
    def _axes(self) -> Float:
        """[3, E, P]"""
        return np.ascontiguousarray(np.moveaxis(self.shapes, 2, 0), np.float32)

    @cached_property
    def _table(self) -> tuple[Float, NDArray[np.int64]]:
        """[E (E + 1) / 2, 6 P] products, and [E, E] which of them belongs where."""
        row, column = np.triu_indices(self.count)
        table = np.empty((len(row), len(PAIRS), self.shapes.shape[1]), np.float32)
        for k, (a, b) in enumerate(PAIRS):
            table[:, k] = self.shapes[row, :, a] * self.shapes[column, :, b]
            if a != b:
                table[:, k] += self.shapes[row, :, b] * self.shapes[column, :, a]
        full = np.zeros((self.count, self.count), np.int64)
        full[row, column] = full[column, row] = np.arange(len(row))
        return table.reshape(len(row), -1), full

    def normal(self, moment: Float) -> Float:
        """[E, E, N] normal matrices for ``moment`` [N, 6, P]."""
        if len(moment) <= FEW:
            return np.stack([self._normal_of_one(each) for each in moment], -1)
        table, full = self._table
        upper = table @ moment.reshape(len(moment), -1).T
        return np.ascontiguousarray(upper[full])

    def _normal_of_one(self, moment: Float) -> Float:
        """[E, E] for ``moment`` [6, P]."""
        axes, total = self._axes, np.zeros((self.count, self.count), np.float32)
        for a, row in enumerate(ROWS):
            weighted = moment[row[0]] * axes[0]
            weighted += moment[row[1]] * axes[1]
            weighted += moment[row[2]] * axes[2]
            total += weighted @ axes[a].T
        return total

    def gradient(self, pull: Float) -> Float:
        """[E, N] descent direction for ``pull`` [N, P, 3] = A^T W r."""
        return np.ascontiguousarray(self.flat @ pull.reshape(len(pull), -1).T)


def moments(linear: Linearized, rotation: Float, weight: Float) -> tuple[Float, Float]:
    """Per landmark M = A^T W A as [N, 6, P] and A^T W r as [N, P, 3], for weights [N, P]."""
    first, second = linear.by_point(rotation)
    moment = np.empty((len(weight), len(PAIRS), weight.shape[1]), np.float32)
    one, two = first * weight[..., None], second * weight[..., None]
    for k, (a, b) in enumerate(PAIRS):
        np.multiply(one[..., a], first[..., b], out=moment[:, k])
        moment[:, k] += two[..., a] * second[..., b]
    pull = one * linear.residual[..., :1] + two * linear.residual[..., 1:]
    return moment, pull


@dataclass(frozen=True)
class Prior:
    """What is expected of coefficients before a frame is seen, in solver units squared."""

    sparse: Float
    """[E] weight of sum |w|: keeps constant expression from standing in for identity."""
    ridge: Float
    """[E] weight of half the squared distance from the goal, which is 0 but for the shapes that follow the gaze:
    shares motion among shapes that do nearly the same."""
    steady: float
    """weight of half the squared first differences over time."""
    jump: float
    """difference between frames at which real motion is assumed and smoothing lets go."""
    free: NDArray[np.bool_]
    """[E] which coefficients are solved for; the others stay as they are."""


def descend(
    normal: Float,
    gradient: Float,
    w: Float,
    before: Float,
    after: Float,
    link: tuple[Float, Float],
    prior: Prior,
    sweeps: int,
    goal: Float | None = None,
) -> Float:
    """Minimize the box-constrained quadratic of N frames by cyclic coordinate descent; returns [E, N].

    The energy is 1/2 d'H d - g'd with d the change from ``w`` [E, N], plus ``prior``; ``normal`` [E, E, N],
    ``gradient`` [E, N]. ``before`` and ``after`` [E, N] are the coefficients of the neighboring frames and
    ``link`` their [N] weights (0 at cuts); the ridge pulls towards ``goal`` [E, N] (default 0).

    Coordinate steps are exact for the box and the L1 term; every one of them lowers the energy, so no step can
    diverge as clamped Gauss-Newton steps do.
    """
    w = w.copy()
    slope = -gradient
    if w.shape[1] == 1:
        goals = np.zeros_like(w) if goal is None else goal
        return _descend_one(normal[..., 0], slope[:, 0], w, (before, after), link, prior, sweeps, goals)
    hold, target = _held(w, before, after, link, prior)
    if goal is not None:
        target += prior.ridge[:, None] * goal
    chosen = np.flatnonzero(prior.free)
    diagonal = {j: normal[j, j] + hold[j] + prior.ridge[j] + np.float32(1e-6) for j in chosen}
    for _ in range(sweeps):
        largest = np.float32(0)
        for j in chosen:
            total = slope[j] + (hold[j] + prior.ridge[j]) * w[j] - target[j] + prior.sparse[j]
            value = np.clip(w[j] - total / diagonal[j], 0.0, 1.0)
            change = value - w[j]
            biggest = np.abs(change).max(initial=0.0)
            if biggest > 1e-5:
                slope += normal[j] * change
                w[j] = value
                largest = max(largest, biggest)
        if largest < 1e-3:
            break
    return w


def _held(
    w: Float, before: Float, after: Float, link: tuple[Float, Float], prior: Prior
) -> tuple[Float, Float]:
    """What pulls ``w`` to its neighbors: [E, N] the weights' sum, [E, N] the weighted neighbors' sum."""
    pull_before = prior.steady * link[0] / (1.0 + np.square((w - before) / prior.jump))
    pull_after = prior.steady * link[1] / (1.0 + np.square((w - after) / prior.jump))
    target = (pull_before * before + pull_after * after).astype(np.float32)
    return (pull_before + pull_after).astype(np.float32), target


def _descend_one(
    normal: Float,
    slope: Float,
    w: Float,
    near: tuple[Float, Float],
    link: tuple[Float, Float],
    prior: Prior,
    sweeps: int,
    goal: Float,
) -> Float:
    """``descend`` for one frame, where plain numbers are quicker than arrays of one; returns [E, 1].

    What holds the frame to its neighbors is weighed again halfway: nobody else alternates for it as often.
    """
    for _ in range(2):
        hold, target = _held(w, *near, link, prior)
        stiff, diagonal = hold[:, 0] + prior.ridge, np.diagonal(normal) + hold[:, 0] + prior.ridge + 1e-6
        away = prior.sparse - target[:, 0] - prior.ridge * goal[:, 0]
        by_stiff, by_diagonal, by_away = stiff.tolist(), diagonal.tolist(), away.tolist()
        values = w[:, 0].tolist()
        for _ in range(sweeps // 2):
            largest = 0.0
            # most coefficients are 0, and nothing pulls them up
            moving = prior.free & ((np.array(values) > 0) | (slope + away < 0))
            for j in np.flatnonzero(moving).tolist():
                total = slope.item(j) + by_stiff[j] * values[j] + by_away[j]
                value = min(max(values[j] - total / by_diagonal[j], 0.0), 1.0)
                change = value - values[j]
                if abs(change) > 1e-5:
                    slope += normal[j] * np.float32(change)
                    values[j] = value
                    largest = max(largest, abs(change))
            if largest < 1e-3:
                break
        w = np.array(values, np.float32)[:, None]
    return w
