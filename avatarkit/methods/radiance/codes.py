"""Latent codes of the training frames: what differs between frames and is in no coefficient."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FrameCodes(nn.Module):
    """A learnable vector a training frame. Frames that are none of them get the mean of all."""

    def __init__(self, frames: int, size: int) -> None:
        """``frames`` codes of ``size`` numbers, zero at the start as in Gafni et al. 2021."""
        super().__init__()
        self.codes = nn.Parameter(torch.zeros(frames, size))

    def forward(self, frame: int) -> Tensor:
        """[size] of the ``frame``-th training frame, or the mean (-1)."""
        return self.codes.mean(0) if frame < 0 else self.codes[frame]
