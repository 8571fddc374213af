"""Cutting rays off where nothing more is seen, before the costly part of a training step."""

from __future__ import annotations

import torch
from torch import Tensor

from avatarkit.ops import reference
from avatarkit.ops.checks import native_for, offsets, plain, shaped
from avatarkit.ops.encode import HashGrid
from avatarkit.ops.march import Samples
from avatarkit.ops.mlp import FieldWeights


def truncate(
    samples: Samples,
    tables: Tensor,
    image_offsets: Tensor,
    grid: HashGrid,
    weights: FieldWeights,
    step: float,
    minimum_transmittance: float = 1e-4,
    canonical: Tensor | None = None,
) -> Samples:
    """The samples in front of the point where less than ``minimum_transmittance`` passes. Not differentiable.

    ``composite`` gives what lies behind neither weight nor gradient, so a step on the remaining samples computes the
    same, without encoding, coloring and differentiating the others. Densities are evaluated front to back, a few
    samples of every ray at a time; the cost is about a third of the forward pass on the samples that are kept.

    Args:
        samples: of ``march``.
        tables, image_offsets, grid, weights: as in ``hash_encode`` and ``field_mlp``; every image's samples begin with
            a ray.
        step: length that each sample stands for.
        canonical: [N, 3] where the field is asked, when that is not at the samples' own points.
    """
    points = shaped("points", samples.points, None, 3)
    tables = shaped("tables", tables, None, grid.size)
    ray_offsets = offsets("ray_offsets", samples.ray_offsets, points.shape[0])
    image_offsets = offsets("image_offsets", image_offsets, points.shape[0])
    if image_offsets.numel() != tables.shape[0] + 1:
        raise ValueError(f"{tables.shape[0]} tables need {tables.shape[0] + 1} image_offsets")
    if not bool(torch.isin(image_offsets, ray_offsets).all()):
        raise ValueError("image_offsets must lie at beginnings of rays")
    weights = weights.checked()
    native = native_for(points, tables, *weights)
    points = points if canonical is None else shaped("canonical", canonical, points.shape[0], 3)
    with torch.no_grad():
        if native is None or grid.features != 4 or grid.levels != 16:
            kept = reference.truncate(
                points, ray_offsets, tables, image_offsets, grid, weights, step, minimum_transmittance
            )
        else:
            kept = torch.empty(ray_offsets.numel() - 1, dtype=torch.int64)
            native.truncate_rays(
                plain(points), ray_offsets, plain(tables), image_offsets, grid.layout, grid.log2_size,
                plain(weights.density0), plain(weights.density1), step, minimum_transmittance, kept,
            )  # fmt: skip
        shorter = torch.zeros_like(ray_offsets)
        torch.cumsum(kept, 0, out=shorter[1:])
        places = torch.arange(int(shorter[-1])) + torch.repeat_interleave(
            ray_offsets[:-1] - shorter[:-1], kept
        )
        return Samples(shorter, samples.points[places], samples.t[places])
