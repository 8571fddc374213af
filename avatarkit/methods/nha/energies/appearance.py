"""E_phot and E_perc: the rendered head against the picture."""

from __future__ import annotations

import torch
from torch import Tensor


def photometric(ours: Tensor, theirs: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean l1 difference of pictures [H, W, 3]; ``weight`` [H, W]."""
    return ((ours - theirs).abs().mean(-1) * weight).sum() / weight.sum().clamp_min(1)


def tiles(image: Tensor, corners: Tensor, side: int) -> Tensor:
    """[B, 3, side, side] squares of ``image`` [H, W, 3], upper left pixels at ``corners`` [B, 2] (row, column)."""
    cut = [image[y : y + side, x : x + side] for y, x in corners.tolist()]
    return torch.stack(cut).permute(0, 3, 1, 2)
