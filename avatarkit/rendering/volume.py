"""Volume rendering of a fixed number of samples a ray, and where along a ray the samples lie.

For samples that are as many on every ray, some of them perhaps switched off. Rays of a dense field that is marched
step by step have kernels of their own in :mod:`avatarkit.ops.march` and :mod:`avatarkit.ops.composite`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Volume(NamedTuple):
    """What rays see, over black: add (1 - alpha) * background."""

    color: Tensor  # [R, 3]
    alpha: Tensor  # [R]
    depth: Tensor  # [R] sum of weight * t
    weights: Tensor  # [R, S] each sample's share of its ray


def render_volume(density: Tensor, rgb: Tensor, t: Tensor, far: Tensor) -> Volume:
    """Quadrature along rays: C = sum_k T_k (1 - exp(-sigma_k delta_k)) c_k, T_k = exp(-sum_{j<k} sigma_j delta_j).

    Args:
        density: [R, S] per unit length.
        rgb: [R, S, 3].
        t: [R, S] distances, rising along each ray; delta_k = t_{k+1} - t_k.
        far: [R] where the last sample's interval ends.

    Source: Max 1995; Mildenhall et al. 2020, eq. 3; MA-NeRF (seed 000), eq. 2.
    """
    delta = torch.diff(t, dim=1, append=far[:, None]).clamp(min=0)
    thickness = density * delta
    # The sum before each sample: what it is seen through.
    through = torch.exp(-(thickness.cumsum(1) - thickness))
    weights = -torch.expm1(-thickness) * through
    return Volume((weights[..., None] * rgb).sum(1), weights.sum(1), (weights * t).sum(1), weights)


def box_span(origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """near, far [R] between which rays [R, 3] are inside the unit cube; far = near for those that miss it."""
    slope = torch.where(directions.abs() < 1e-9, torch.full_like(directions, 1e-9), directions)
    a, b = -origins / slope, (1 - origins) / slope
    near = torch.minimum(a, b).amax(1).clamp(min=0)
    return near, torch.maximum(torch.maximum(a, b).amin(1), near)


def stratified(near: Tensor, far: Tensor, count: int, generator: torch.Generator | None = None) -> Tensor:
    """[R, count] distances, one in each of ``count`` equal parts of [near, far]: its middle, or drawn inside it.

    Source: Mildenhall et al. 2020, eq. 2.
    """
    parts = torch.arange(count, dtype=near.dtype, device=near.device)
    if generator is None:
        place = (parts + 0.5).expand(len(near), count)
    else:
        place = parts + torch.rand(len(near), count, generator=generator, dtype=near.dtype)
    return near[:, None] + (far - near)[:, None] * place / count


def importance(
    t: Tensor,
    weights: Tensor,
    near: Tensor,
    far: Tensor,
    count: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """[R, count] distances, rising, drawn from the piecewise constant density that ``weights`` tell of.

    Args:
        t: [R, S] where the weights were found; a weight stands for the interval between the midpoints to its
            neighbors (the first from ``near``, the last to ``far``).
        weights: [R, S], not negative. No gradient flows through them. Rays without weight are sampled evenly.
        count: samples wanted.
        generator: draws within each of ``count`` equal parts of the distribution; None takes their middles.

    Source: Mildenhall et al. 2020, section 5.2 (inverse transform sampling).
    """
    weights = weights.detach() + 1e-5 / t.shape[1]
    middle = (t[:, 1:] + t[:, :-1]) / 2
    edges = torch.cat([near[:, None], middle, far[:, None]], 1)
    cumulative = torch.cat([torch.zeros_like(near[:, None]), weights.cumsum(1)], 1)
    cumulative = cumulative / cumulative[:, -1:]
    zeros, ones = torch.zeros_like(near), torch.ones_like(near)
    wanted = stratified(zeros, ones, count, generator)
    upper = torch.searchsorted(cumulative, wanted.contiguous(), right=True).clamp(1, t.shape[1])
    low, high = cumulative.gather(1, upper - 1), cumulative.gather(1, upper)
    start, end = edges.gather(1, upper - 1), edges.gather(1, upper)
    share = ((wanted - low) / (high - low).clamp(min=1e-9)).clamp(0, 1)
    return start + share * (end - start)
