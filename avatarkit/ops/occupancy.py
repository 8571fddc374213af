"""The occupancy grid: where in the unit cube the field may hold anything."""

from __future__ import annotations

import torch
from torch import Tensor

from avatarkit.ops import reference
from avatarkit.ops.checks import native_for, offsets, plain, shaped
from avatarkit.ops.encode import HashGrid
from avatarkit.ops.march import grid_cells
from avatarkit.ops.mlp import FieldWeights


def density_at(
    points: Tensor, tables: Tensor, image_offsets: Tensor, grid: HashGrid, weights: FieldWeights
) -> Tensor:
    """Density [N] of the field at ``points`` [N, 3], arguments as in ``hash_encode``. Not differentiable.

    Encodes and evaluates the density network alone, a cache-sized group of points at a time.
    """
    points = shaped("points", points, None, 3)
    tables = shaped("tables", tables, None, grid.size)
    image_offsets = offsets("image_offsets", image_offsets, points.shape[0])
    weights = weights.checked()
    native = native_for(points, tables, *weights)
    with torch.no_grad():
        if native is None or grid.features != 4 or grid.levels != 16:
            return reference.density_mlp(reference.hash_encode(points, tables, image_offsets, grid), weights)
        density = torch.empty(points.shape[0])
        native.density_at(
            plain(points), plain(tables), image_offsets, grid.layout, grid.log2_size,
            plain(weights.density0), plain(weights.density1), density,
        )  # fmt: skip
        return density


def cell_points(indices: Tensor, cells: int, generator: torch.Generator | None = None) -> Tensor:
    """Centers [C, 3] of the cells of flat ``indices`` [C] (x fastest); random points inside with a generator."""
    corner = torch.stack([indices % cells, indices // cells % cells, indices // cells**2], 1)
    shift = 0.5 if generator is None else torch.rand(indices.shape[0], 3, generator=generator)
    return (corner + shift).to(torch.float32) / cells


def point_cells(points: Tensor, cells: int) -> Tensor:
    """Flat indices [N] int64 of the cells that ``points`` [N, 3] lie in."""
    x, y, z = (points * cells).long().clamp(0, cells - 1).unbind(1)
    return x + cells * (y + cells * z)


def raise_cells(values: Tensor, indices: Tensor, candidates: Tensor) -> None:
    """values[i] = max(values[i], candidates of i), in place; cells may occur more than once.

    Both rules of the grid use it: densities after a decay of ``values`` (Mueller et al. 2022, appendix C), and the
    samples' rendered weights, which also prune what is hidden.
    """
    values.scatter_reduce_(0, indices, candidates, "amax", include_self=True)


def pack(values: Tensor, threshold: float) -> Tensor:
    """[G^3 / 8] uint8 bitfield of the cells of ``values`` [G^3] above ``threshold``."""
    if values.numel() % 8:
        raise ValueError("a grid's cells must be divisible by 8")
    bits = (values.reshape(-1, 8) > threshold).to(torch.uint8)
    return (bits << torch.arange(8, dtype=torch.uint8)).sum(1, dtype=torch.uint8)


def unpack(bitfield: Tensor) -> Tensor:
    """[G^3] bool, the inverse of ``pack``."""
    return ((bitfield[:, None] >> torch.arange(8, dtype=torch.uint8)) & 1).bool().reshape(-1)


def dilate(bitfield: Tensor) -> Tensor:
    """``bitfield`` with all neighbors of occupied cells set too: for poses that training never saw."""
    cells = grid_cells(bitfield)
    grid = unpack(bitfield).reshape(cells, cells, cells)
    for axis in range(3):
        before, length = grid.clone(), cells - 1
        grid.narrow(axis, 1, length).logical_or_(before.narrow(axis, 0, length))
        grid.narrow(axis, 0, length).logical_or_(before.narrow(axis, 1, length))
    return pack(grid.reshape(-1), 0.5)
