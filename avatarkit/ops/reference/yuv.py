"""Twins of the color conversions in plain torch; contracts are those of :mod:`avatarkit.ops.yuv`."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import avg_pool2d, pad

Bytes = NDArray[np.uint8]
LUMA, CHROMA = 219 / 255, 224 / 255


def to_rgb(planes: Bytes, height: int, width: int, red: float, blue: float) -> Bytes:
    """See :func:`avatarkit.ops.yuv.to_rgb`."""
    rows, columns = (height + 1) // 2, (width + 1) // 2
    y, cb, cr = torch.from_numpy(planes).float().split([height * width, rows * columns, rows * columns])
    y = (y.reshape(height, width) - 16) / LUMA
    b, r = (
        ((c.reshape(rows, columns) - 128) / CHROMA)
        .repeat_interleave(2, 0)[:height]
        .repeat_interleave(2, 1)[:, :width]
        for c in (cb, cr)
    )
    above_red, above_blue = 2 * (1 - red) * r, 2 * (1 - blue) * b
    below_green = (red * above_red + blue * above_blue) / (1 - red - blue)
    return _levels(torch.stack([y + above_red, y - below_green, y + above_blue], -1)).numpy()


def from_rgb(rgb: Bytes, red: float, blue: float) -> Bytes:
    """See :func:`avatarkit.ops.yuv.from_rgb`."""
    height, width = rgb.shape[:2]
    if 0 in (height, width):
        return np.zeros(0, np.uint8)
    color = torch.from_numpy(rgb).float()
    luma = color @ torch.tensor([red, 1 - red - blue, blue])
    apart = torch.stack([(color[..., 2] - luma) / (1 - blue), (color[..., 0] - luma) / (1 - red)]) / 2
    # repeating the last row or column leaves the mean of what there is
    even = pad(apart[None], (0, width % 2, 0, height % 2), mode="replicate")
    chroma = 128 + CHROMA * avg_pool2d(even, 2)[0]
    return torch.cat([_levels(16 + LUMA * luma).flatten(), _levels(chroma).flatten()]).numpy()


def _levels(values: torch.Tensor) -> torch.Tensor:
    return (values.clamp(0, 255) + 0.5).to(torch.uint8)
