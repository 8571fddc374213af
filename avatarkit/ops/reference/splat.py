"""Plain-torch twins of the operations in :mod:`avatarkit.ops.splat`: the contract, differentiable by autograd.

They work on any device and floating type; the tests run them in float64 as the truth.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

NEAR = 0.01  # meters; splats nearer to the camera's plane are not drawn
LEAST_ALPHA = 1 / 255  # contributions below are skipped
LARGEST_OPACITY = 0.99  # opacities above count as this much
LEAST_TRANSMITTANCE = 1e-4  # splats behind less than this are skipped
FAINT_TRANSMITTANCE = 1 / 512  # the same for bytes: half a level at most
MARGIN = (
    0.3  # how far beyond the image, in half image sizes, the perspective is linearized at the splat itself
)
TILE = 32


class Projected(NamedTuple):
    """Visible splats in the order of drawing: which of the input, their image and their half-extents in pixels."""

    which: Tensor  # [n] int64
    center: Tensor  # [n, 2] pixels
    conic: Tensor  # [n, 3]: inverse of the image covariance, xx, xy, yy
    opacity: Tensor  # [n], at most LARGEST_OPACITY
    extent: Tensor  # [n, 2] pixels: beyond it every contribution is below LEAST_ALPHA


def project(
    mean: Tensor,
    covariance: Tensor,
    opacity: Tensor,
    intrinsics: Tensor,
    size: tuple[int, int],
    dilation: float,
) -> Projected:
    """EWA projection (Zwicker et al., *EWA Splatting*, 2002), nearest first; arguments as of ``splat``."""
    finite = mean.isfinite().all(1) & covariance.isfinite().all(1) & opacity.isfinite()
    index = torch.nonzero(finite & (mean[:, 2] > NEAR) & (opacity >= LEAST_ALPHA))[:, 0]
    x, y, z = mean[index].unbind(1)
    fx, fy, cx, cy = (float(intrinsics[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2)))
    xx, xy, xz, yy, yz, zz = covariance[index].unbind(1)
    height, width = size
    u, v = x / z, y / z
    border_u, border_v = MARGIN * 0.5 * width / fx, MARGIN * 0.5 * height / fy
    slope_u = u.clamp(-cx / fx - border_u, (width - cx) / fx + border_u)
    slope_v = v.clamp(-cy / fy - border_v, (height - cy) / fy + border_v)
    ax, ay = fx / z, fy / z
    bx, by = -ax * slope_u, -ay * slope_v
    image_xx = ax * ax * xx + 2 * ax * bx * xz + bx * bx * zz + dilation
    image_xy = ax * ay * xy + ax * by * xz + bx * ay * yz + bx * by * zz
    image_yy = ay * ay * yy + 2 * ay * by * yz + by * by * zz + dilation
    area = image_xx * image_yy - image_xy * image_xy
    opacity = opacity[index].clamp(max=LARGEST_OPACITY)
    reach = (2 * (opacity.detach() / LEAST_ALPHA).log()).clamp(min=0)
    extent = torch.stack([image_xx.detach(), image_yy.detach()], 1).clamp(min=0).mul(reach[:, None]).sqrt()
    center = torch.stack([fx * u + cx, fy * v + cy], 1)
    limit = torch.tensor([width, height], dtype=center.dtype, device=center.device)
    seen = ((center + extent > 0) & (center - extent < limit)).all(1) & (image_xx > 0) & (area > 0)
    kept = torch.nonzero(seen)[:, 0]
    kept = kept[torch.sort(z.detach()[kept], stable=True).indices]
    conic = torch.stack([image_yy, -image_xy, image_xx], 1)[kept] / area[kept, None]
    return Projected(index[kept], center[kept], conic, opacity[kept], extent[kept])


def splat(
    mean: Tensor, covariance: Tensor, color: Tensor, opacity: Tensor, intrinsics: Tensor, size: tuple[int, int],
    dilation: float, least: float = LEAST_TRANSMITTANCE,
) -> Tensor:  # fmt: skip
    """Twin of :func:`avatarkit.ops.splat.splat`, tile by tile; behind a transmittance below ``least`` is nothing."""
    height, width = size
    splats = project(mean, covariance, opacity, intrinsics, size, dilation)
    color = color[splats.which]
    rows = []
    for top in range(0, height, TILE):
        row = []
        for left in range(0, width, TILE):
            part = (min(TILE, height - top), min(TILE, width - left))
            row.append(_tile(splats, color, top, left, part, least))
        rows.append(torch.cat(row, 1) if row else mean.new_zeros(min(TILE, height - top), 0, 4))
    return torch.cat(rows) if rows else mean.new_zeros(0, width, 4)


def _tile(
    splats: Projected, color: Tensor, top: int, left: int, size: tuple[int, int], least: float
) -> Tensor:
    height, width = size
    low = torch.tensor([left, top], dtype=color.dtype, device=color.device)
    high = torch.tensor([left + width, top + height], dtype=color.dtype, device=color.device)
    center = splats.center.detach()
    over = torch.nonzero(((center + splats.extent >= low) & (center - splats.extent <= high)).all(1))[:, 0]
    x = torch.arange(left, left + width, dtype=color.dtype, device=color.device) + 0.5
    y = torch.arange(top, top + height, dtype=color.dtype, device=color.device) + 0.5
    dx = x[None, None, :] - splats.center[over, 0, None, None]
    dy = y[None, :, None] - splats.center[over, 1, None, None]
    a, b, c = (splats.conic[over, i, None, None] for i in range(3))
    square = a * dx * dx + 2 * b * dx * dy + c * dy * dy
    alpha = splats.opacity[over, None, None] * torch.exp(-0.5 * square)
    alpha = torch.where(alpha >= LEAST_ALPHA, alpha, 0.0)
    passed = torch.cumprod(1 - alpha, 0)
    before = torch.cat([torch.ones_like(passed[:1]), passed[:-1]]) if len(over) else passed
    weight = torch.where(before >= least, before * alpha, 0.0)
    rgb = torch.einsum("nhw,nc->hwc", weight, color[over])
    return torch.cat([rgb, weight.sum(0)[..., None]], -1)


def compose_u8(image: Tensor, background: Tensor) -> Tensor:
    """[H, W, 3] uint8 of ``splat``'s ``image`` [H, W, 4] over ``background`` [H, W, 3] uint8."""
    value = image[..., :3] * 255 + (1 - image[..., 3:]) * background.to(image.dtype)
    return (value + 0.5).floor().clamp(0, 255).to(torch.uint8)


def blend(base: Tensor, residual: Tensor, coefficients: Tensor, scale: Tensor | None) -> Tensor:
    """Twin of :func:`avatarkit.ops.splat.blend`."""
    shapes = residual.to(base.dtype)
    if scale is not None:
        shapes = shapes * scale[..., None]
    moved = base[: residual.shape[1]] + torch.einsum("k,kcn->cn", coefficients.to(base.dtype), shapes)
    return torch.cat([moved, base[residual.shape[1] :]])
