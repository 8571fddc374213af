"""Plain-torch twins of ``avatarkit.ops.anchors``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from avatarkit.ops.anchors import LearnOptions

PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def deform(vertices: Tensor, triangles: Tensor, inverse: Tensor, first: Tensor, pose: Tensor) -> Tensor:
    """Twin of ``ops.anchors.deform``: [12, F]."""
    camera = pose[:, :3] @ vertices.T + pose[:, 3:]
    a, b, c = (camera[:, triangles[:, i].long()] for i in range(3))
    normal = torch.linalg.cross(b - a, c - a, dim=0)
    normal = normal / torch.sqrt((normal * normal).sum(0) + 1e-24)
    frame = torch.stack([b - a, c - a, normal], 1)
    linear = torch.einsum("ijf,jkf->ikf", frame, inverse)
    shift = a - torch.einsum("ijf,jf->if", linear, first)
    return torch.cat([linear, shift[:, None]], 1).reshape(12, -1)


def carry(
    gaussians: Tensor, bones: Tensor, bone: Tensor, visibility: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Twin of ``ops.anchors.carry``; differentiable in the Gaussians."""
    maps = bones[:, bone.long()].reshape(3, 4, -1)  # [3, 4, N]
    linear, shift = maps[:, :3], maps[:, 3]
    mean = torch.einsum("ijn,jn->ni", linear, gaussians[:3]) + shift.T
    q = gaussians[7:11]
    w, x, y, z = q / torch.sqrt((q * q).sum(0) + 1e-12)
    turn = torch.stack(
        [
            1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
            2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
            2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
        ]
    ).reshape(3, 3, -1)  # fmt: skip
    factor = torch.einsum("ijn,jkn->ikn", linear, turn) * gaussians[11:14].exp()
    whole = torch.einsum("ikn,jkn->nij", factor, factor)
    covariance = torch.stack([whole[:, a, b] for a, b in PAIRS], 1)
    return mean, covariance, gaussians[4:7].T, torch.sigmoid(gaussians[3]) * visibility


def reveal(
    positions: Tensor,
    bones: Tensor,
    bone: Tensor,
    behind: Tensor,
    hole: Tensor,
    frames: Tensor,
    borders: Tensor,
) -> Tensor:
    """Twin of ``ops.anchors.reveal``."""
    behind, hole = behind.long(), hole.long()
    maps = bones[:, bone[behind].long()].reshape(3, 4, -1)
    moved = torch.einsum("ijm,jm->im", maps[:, :3], positions[:, behind]) + maps[:, 3]
    origin, along, across, softness = frames[hole].split([2, 2, 2, 1], 1)
    offset = (moved[:2] / moved[2]).T - origin
    place, height = (offset * along).sum(1), (offset * across).sum(1)
    edges = borders[hole]  # [M, 2, 2, K]
    upper, lower = (_interpolated(place, *edges[:, i].unbind(1)) for i in (0, 1))
    beyond = torch.maximum(edges[:, 0, 0, 0] - place, place - edges[:, 0, 0, -1]).clamp(min=0)
    inside = (torch.minimum(height - upper, lower - height) - beyond) / softness[:, 0]
    result = torch.ones(positions.shape[1], dtype=positions.dtype)
    result[behind] = torch.sigmoid(2 * inside)
    return result


def _interpolated(x: Tensor, knots: Tensor, values: Tensor) -> Tensor:
    """[M] piecewise linear through ``knots`` [M, K], rising, and ``values`` [M, K]; constant beyond them."""
    right = torch.searchsorted(knots.contiguous(), x[:, None].contiguous(), right=True).clamp(
        1, knots.shape[1] - 1
    )
    left = right - 1
    a, b, low, high = (t.gather(1, i)[:, 0] for t in (knots, values) for i in (left, right))
    share = torch.where(b > a, (x - a) / (b - a).clamp(min=1e-20), torch.zeros(())).clamp(0, 1)
    return low + share * (high - low)


def learn(
    base: Tensor,
    moments: Tensor,
    gradient: Tensor,
    blend: Tensor | None,
    moves: Tensor,
    weights: Tensor,
    step: int,
    options: LearnOptions,
) -> Tensor | None:
    """Twin of ``ops.anchors.learn``."""
    beta1, beta2 = options.betas
    moments[0].mul_(beta1).add_(gradient, alpha=1 - beta1)
    square = gradient.square()
    square[:3] = square[:3].sum(0)
    moments[1].mul_(beta2).add_(square, alpha=1 - beta2)
    rates, eps = torch.tensor([options.rates, options.eps], dtype=base.dtype)[..., None]
    scale = rates / (torch.sqrt(moments[1] / (1 - beta2**step)) + eps)
    base.sub_(scale * moments[0] / (1 - beta1**step))
    blended = moves.shape[1]
    moves[-1] = (options.residual_rate * scale * gradient)[:blended]
    if blend is None:
        return None
    out = base.clone()
    out[:blended] += blend - torch.einsum("j,jcn->cn", weights, moves)
    return out


def settle(residual: Tensor, coefficients: Tensor, moves: Tensor, following: Tensor) -> Tensor:
    """Twin of ``ops.anchors.settle``."""
    residual.sub_(torch.einsum("jk,jcn->kcn", coefficients, moves))
    return torch.einsum("mk,kcn->mcn", following, residual)
