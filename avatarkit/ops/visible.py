"""The samples of rays that anything is seen of: marching that ends where nothing more passes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from avatarkit.ops import reference
from avatarkit.ops.checks import native_for, offsets, plain, shaped
from avatarkit.ops.encode import HashGrid
from avatarkit.ops.march import Samples, grid_cells
from avatarkit.ops.mlp import FieldWeights
from avatarkit.ops.warp import Warp


class Visible(NamedTuple):
    """Samples, and what was worked out about them on the way."""

    samples: Samples
    origins: Tensor  # [N, 3] where the field was asked: the samples' points, taken back through the warp
    features: Tensor  # [levels, N, F] of ``hash_encode`` there, without gradients


def visible_samples(
    origins: Tensor,
    directions: Tensor,
    image_rays: Tensor,
    bitfield: Tensor,
    tables: Tensor,
    grid: HashGrid,
    weights: FieldWeights,
    *,
    step: float,
    max_samples: int = 1024,
    seed: int | None = None,
    minimum_transmittance: float = 1e-4,
    warp: Warp | None = None,
) -> Visible:
    """The samples of ``march`` in front of the point where less than ``minimum_transmittance`` passes.

    ``composite`` gives what lies behind neither weight nor gradient, so a step on these samples computes the same,
    without encoding, coloring and differentiating the others. Densities are evaluated front to back, a few samples of
    every ray at a time, so that most of what is hidden is not even marched to. Not differentiable.

    Args:
        origins, directions, bitfield, step, max_samples, seed: as in ``march``, those of one image together.
        image_rays: [B + 1] int64; rays ``image_rays[b]`` to ``image_rays[b + 1]`` see table b.
        tables, grid, weights: [B, M] and the field's, as in ``hash_encode`` and ``field_mlp``.
        warp: B volumes that points are taken back through before the field is asked.
    """
    origins = shaped("origins", origins, None, 3)
    directions = shaped("directions", directions, origins.shape[0], 3)
    tables = shaped("tables", tables, None, grid.size)
    image_rays = offsets("image_rays", image_rays, origins.shape[0])
    images = tables.shape[0]
    if image_rays.numel() != images + 1:
        raise ValueError(f"{images} tables need {images + 1} image_rays")
    if warp is not None:
        shaped("volumes", warp.volumes, images, *reversed(warp.grid.nodes), 4)
    cells, weights = grid_cells(bitfield), weights.checked()
    if not step > 0.0:
        raise ValueError(f"step must be positive, not {step}")
    native = native_for(origins, directions, tables, *weights)
    with torch.no_grad():
        if native is None or not weights.suits(grid):
            parts = reference.visible_samples(
                origins, directions, image_rays, bitfield, tables, grid, weights,
                step, max_samples, seed, minimum_transmittance, warp,
            )  # fmt: skip
            return Visible(Samples(*parts[:3]), *parts[3:])
        rays = plain(origins), plain(directions)
        shift = -1 if seed is None else seed & 0xFFFFFFFF
        volumes = torch.empty(0) if warp is None else plain(warp.volumes)
        place = (0.0, 0.0, 0.0, 1.0) if warp is None else (*warp.grid.low, warp.grid.spacing)
        ray_offsets = torch.empty(origins.shape[0] + 1, dtype=torch.int64)
        found = native.VisibleSamples()
        total = native.find_visible(
            *rays, bitfield.contiguous(), cells, step, max_samples, shift, image_rays, volumes, *place,
            minimum_transmittance, plain(tables), grid.layout, grid.log2_size,
            plain(weights.density0), plain(weights.density1), ray_offsets, found,
        )  # fmt: skip
        points, t, asked = torch.empty(total, 3), torch.empty(total), torch.empty(total, 3)
        features = torch.empty(grid.levels, total, grid.features)
        native.fill_visible(*rays, ray_offsets, found, points, t, asked, features)
        return Visible(Samples(ray_offsets, points, t), asked, features)
