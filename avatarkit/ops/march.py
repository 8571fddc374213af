"""Uniform ray marching through the occupied cells of the unit cube."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from avatarkit.ops import reference
from avatarkit.ops.checks import native_for, plain, shaped


class Samples(NamedTuple):
    """Samples of rays, those of one ray together, near to far."""

    ray_offsets: Tensor  # [R + 1] int64: samples ray_offsets[r] to ray_offsets[r + 1] lie on ray r
    points: Tensor  # [N, 3] float32 in the unit cube
    t: Tensor  # [N] float32: distance from the ray's origin


def march(
    origins: Tensor,
    directions: Tensor,
    bitfield: Tensor,
    step: float,
    max_samples: int = 1024,
    seed: int | None = None,
) -> Samples:
    """Samples of rays at uniform steps wherever the occupancy grid is set. Not differentiable.

    Args:
        origins: [R, 3] in the space where the field's box is the unit cube.
        directions: [R, 3] unit vectors.
        bitfield: [G^3 / 8] uint8 of ``occupancy.pack``: cell i (x fastest) is bit i % 8 of byte i / 8.
        step: distance between samples.
        max_samples: at most so many samples a ray, the nearest.
        seed: shifts every ray's samples by a fraction of a step, a hash of seed and ray number; without a seed
            they lie in the middle of their steps.

    Sample i of a ray lies at t = near + (i + shift) * step, with near where the ray enters the cube (or 0).
    """
    origins = shaped("origins", origins, None, 3)
    directions = shaped("directions", directions, origins.shape[0], 3)
    cells = grid_cells(bitfield)
    if not step > 0.0:
        raise ValueError(f"step must be positive, not {step}")
    native = native_for(origins, directions)
    with torch.no_grad():
        if native is None:
            return Samples(*reference.march(origins, directions, bitfield, step, max_samples, seed))
        shift = -1 if seed is None else seed & 0xFFFFFFFF
        rays = (plain(origins), plain(directions), bitfield.contiguous(), cells, step, max_samples, shift)
        ray_offsets = torch.empty(origins.shape[0] + 1, dtype=torch.int64)
        lengths = native.MarchedLengths()
        total = native.march_count(*rays, ray_offsets, lengths)
        points, t = torch.empty(total, 3), torch.empty(total)
        native.march_fill(*rays, ray_offsets, lengths, points, t)
        return Samples(ray_offsets, points, t)


def grid_cells(bitfield: Tensor) -> int:
    """Cells a side of a packed grid; ValueError when it is none."""
    if bitfield.dtype != torch.uint8 or bitfield.dim() != 1:
        raise ValueError("bitfield must be a 1-D uint8 tensor")
    return cube_cells(bitfield.numel() * 8)


def cube_cells(count: int) -> int:
    """Cells a side of a cube of ``count`` cells; ValueError when it is none."""
    cells: int = round(count ** (1 / 3))
    if cells < 2 or cells**3 != count:
        raise ValueError(f"a grid of {count} cells is not a cube")
    return cells
