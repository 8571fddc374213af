"""E_lmk: detected landmarks against projected ones, and the distances of the lids."""

from __future__ import annotations

import torch
from torch import Tensor

from avatarkit.heads.landmarks import (
    LID_LOWER_LEFT,
    LID_LOWER_RIGHT,
    LID_UPPER_LEFT,
    LID_UPPER_RIGHT,
    LIPS_INNER,
    LIPS_OUTER,
    MESH,
    OVAL,
)

LIDS = torch.tensor(
    [
        pair
        for upper, lower in ((LID_UPPER_LEFT, LID_LOWER_LEFT), (LID_UPPER_RIGHT, LID_LOWER_RIGHT))
        for pair in list(zip(upper, lower, strict=True))[1:-1]  # the corners are both lids'
    ]
)
"""[P, 2] upper and lower lid."""


def weights() -> Tensor:
    """[468] of the landmarks: lips and lids count double, the face's border a third: detectors guess it."""
    result = torch.ones(MESH)
    for group in (LIPS_INNER, LIPS_OUTER, LID_UPPER_LEFT, LID_UPPER_RIGHT, LID_LOWER_LEFT, LID_LOWER_RIGHT):
        result[list(group)] = 2.0
    result[list(OVAL)] = 0.35
    return result


def landmarks(projected: Tensor, detected: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean l1 distance of ``projected`` and ``detected`` [L, 2], in their unit."""
    return (weight[:, None] * (projected - detected).abs()).sum() / (2 * weight.sum())


def lids(projected: Tensor, detected: Tensor) -> Tensor:
    """Mean l1 difference of the vectors from lower to upper lid: whether an eye is as closed as it is seen to be.

    Independent of where the eye is (Feng et al. 2021, eq. 6).
    """
    upper, lower = LIDS.unbind(1)
    ours, theirs = (points[upper] - points[lower] for points in (projected, detected))
    return (ours - theirs).abs().mean()
