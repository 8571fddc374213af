"""E_reg,offset: smooth offsets, the same in every pose, small where the tracker knows better."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FINEST = 2.0
"""Millimeters between vertices below which a surface counts as no finer: lids and lips are folded."""
NEAR = 1.0
"""Millimeters up to which an offset counts by its square."""


def curvature(
    triangles: NDArray[np.integer], places: NDArray[np.floating], stiffness: NDArray[np.floating]
) -> Tensor:
    """[V, V] sparse: the Laplacian on the surface, in 1/mm^2, of values at its vertices ``places`` [V, 3] (meters).

    A value minus the mean of its neighbors', over a quarter of their mean squared distance, which makes it the same
    on a finely and a coarsely divided surface; rows are weighted by the square root of the share of the area that
    belongs to their vertex and its ``stiffness`` [V], so that a sum of squares is a weighted mean over the surface.
    """
    count, points = len(places), np.asarray(places, np.float64) * 1000
    ends = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    ends = np.unique(np.concatenate([ends, ends[:, ::-1]]), axis=0).astype(np.int64)
    degree = np.bincount(ends[:, 0], minlength=count)
    own = np.flatnonzero(degree)
    square = np.square(points[ends[:, 0]] - points[ends[:, 1]]).sum(1)
    spacing = np.bincount(ends[:, 0], square, count)[own] / degree[own]
    a, b, c = (points[triangles[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 6
    share = np.bincount(triangles.reshape(-1), np.repeat(area, 3), count)[own] / max(3 * area.sum(), 1e-12)
    scale = np.zeros(count)
    scale[own] = 4 * np.sqrt(share * stiffness[own]) / np.maximum(spacing, FINEST**2)
    rows, columns = np.concatenate([own, ends[:, 0]]), np.concatenate([own, ends[:, 1]])
    values = np.concatenate([np.ones(len(own)), -1.0 / degree[ends[:, 0]]]) * scale[rows]
    matrix = torch.sparse_coo_tensor(
        torch.from_numpy(np.stack([rows, columns])),
        torch.from_numpy(values.astype(np.float32)),
        (count, count),
        check_invariants=False,
    )
    return matrix.coalesce()


def laplacian(offsets: Tensor, matrix: Tensor) -> Tensor:
    """Mean squared Laplacian over the surface (``matrix`` of ``curvature``) of ``offsets`` [V, 3]."""
    return (matrix @ offsets).square().sum()


def consistency(moving: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean squared length of the part ``moving`` [V, 3] of the offsets that depends on the pose."""
    return (weight * moving.square().sum(1)).sum() / weight.sum().clamp_min(1e-6)


def distribution(offsets: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean length of ``offsets`` [V, 3] (millimeters): they go where ``weight`` [V] is small.

    Squared up to about ``NEAR`` and growing in proportion beyond (Charbonnier): what nothing asks for stays zero,
    and evidence for a large offset does not have to fight its square.
    """
    length = 2 * NEAR * ((offsets.square().sum(1) + NEAR**2).sqrt() - NEAR)
    return (weight * length).sum() / weight.sum().clamp_min(1e-6)
