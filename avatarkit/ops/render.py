"""Whole images of a radiance field, fused from march to composite. Inference only."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from avatarkit.ops import reference
from avatarkit.ops.checks import native_for, plain, shaped
from avatarkit.ops.encode import HashGrid
from avatarkit.ops.march import grid_cells
from avatarkit.ops.mlp import FieldWeights
from avatarkit.ops.warp import Warp


class Rendered(NamedTuple):
    """What rays see, over black."""

    color: Tensor  # [R, 3]
    alpha: Tensor  # [R]
    depth: Tensor  # [R] sum of weight * t


def render_rays(
    origins: Tensor,
    directions: Tensor,
    bitfield: Tensor,
    table: Tensor,
    grid: HashGrid,
    weights: FieldWeights,
    *,
    step: float,
    max_samples: int = 1024,
    minimum_transmittance: float = 1e-4,
    fast: bool = False,
    warp: Warp | None = None,
) -> Rendered:
    """March, encode, evaluate and composite rays, front to back with early termination.

    Args:
        origins, directions, bitfield, step, max_samples: as in ``march`` without a seed.
        table: [M] the blended table of this image.
        grid, weights: the field.
        minimum_transmittance: a ray ends where less than this passes.
        fast: read the table in half precision, multiply in 16-bit integers where the processor has instructions for
            it (AVX512-VNNI), and give samples that weigh almost nothing the color of the ray's next one. Outputs
            differ by a few thousandths at most.
        warp: one volume, which points are taken back through before the field is asked.

    Neighboring rays should be neighbors in the list: groups of them share a thread's cache. Not differentiable.
    """
    origins = shaped("origins", origins, None, 3)
    directions = shaped("directions", directions, origins.shape[0], 3)
    table = shaped("table", table, grid.size)
    cells, weights = grid_cells(bitfield), weights.checked()
    if not step > 0.0:
        raise ValueError(f"step must be positive, not {step}")
    native = native_for(origins, directions, table, *weights)
    with torch.no_grad():
        if native is None or not weights.suits(grid):
            return Rendered(
                *reference.render_rays(
                    origins,
                    directions,
                    bitfield,
                    table,
                    grid,
                    weights,
                    step,
                    max_samples,
                    minimum_transmittance,
                    warp,
                )
            )
        rays = origins.shape[0]
        color, alpha, depth = torch.empty(rays, 3), torch.empty(rays), torch.empty(rays)
        volume = torch.empty(0) if warp is None else plain(warp.volumes[0])
        place = (0.0, 0.0, 0.0, 1.0) if warp is None else (*warp.grid.low, warp.grid.spacing)
        native.render_rays(
            plain(origins), plain(directions),
            bitfield.contiguous(), cells, plain(table), grid.layout, grid.log2_size,
            *(plain(matrix) for matrix in weights),
            step, max_samples, minimum_transmittance, fast,
            volume, *place, color, alpha, depth,
        )  # fmt: skip
        return Rendered(color, alpha, depth)
