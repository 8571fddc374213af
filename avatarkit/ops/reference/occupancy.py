"""Twins of the occupancy grid's bit operations."""

from __future__ import annotations

import torch
from torch import Tensor


def pack(values: Tensor, threshold: float) -> Tensor:
    """See ``avatarkit.ops.occupancy.pack``."""
    bits = (values.reshape(-1, 8) > threshold).to(torch.uint8)
    return (bits << torch.arange(8, dtype=torch.uint8, device=bits.device)).sum(1, dtype=torch.uint8)


def unpack(bitfield: Tensor) -> Tensor:
    """See ``avatarkit.ops.occupancy.unpack``."""
    places = torch.arange(8, dtype=torch.uint8, device=bitfield.device)
    return ((bitfield[:, None] >> places) & 1).bool().reshape(-1)


def dilate(bitfield: Tensor, cells: int) -> Tensor:
    """See ``avatarkit.ops.occupancy.dilate``."""
    grid = unpack(bitfield).reshape(1, 1, cells, cells, cells).float()
    for kernel in ((3, 1, 1), (1, 3, 1), (1, 1, 3)):
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        grid = torch.nn.functional.max_pool3d(grid, kernel, stride=1, padding=padding)
    return pack(grid.reshape(-1), 0.5)


def point_cells(points: Tensor, cells: int) -> Tensor:
    """See ``avatarkit.ops.occupancy.point_cells``."""
    x, y, z = (points * cells).long().clamp(0, cells - 1).unbind(1)
    return x + cells * (y + cells * z)


def raise_at_points(values: Tensor, points: Tensor, weights: Tensor, cells: int, least: float) -> None:
    """See ``avatarkit.ops.occupancy.raise_at_points``."""
    seen = weights > least
    values.scatter_reduce_(0, point_cells(points[seen], cells), weights[seen], "amax", include_self=True)
