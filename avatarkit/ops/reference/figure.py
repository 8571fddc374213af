"""Plain-torch twin of ``avatarkit.ops.figure``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from avatarkit.ops.reference import anchors, splat

if TYPE_CHECKING:
    from avatarkit.ops.figure import Figure, Pinhole


def image(
    figure: Figure,
    pinhole: Pinhole,
    size: tuple[int, int],
    dilation: float,
    least: float = splat.LEAST_TRANSMITTANCE,
) -> Tensor:
    """Of ``Figure.exposed``."""
    with torch.no_grad():
        return _drawn(figure.gaussians, figure, pinhole, size, dilation, least)[1]


def over(figure: Figure, background: Tensor, pinhole: Pinhole, dilation: float) -> Tensor:
    """Twin of ``Figure.over``."""
    size = (background.shape[0], background.shape[1])
    return splat.compose_u8(image(figure, pinhole, size, dilation, splat.FAINT_TRANSMITTANCE), background)


def gradients(
    figure: Figure, pinhole: Pinhole, dilation: float, slope: Tensor, share: Tensor
) -> tuple[Tensor, Tensor]:
    """Twin of ``Exposure.gradients``."""
    with torch.enable_grad():
        gaussians = figure.gaussians.detach().requires_grad_()
        size = (slope.shape[0], slope.shape[1])
        mean, seen = _drawn(gaussians, figure, pinhole, size, dilation)
        by_gaussians, by_mean = torch.autograd.grad(seen, (gaussians, mean), slope)
    turning = torch.linalg.cross(mean.detach(), by_mean)
    return by_gaussians, share @ torch.cat([by_mean, turning], 1)


def _drawn(
    gaussians: Tensor,
    figure: Figure,
    pinhole: Pinhole,
    size: tuple[int, int],
    dilation: float,
    least: float = splat.LEAST_TRANSMITTANCE,
) -> tuple[Tensor, Tensor]:
    """Means [N, 3] in camera space, and the picture [H, W, 4]."""
    mean, covariance, color, opacity = anchors.carry(gaussians, figure.bones, figure.bone, figure.visibility)
    fx, fy, cx, cy = pinhole
    k = torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=mean.dtype)
    return mean, splat.splat(mean, covariance, color.clamp(0, 1), opacity, k, size, dilation, least)
