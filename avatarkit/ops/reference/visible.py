"""Twin of the marching that ends where nothing more passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from avatarkit.ops.reference.field import density_mlp, hash_encode
from avatarkit.ops.reference.rays import march
from avatarkit.ops.reference.warp import warp_points

if TYPE_CHECKING:
    from avatarkit.ops.encode import HashGrid
    from avatarkit.ops.mlp import FieldWeights
    from avatarkit.ops.warp import Warp


def visible_samples(
    origins: Tensor,
    directions: Tensor,
    image_rays: Tensor,
    bitfield: Tensor,
    tables: Tensor,
    grid: HashGrid,
    weights: FieldWeights,
    step: float,
    max_samples: int,
    seed: int | None,
    minimum_transmittance: float,
    warp: Warp | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See ``avatarkit.ops.visible.visible_samples``: ray_offsets, points, t, origins, features."""
    marched, points, t = march(origins, directions, bitfield, step, max_samples, seed)
    asked, image_offsets = points, marched[image_rays]
    if warp is not None:
        low = torch.tensor(warp.grid.low, dtype=points.dtype)
        asked = warp_points(points, warp.volumes, image_offsets, low, warp.grid.spacing)
    features = hash_encode(asked, tables, image_offsets, grid)
    optical = (density_mlp(features, weights) * step).double()
    counts = marched.diff()
    ray = torch.repeat_interleave(torch.arange(len(counts)), counts)
    before = torch.cumsum(optical, 0) - optical
    first = before[marched[:-1].clamp(max=max(len(t) - 1, 0))] if len(t) else before
    alive = torch.exp(first[ray] - before) >= minimum_transmittance
    ray_offsets = torch.zeros_like(marched)
    ray_offsets[1:] = torch.zeros_like(counts).index_add(0, ray, alive.long()).cumsum(0)
    return ray_offsets, points[alive], t[alive], asked[alive], features[:, alive]
