"""E_semantic: regions of the mesh against regions of the picture, by a soft exclusive or."""

from __future__ import annotations

import torch
from torch import Tensor

from avatarkit.data.labels import Label

SKIN_LABELS = (Label.SKIN, Label.BROWS, Label.LIPS, Label.NECK, Label.MOUTH_INTERIOR)
HAIR_LABELS = (Label.HAIR, Label.ACCESSORIES)
"""Accessories sit on hair more often than on skin, and an outline without them would be too small."""


def soft_xor(a: Tensor, b: Tensor) -> Tensor:
    """a (1 - b) + b (1 - a): how probable it is that exactly one holds."""
    return a + b - 2 * a * b


def regions(labels: Tensor, matte: Tensor, ears: bool = False) -> Tensor:
    """[H, W, 3] skin (with neck and mouth), eyes, hair: parts of the head's ``matte`` [H, W] by ``labels``.

    With ``ears`` a fourth region is theirs; else they are skin.
    """
    own: tuple[Label, ...] = (Label.EARS,)
    groups = [SKIN_LABELS + (() if ears else own), (Label.EYES,), HAIR_LABELS, *([own] if ears else [])]
    parts = []
    for group in groups:
        inside = torch.zeros_like(matte)
        for label in group:
            inside = inside + (labels == int(label)).to(matte.dtype)
        parts.append(inside * matte)
    return torch.stack(parts, -1)


def semantic(ours: Tensor, theirs: Tensor, weight: Tensor) -> Tensor:
    """Sum over regions of the mean soft xor of ``ours`` and ``theirs`` [H, W, K]; ``weight`` [H, W] of pixels."""
    return (soft_xor(ours, theirs) * weight[..., None]).sum() / weight.sum().clamp_min(1)
