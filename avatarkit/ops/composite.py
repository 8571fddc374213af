"""Volume rendering of samples along rays."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from avatarkit.ops import reference
from avatarkit.ops.checks import native_for, offsets, plain, shaped


class Composite(NamedTuple):
    """What rays see, over black: add (1 - alpha) * background."""

    color: Tensor  # [R, 3]
    alpha: Tensor  # [R]
    depth: Tensor  # [R] sum of weight * t, not divided by alpha
    weights: Tensor  # [N] each sample's share of its ray, without gradient
    distortion: Tensor  # [R] zero unless asked for


def composite(
    density: Tensor,
    rgb: Tensor,
    t: Tensor,
    ray_offsets: Tensor,
    step: float,
    *,
    minimum_transmittance: float = 1e-4,
    distortion: bool = False,
) -> Composite:
    """Composites samples front to back.

    Args:
        density: [N] per unit length.
        rgb: [N, 3].
        t: [N] distances along the rays, rising within each; no gradient flows to them.
        ray_offsets: [R + 1] int64; samples ``ray_offsets[r]`` to ``ray_offsets[r + 1]`` lie on ray r.
        step: length that each sample stands for.
        minimum_transmittance: samples behind a transmittance below this get weight and gradient zero.
        distortion: also compute sum_ij w_i w_j |t_i - t_j| + step / 3 sum_i w_i^2 (Barron et al. 2022, eq. 15).

    Gradients flow to ``density`` and ``rgb`` from color, alpha, depth and distortion.

    Source: Max, "Optical Models for Direct Volume Rendering", 1995; Mildenhall et al. 2020, eq. 3.
    """
    density = shaped("density", density, None)
    total = density.shape[0]
    rgb, t = shaped("rgb", rgb, total, 3), shaped("t", t, total)
    ray_offsets = offsets("ray_offsets", ray_offsets, total)
    if native_for(density, rgb, t) is None:
        return Composite(
            *reference.composite(density, rgb, t, ray_offsets, step, minimum_transmittance, distortion)
        )
    return Composite(*_Composite.apply(density, rgb, t, ray_offsets, step, minimum_transmittance, distortion))


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        density: Tensor,
        rgb: Tensor,
        t: Tensor,
        ray_offsets: Tensor,
        step: float,
        minimum: float,
        distortion: bool,
    ) -> tuple[Tensor, ...]:
        native = native_for(density)
        assert native is not None
        rays = ray_offsets.numel() - 1
        color, alpha, depth = torch.empty(rays, 3), torch.empty(rays), torch.empty(rays)
        weights, spread = torch.empty_like(density), torch.zeros(rays)
        samples = (plain(density), plain(rgb), plain(t), ray_offsets)
        native.composite(*samples, step, minimum, distortion, color, alpha, depth, weights, spread)
        ctx.save_for_backward(density, rgb, t, ray_offsets, weights)
        ctx.options = (step, minimum, distortion)  # type: ignore[attr-defined]
        ctx.mark_non_differentiable(weights)  # type: ignore[attr-defined]
        return color, alpha, depth, weights, spread

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        density, rgb, t, ray_offsets, weights = ctx.saved_tensors  # type: ignore[attr-defined]
        native = native_for(density)
        assert native is not None
        to_density, to_rgb = torch.empty_like(density), torch.empty_like(rgb)
        color, alpha, depth, _, spread = (plain(gradient) for gradient in gradients)
        samples = (plain(density), plain(rgb), plain(t), ray_offsets, weights)
        step, minimum, distortion = ctx.options  # type: ignore[attr-defined]
        native.composite_backward(
            *samples, step, minimum, distortion, color, alpha, depth, spread, to_density, to_rgb
        )
        return to_density, to_rgb, None, None, None, None, None
