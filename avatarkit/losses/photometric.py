"""Losses of scattered rays: color, mask and the entropy of the mask."""

from __future__ import annotations

import torch
from torch import Tensor


def l1(predicted: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean absolute difference (NeRFBlendShape, Gao et al. 2022, eq. 6 and 7, as a mean over rays and channels).

    The papers sum over rays; a mean keeps the weights of the other losses independent of the batch size. With
    ``weight`` [R, 1] of the rays, what each adds to that mean is multiplied by it.
    """
    difference = (predicted - target).abs()
    return difference.mean() if weight is None else (difference * weight).mean()


def squared(predicted: Tensor, target: Tensor) -> Tensor:
    """Squared length of the color difference, mean over rays (MA-NeRF, seed 000, eq. 10; NerFACE's L2 loss).

    The papers sum over rays; a mean keeps the weights of the other losses independent of the batch size.
    """
    return (predicted - target).square().sum(-1).mean()


def bimodal(values: Tensor) -> Tensor:
    """Mean of -log(e^-|w| + e^-|1 - w|): lowest where weights or opacities are 0 or 1 (MA-NeRF, seed 000, eq. 11, 12).

    From Rebain et al., "LOLNeRF", 2022, eq. 8.
    """
    return -torch.logaddexp(-values.abs(), -(1 - values).abs()).mean()


def binary_entropy(alpha: Tensor) -> Tensor:
    """Mean of -a log a - (1 - a) log(1 - a), natural logarithm (Xie's reproduction, eq. 11).

    Drives every ray's opacity ``alpha`` [R] to 0 or 1. Opacities are kept 1e-5 off the ends, where the
    gradient would be infinite.
    """
    a = alpha.clamp(1e-5, 1 - 1e-5)
    return -(a * torch.log(a) + (1 - a) * torch.log1p(-a)).mean()
