"""Twins of marching, compositing and whole-image rendering."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from avatarkit.ops.reference.field import field_mlp, hash_encode, spherical_harmonics
from avatarkit.ops.reference.warp import warp_points

if TYPE_CHECKING:
    from avatarkit.ops.encode import HashGrid
    from avatarkit.ops.mlp import FieldWeights
    from avatarkit.ops.warp import Warp


# A little over the diagonal of the unit cube.
DIAGONAL = 1.7321


def hashed(value: Tensor) -> Tensor:
    """A well-mixed 32-bit hash of int64 values below 2^32 (Wellons, "lowbias32", 2018)."""
    mask = 0xFFFFFFFF
    value = value ^ (value >> 16)
    value = (value * 0x7FEB352D) & mask
    value = value ^ (value >> 15)
    value = (value * 0x846CA68B) & mask
    return value ^ (value >> 16)


def jitter(count: int, seed: int | None) -> Tensor:
    """[count] float32 in [0, 1): the shift of every ray's samples, in steps; one half without a seed."""
    if seed is None:
        return torch.full((count,), 0.5)
    start = hashed(torch.tensor(seed & 0xFFFFFFFF))
    return (hashed(torch.arange(count) ^ start) >> 8).float() * 2.0**-24


def march(
    origins: Tensor, directions: Tensor, bitfield: Tensor, step: float, max_samples: int, seed: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """See ``avatarkit.ops.march.march``: ray_offsets [R + 1], points [N, 3], t [N]."""
    rays, device = origins.shape[0], origins.device
    cells = round((bitfield.numel() * 8) ** (1 / 3))
    tiny = torch.where(directions < 0, -1e-9, 1e-9).to(directions.dtype)
    inverse = 1.0 / torch.where(directions.abs() < 1e-9, tiny, directions)
    low, high = (0.0 - origins) * inverse, (1.0 - origins) * inverse
    near = torch.minimum(low, high).amax(-1).clamp(min=0.0)
    far = torch.maximum(low, high).amin(-1)
    # Directions that are no unit vectors must not make endless rays, nor numbers that are none.
    far = torch.minimum(far, near + DIAGONAL)
    finite = (origins + directions).isfinite().all(-1)
    near, far = near.where(finite, 0.0), far.where(finite, -1.0)
    longest = float((far - near).amax()) if rays else 0.0
    steps = max(math.ceil(longest / step), 0)
    count = torch.arange(steps, device=device, dtype=origins.dtype)
    t = near[:, None] + (count[None] + jitter(rays, seed).to(near)[:, None]) * step
    points = origins[:, None] + t[..., None] * directions[:, None]
    cell = (points.nan_to_num() * cells).floor().clamp(0, cells - 1).long()
    index = cell[..., 0] + cells * (cell[..., 1] + cells * cell[..., 2])
    occupied = (bitfield.long()[index >> 3] >> (index & 7)) & 1
    keep = (occupied == 1) & (t < far[:, None])
    keep &= keep.cumsum(1) <= max_samples
    ray_offsets = torch.zeros(rays + 1, dtype=torch.int64)
    ray_offsets[1:] = keep.sum(1).cumsum(0)
    return ray_offsets, points[keep].clamp(0.0, 1.0), t[keep]


def composite(
    density: Tensor,
    rgb: Tensor,
    t: Tensor,
    ray_offsets: Tensor,
    step: float,
    minimum_transmittance: float,
    distortion: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See ``avatarkit.ops.composite.composite``: color, alpha, depth, weights, distortion."""
    rays, total = ray_offsets.numel() - 1, density.shape[0]
    counts = ray_offsets.diff().to(density.device)
    longest = int(counts.max()) if rays else 0
    ray = torch.repeat_interleave(torch.arange(rays, device=density.device), counts, output_size=total)
    place = torch.arange(total, device=density.device) - ray_offsets.to(density.device)[ray]

    def padded(values: Tensor) -> Tensor:
        """[R, longest, ...] of per-sample values, zero beyond a ray's end."""
        return values.new_zeros(rays, longest, *values.shape[1:]).index_put((ray, place), values)

    optical = padded(density * step)
    before = torch.cumsum(optical, 1) - optical
    transmittance = torch.exp(-before)
    # A ray ends where its transmittance has fallen below the bound: later samples neither count nor learn.
    alive = transmittance >= minimum_transmittance
    weight = torch.where(alive, transmittance * -torch.expm1(-optical), torch.zeros_like(optical))
    distance = padded(t)
    color = (weight[..., None] * padded(rgb)).sum(1)
    alpha, depth = weight.sum(1), (weight * distance).sum(1)
    spread = density.new_zeros(rays)
    if distortion:
        within, reach = weight.cumsum(1) - weight, (weight * distance).cumsum(1) - weight * distance
        spread = (2.0 * weight * (distance * within - reach) + weight * weight * (step / 3.0)).sum(1)
    return color, alpha, depth, weight[ray, place].detach(), spread


def render_rays(
    origins: Tensor,
    directions: Tensor,
    bitfield: Tensor,
    table: Tensor,
    grid: HashGrid,
    weights: FieldWeights,
    step: float,
    max_samples: int,
    minimum_transmittance: float,
    warp: Warp | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """See ``avatarkit.ops.render.render_rays``: color [R, 3], alpha [R], depth [R]."""
    colors, alphas, depths = [], [], []
    # A few thousand rays at a time bound the memory.
    for origin, direction in zip(origins.split(4096), directions.split(4096), strict=True):
        ray_offsets, points, t = march(origin, direction, bitfield, step, max_samples, None)
        image_offsets = torch.tensor([0, points.shape[0]])
        if warp is not None:
            low = torch.tensor(warp.grid.low, dtype=points.dtype)
            points = warp_points(points, warp.volumes, image_offsets, low, warp.grid.spacing)
        features = hash_encode(points, table[None], image_offsets, grid)
        density, rgb = field_mlp(features, spherical_harmonics(direction), ray_offsets, weights)
        color, alpha, depth, _, _ = composite(
            density, rgb, t, ray_offsets, step, minimum_transmittance, distortion=False
        )
        colors.append(color)
        alphas.append(alpha)
        depths.append(depth)
    if not colors:
        return origins.new_zeros(0, 3), origins.new_zeros(0), origins.new_zeros(0)
    return torch.cat(colors), torch.cat(alphas), torch.cat(depths)
