"""The occupancy grid: where in the unit cube the field may hold anything."""

from __future__ import annotations

import torch
from torch import Tensor

from avatarkit.ops import reference
from avatarkit.ops.checks import native_for, offsets, plain, shaped
from avatarkit.ops.encode import HashGrid
from avatarkit.ops.march import cube_cells, grid_cells
from avatarkit.ops.mlp import FieldWeights
from avatarkit.ops.native import module


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
        if native is None or not weights.suits(grid):
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
    return reference.occupancy.point_cells(shaped("points", points, None, 3), cells)


def raise_cells(values: Tensor, indices: Tensor, candidates: Tensor) -> None:
    """values[i] = max(values[i], candidates of i), in place; cells may occur more than once.

    For densities, after a decay of ``values`` (Mueller et al. 2022, appendix C).
    """
    values.scatter_reduce_(0, indices, candidates, "amax", include_self=True)


def raise_at_points(values: Tensor, points: Tensor, weights: Tensor, least: float) -> None:
    """Raises ``values`` [G^3], in place, to the ``weights`` [N] of samples in the cells of ``points`` [N, 3].

    Samples with a weight of at most ``least`` are passed over. For the share that rendered rays gave to a cell, which
    prunes what is dense but hidden.
    """
    points = shaped("points", points, None, 3)
    weights = shaped("weights", weights, points.shape[0])
    cells = cube_cells(values.numel())
    if not values.is_contiguous():
        raise ValueError("values must be contiguous: they are changed in place")
    native = native_for(values, points, weights)
    with torch.no_grad():
        if native is None:
            reference.occupancy.raise_at_points(values, points, weights, cells, least)
        else:
            native.raise_at_points(plain(values), cells, plain(points), plain(weights), least)


def pack(values: Tensor, threshold: float) -> Tensor:
    """[G^3 / 8] uint8 bitfield of the cells of ``values`` [G^3] above ``threshold``."""
    if values.numel() % 8:
        raise ValueError("a grid's cells must be divisible by 8")
    native = native_for(values)
    if native is None:
        return reference.occupancy.pack(values, threshold)
    bits = torch.empty(values.numel() // 8, dtype=torch.uint8)
    native.pack_bits(plain(values).reshape(-1), threshold, bits)
    return bits


def unpack(bitfield: Tensor) -> Tensor:
    """[G^3] bool, the inverse of ``pack``."""
    return reference.occupancy.unpack(bitfield)


def dilate(bitfield: Tensor) -> Tensor:
    """``bitfield`` with all neighbors of occupied cells set too: for poses that training never saw."""
    cells = grid_cells(bitfield)
    native = module() if bitfield.device.type == "cpu" else None
    if native is None or cells % 8:
        return reference.occupancy.dilate(bitfield, cells)
    out = torch.empty_like(bitfield)
    native.dilate_bits(bitfield.contiguous(), cells, out)
    return out
