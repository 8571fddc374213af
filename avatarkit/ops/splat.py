"""Gaussian splats: projection and blending of anisotropic Gaussians, and their linear residuals.

The image formation is that of Kerbl et al., *3D Gaussian Splatting for Real-Time Radiance Field Rendering* (2023).
Float32 tensors on the CPU run natively; everything else goes to :mod:`avatarkit.ops.reference.splat`.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from avatarkit.ops.checks import bare, native_for, plain, shaped
from avatarkit.ops.reference import splat as twin


def splat(
    mean: Tensor, covariance: Tensor, color: Tensor, opacity: Tensor, intrinsics: Tensor, size: tuple[int, int],
    dilation: float = 0.3,
) -> Tensor:  # fmt: skip
    """Image of Gaussians in front of nothing: [H, W, 4], color premultiplied by the alpha of the last channel.

    Args:
        mean: [N, 3] centers in camera space (OpenCV), meters.
        covariance: [N, 6] in camera space, square meters: xx, xy, xz, yy, yz, zz.
        color: [N, 3], any range.
        opacity: [N] in (0, 1): alpha at the center. Counts as 0.99 where it is more.
        intrinsics: [3, 3] pinhole without skew, pixels, pixel centers at integer + 0.5.
        size: height, width.
        dilation: added to both variances of the image of a Gaussian, square pixels (0.3 at 256 pixels is usual:
            scale it with the square of the image size).

    Each Gaussian is projected by the perspective's Jacobian at its center (EWA), taken no farther outside the image
    than 0.3 half sizes. Splats are blended front to back by the depth of their centers, of equal ones the first
    first. Skipped are splats nearer than 0.01 m or not finite, contributions of alpha below 1/255, and everything
    behind a transmittance below 1e-4. Differentiable with respect to mean, covariance, color and opacity (not to the
    order, nor to what is skipped). The same bits for the same number of threads. Raises ValueError on shapes that do
    not fit.
    """
    splats = _checked(mean, covariance, color, opacity, intrinsics, size)
    if native_for(*splats) is None:
        return twin.splat(*splats, intrinsics, size, dilation)
    image: Tensor = _Splat.apply(*splats, _pinhole(intrinsics), size, dilation)
    return image


class _Splat(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        splats, (pinhole, size, dilation) = arguments[:4], arguments[4:]
        native = native_for(*splats)
        assert native is not None
        ctx.frame, ctx.camera = native.SplatFrame(), (pinhole, dilation)
        image = torch.empty(*size, 4)
        native.splat_image(ctx.frame, *map(plain, splats), *ctx.camera, image)
        ctx.save_for_backward(*splats, image)
        return image

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        *splats, image = ctx.saved_tensors
        native = native_for(*splats)
        assert native is not None
        out = [torch.empty_like(tensor) for tensor in splats]
        given = (plain(image), plain(gradients[0]))
        native.splat_backward(ctx.frame, *map(plain, splats), *ctx.camera, *given, *out)
        return *out, None, None, None


class _Blend(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, base: Tensor, residual: Tensor, coefficients: Tensor, scale: Tensor | None
    ) -> Tensor:
        native = native_for(base)
        assert native is not None
        ctx.save_for_backward(residual, coefficients)
        ctx.scale = scale
        return _blended(native, base, residual, coefficients, scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        residual, coefficients = ctx.saved_tensors
        gradient, scale = plain(gradients[0]), ctx.scale
        native = native_for(gradient)
        assert native is not None
        to_residual = to_coefficients = None
        if ctx.needs_input_grad[1]:
            weight = coefficients[:, None] if scale is None else coefficients[:, None] * scale
            outer = weight[:, :, None] * gradient[: residual.shape[1]]
            to_residual = outer.to(residual.dtype)
        if ctx.needs_input_grad[2]:
            to_coefficients = torch.empty_like(coefficients)
            native.splat_blend_coefficients(_bits(residual), scale, gradient, to_coefficients)
        return gradient, to_residual, to_coefficients, None


def _blended(
    native: ModuleType, base: Tensor, residual: Tensor, coefficients: Tensor, scale: Tensor | None
) -> Tensor:
    out = torch.empty_like(base)
    weights = None if scale is None else bare(scale)
    native.splat_blend(
        bare(base.contiguous()), bare(_bits(residual)), weights, bare(coefficients.contiguous()), bare(out)
    )
    return out


def _bits(residual: Tensor) -> Tensor:
    """As the native kernels take it: halves as their bits."""
    residual = plain(residual)
    return residual.view(torch.int16) if residual.dtype == torch.float16 else residual


def _pinhole(intrinsics: Tensor) -> tuple[float, float, float, float]:
    """fx, fy, cx, cy."""
    k = intrinsics.detach().tolist()
    return k[0][0], k[1][1], k[0][2], k[1][2]


def blend(base: Tensor, residual: Tensor, coefficients: Tensor, scale: Tensor | None = None) -> Tensor:
    """Channels of N Gaussians moved by linear residuals: base + sum_k coefficients_k residual_k.

    Args:
        base: [C, N] float.
        residual: [K, R, N] with R <= C, for the first R channels: float32, float16, or int8 with ``scale``.
        coefficients: [K]; zero coefficients cost nothing.
        scale: [K, R] worth of one unit of ``residual``, per shape and channel; required for int8.

    Returns:
        [C, N]. Gradients flow to base, to coefficients, and to a floating residual (there the outer product of
        coefficients and gradient; ``anchors.learn`` applies it without forming it).
    """
    base, residual, coefficients, scale = _checked_blend(base, residual, coefficients, scale)
    native = native_for(base, coefficients, *(() if scale is None else (scale,)))
    if native is None or residual.dtype not in (torch.float32, torch.float16, torch.int8):
        return twin.blend(base, residual, coefficients, scale)
    scale = None if scale is None else plain(scale)
    if not torch.is_grad_enabled():
        return _blended(native, base, residual, coefficients, scale)
    result: Tensor = _Blend.apply(base, residual, coefficients, scale)
    return result


def _checked(
    mean: Tensor,
    covariance: Tensor,
    color: Tensor,
    opacity: Tensor,
    intrinsics: Tensor,
    size: tuple[int, int],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    mean = shaped("mean", mean, None, 3)
    covariance = shaped("covariance", covariance, len(mean), 6)
    color = shaped("color", color, len(mean), 3)
    opacity = shaped("opacity", opacity, len(mean))
    shaped("intrinsics", intrinsics, 3, 3)
    if size[0] < 0 or size[1] < 0:
        raise ValueError(f"image size must not be negative: {size[0]} x {size[1]}")
    return mean, covariance, color, opacity


def _checked_blend(
    base: Tensor, residual: Tensor, coefficients: Tensor, scale: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    base = shaped("base", base, None, None)
    coefficients = shaped("coefficients", coefficients, None)
    residual = shaped("residual", residual, len(coefficients), None, base.shape[1])
    if residual.shape[1] > base.shape[0]:
        raise ValueError(f"residual has {residual.shape[1]} channels, the base only {base.shape[0]}")
    if scale is not None:
        scale = shaped("scale", scale, residual.shape[0], residual.shape[1])
    elif not residual.is_floating_point():
        raise ValueError("integer residuals need a scale")
    return base, residual, coefficients, scale
