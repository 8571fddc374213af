"""Positions and directions as sines and cosines, for networks that could not tell near points apart otherwise."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def fourier(values: Tensor, octaves: int) -> Tensor:
    """[N, D + 2 D octaves]: ``values`` [N, D] in [-1, 1], then sin and cos of 2^k pi x for k below ``octaves``.

    Columns: all D values, then for k = 0 the D sines and the D cosines, and so on.

    Source: Mildenhall et al., "NeRF", 2020, eq. 4, with the values themselves kept beside (as in their code).
    """
    scales = math.pi * 2.0 ** torch.arange(octaves, dtype=values.dtype, device=values.device)
    angles = values[:, None, :] * scales[:, None]
    waves = torch.stack([angles.sin(), angles.cos()], 2)
    return torch.cat([values, waves.flatten(1)], 1)


def fourier_width(dimensions: int, octaves: int) -> int:
    """Columns of ``fourier``."""
    return dimensions * (1 + 2 * octaves)
