"""Twin of the truncation of rays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from avatarkit.ops.reference.field import density_mlp, hash_encode

if TYPE_CHECKING:
    from avatarkit.ops.encode import HashGrid
    from avatarkit.ops.mlp import FieldWeights


def truncate(
    points: Tensor,
    ray_offsets: Tensor,
    tables: Tensor,
    image_offsets: Tensor,
    grid: HashGrid,
    weights: FieldWeights,
    step: float,
    minimum_transmittance: float,
) -> Tensor:
    """See ``avatarkit.ops.truncate.truncate``: kept [R] int64 samples of each ray."""
    optical = density_mlp(hash_encode(points, tables, image_offsets, grid), weights) * step
    counts = ray_offsets.diff()
    ray = torch.repeat_interleave(torch.arange(len(counts)), counts)
    before = torch.cumsum(optical.double(), 0) - optical
    first = before[ray_offsets[:-1].clamp(max=max(len(points) - 1, 0))] if len(points) else before
    alive = torch.exp(first[ray] - before) >= minimum_transmittance if len(points) else before.bool()
    return torch.zeros(len(counts), dtype=torch.int64).index_add(0, ray, alive.long())
