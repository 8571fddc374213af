"""Twins of the field: hash encoding, spherical harmonics and the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from avatarkit.ops.encode import HashGrid
    from avatarkit.ops.mlp import FieldWeights

# Spatial hash of Teschner et al. 2003, as in Instant-NGP.
PRIMES = (1, 2654435761, 805459861)
# Beyond this the density is opaque at any step; the bound keeps exp and its gradient finite.
MAX_LOG_DENSITY = 15.0


def hash_encode(points: Tensor, tables: Tensor, image_offsets: Tensor, grid: HashGrid) -> Tensor:
    """See ``avatarkit.ops.encode.hash_encode``."""
    images, total = tables.shape[0], points.shape[0]
    counts = image_offsets.diff().to(points.device)
    image = torch.repeat_interleave(torch.arange(images, device=points.device), counts, output_size=total)
    rows = tables.reshape(-1, grid.features)
    first = image * (grid.size // grid.features)
    inside = points.clamp(0.0, 1.0)
    levels = []
    for level, cells in enumerate(grid.resolutions):
        scaled = inside * cells
        cell = scaled.detach().floor().clamp(max=cells - 1)
        fraction, corner = scaled - cell, cell.long()
        begin = first + grid.offsets[level] // grid.features
        value = torch.zeros(total, grid.features, dtype=tables.dtype, device=tables.device)
        for bits in range(8):
            step = [(bits >> axis) & 1 for axis in range(3)]
            x, y, z = (corner[:, axis] + step[axis] for axis in range(3))
            if grid.dense[level]:
                index = x + (cells + 1) * (y + (cells + 1) * z)
            else:
                index = (x ^ (y * PRIMES[1]) ^ (z * PRIMES[2])) & (2**grid.log2_size - 1)
            weight = torch.ones_like(fraction[:, 0])
            for axis in range(3):
                weight = weight * (fraction[:, axis] if step[axis] else 1.0 - fraction[:, axis])
            value = value + weight[:, None] * rows.index_select(0, begin + index)
        levels.append(value)
    return torch.stack(levels)


def spherical_harmonics(directions: Tensor) -> Tensor:
    """See ``avatarkit.ops.sh.spherical_harmonics``."""
    x, y, z = directions.unbind(-1)
    xx, yy, zz, xy, yz, xz = x * x, y * y, z * z, x * y, y * z, x * z
    return torch.stack(
        [
            torch.full_like(x, 0.28209479177387814),
            -0.48860251190291987 * y,
            0.48860251190291987 * z,
            -0.48860251190291987 * x,
            1.0925484305920792 * xy,
            -1.0925484305920792 * yz,
            0.94617469575755997 * zz - 0.31539156525251999,
            -1.0925484305920792 * xz,
            0.54627421529603959 * (xx - yy),
            0.59004358992664352 * y * (yy - 3.0 * xx),
            2.8906114426405538 * xy * z,
            0.45704579946446572 * y * (1.0 - 5.0 * zz),
            0.3731763325901154 * z * (5.0 * zz - 3.0),
            0.45704579946446572 * x * (1.0 - 5.0 * zz),
            1.4453057213202769 * z * (xx - yy),
            0.59004358992664352 * x * (3.0 * yy - xx),
        ],
        -1,
    )


class _TruncatedExp(torch.autograd.Function):
    """exp(min(x, 15)) whose gradient is the value itself, so that it does not vanish beyond the bound."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, logarithm: Tensor) -> Tensor:
        value = logarithm.clamp(max=MAX_LOG_DENSITY).exp()
        ctx.save_for_backward(value)
        return value

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> Tensor:
        (value,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return gradients[0] * value


def _samples(features: Tensor) -> Tensor:
    """[N, levels * features] of level-major ``features`` [levels, N, features]."""
    return features.permute(1, 0, 2).flatten(1)


def field_mlp(
    features: Tensor, harmonics: Tensor, ray_offsets: Tensor, weights: FieldWeights
) -> tuple[Tensor, Tensor]:
    """See ``avatarkit.ops.mlp.field_mlp``."""
    total = features.shape[1]
    geometry = torch.relu(_samples(features) @ weights.density0) @ weights.density1
    density = _TruncatedExp.apply(geometry[:, 0])
    counts = ray_offsets.diff().to(features.device)
    view = torch.repeat_interleave(harmonics, counts, dim=0, output_size=total)
    hidden = torch.relu(torch.cat([geometry, view], 1) @ weights.color0)
    return density, torch.sigmoid(hidden @ weights.color1)


def density_mlp(features: Tensor, weights: FieldWeights) -> Tensor:
    """See ``avatarkit.ops.mlp.density_mlp``."""
    hidden = torch.relu(_samples(features) @ weights.density0)
    density: Tensor = _TruncatedExp.apply(hidden @ weights.density1[:, 0])
    return density
