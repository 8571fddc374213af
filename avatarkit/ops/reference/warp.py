"""Twins of the displacement volume and of points taken back through it."""

from __future__ import annotations

import torch
from torch import Tensor


def warp_volume(
    places: Tensor,
    moves: Tensor,
    low: Tensor,
    spacing: float,
    nodes: tuple[int, int, int],
    softening: float,
    still: float,
) -> Tensor:
    """See ``avatarkit.ops.warp.warp_volume``."""
    axes = [torch.arange(n, dtype=places.dtype, device=places.device) * spacing for n in reversed(nodes)]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    centers = torch.stack([x, y, z], -1).reshape(-1, 3) + low
    rows = []
    for part in centers.split(4096):
        squared = (part[:, None] - places).square().sum(-1)
        weights = (squared + softening) ** -2
        rows.append(weights @ moves / (weights.sum(1, keepdim=True) + still))
    volume = torch.cat(rows)
    return torch.cat([volume, torch.zeros_like(volume[:, :1])], 1).reshape(*reversed(nodes), 4)


def warp_points(
    points: Tensor, volumes: Tensor, image_offsets: Tensor, low: Tensor, spacing: float
) -> Tensor:
    """See ``avatarkit.ops.warp.warp_points``."""
    parts = []
    for image, volume in enumerate(volumes):
        some = points[image_offsets[image] : image_offsets[image + 1]]
        last = torch.tensor(volume.shape[2::-1], dtype=points.dtype, device=points.device) - 1
        at = (some - low) / spacing / last * 2 - 1
        move = torch.nn.functional.grid_sample(
            volume.permute(3, 0, 1, 2)[None], at[None, None, None], padding_mode="border", align_corners=True
        )
        parts.append((some - move[0, :3, 0, 0].T).clamp(0, 1))
    return torch.cat(parts)
