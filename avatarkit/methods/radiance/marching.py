"""Fields that are marched at even steps through cells that may hold something."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from avatarkit.methods.radiance.model import Seen
from avatarkit.methods.radiance.occupancy import CELLS, Occupancy
from avatarkit.ops.composite import composite
from avatarkit.ops.march import Samples, march
from avatarkit.ops.occupancy import pack
from avatarkit.rendering.volume import Volume

# No ray is followed further than where this much light is left.
FAINT = 1e-3
# Fog is smooth and many steps deep: coarse steps do for it while everything is looked at.
FOG_STRIDE = 3
MAX_SAMPLES = 2048


def render_marched(
    field: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    density: Callable[[Tensor], Tensor],
    origins: Tensor,
    directions: Tensor,
    occupancy: Occupancy | None,
    step: float,
    generator: torch.Generator | None,
    everywhere: bool,
) -> Seen:
    """Rays [R, 3] of one image.

    Args:
        field: (points [N, 3], their rays [N]) -> density [N], rgb [N, 3].
        density: the same without colors: a look without gradients, which leaves out what is behind a surface.
        origins, directions: [R, 3] in the unit cube.
        occupancy: the cells to look into; None for all.
        step: between samples, in sides of the cube.
        generator: of training, which shifts every ray's samples by a fraction of a step; None renders.
        everywhere: also cells that were found empty.
    """
    if occupancy is None:
        cells = torch.ones(CELLS**3)
    else:
        cells = (occupancy.allowed if everywhere else occupancy.bits).float()
    seed = None if generator is None else int(torch.randint(2**31, (1,), generator=generator))
    samples = march(origins, directions, pack(cells, 0.5), step, MAX_SAMPLES, seed)
    samples = _lit(samples, density, step)
    ray = torch.repeat_interleave(torch.arange(len(origins)), samples.ray_offsets.diff())
    found, rgb = field(samples.points, ray)
    seen = composite(
        found, rgb, samples.t, samples.ray_offsets, step,
        minimum_transmittance=FAINT, distortion=generator is not None,
    )  # fmt: skip
    volume = Volume(seen.color, seen.alpha, seen.depth, seen.weights)
    if generator is None:
        return Seen(volume, None, len(found))
    return Seen(volume, None, len(found), samples.points, found.detach(), seen.distortion)


def _lit(samples: Samples, density: Callable[[Tensor], Tensor], step: float) -> Samples:
    """The samples that light still comes from, as the field is now."""
    with torch.no_grad():
        thickness = (density(samples.points) * step).double().cumsum(0)
        before = torch.cat([thickness.new_zeros(1), thickness])
        counts = samples.ray_offsets.diff()
        start = torch.repeat_interleave(before[samples.ray_offsets[:-1]], counts)
        keep = torch.exp(start - before[:-1]) > FAINT
        kept = torch.cat([torch.zeros(1, dtype=torch.int64), keep.long().cumsum(0)])
        return Samples(kept[samples.ray_offsets], samples.points[keep], samples.t[keep])
