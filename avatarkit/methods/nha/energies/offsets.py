"""E_reg,offset: smooth offsets, the same in every pose, small where the tracker knows better."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def umbrella(triangles: NDArray[np.integer], count: int) -> Tensor:
    """[count, count] sparse: a value minus the mean of its neighbors' (uniform Laplacian)."""
    ends = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    ends = np.unique(np.concatenate([ends, ends[:, ::-1]]), axis=0).astype(np.int64)
    degree = np.bincount(ends[:, 0], minlength=count)
    own = np.flatnonzero(degree)
    rows = np.concatenate([own, ends[:, 0]])
    columns = np.concatenate([own, ends[:, 1]])
    values = np.concatenate([np.ones(len(own)), -1.0 / degree[ends[:, 0]]])
    matrix = torch.sparse_coo_tensor(
        torch.from_numpy(np.stack([rows, columns])),
        torch.from_numpy(values.astype(np.float32)),
        (count, count),
        check_invariants=False,
    )
    return matrix.coalesce()


def laplacian(offsets: Tensor, matrix: Tensor) -> Tensor:
    """Mean squared length of the Laplacian (``umbrella``) of ``offsets`` [V, 3]."""
    return (matrix @ offsets).square().sum(1).mean()


def consistency(moving: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean squared length of the part ``moving`` [V, 3] of the offsets that depends on the pose."""
    return (weight * moving.square().sum(1)).sum() / weight.sum().clamp_min(1e-6)


def distribution(offsets: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean squared length of ``offsets`` [V, 3]: offsets go where ``weight`` [V] is small."""
    return (weight * offsets.square().sum(1)).sum() / weight.sum().clamp_min(1e-6)
