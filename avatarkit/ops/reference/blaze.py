"""Plain-torch twins of :mod:`avatarkit.ops.blaze`; contracts are there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from avatarkit.ops.blaze import Block, Stem

Float = NDArray[np.float32]


def begin(image: NDArray[np.uint8], layer: Stem) -> Float:
    """See ``ops.blaze.begin``."""
    window, bias, slopes = _parted(
        layer.weights, (3, 3, 3, layer.outputs), (layer.outputs,), (layer.outputs,)
    )
    x = F.pad(_planes(np.asarray(image, np.float32) / 255), (0, 1, 0, 1))
    return _pixels(F.prelu(F.conv2d(x, window.permute(3, 2, 0, 1), bias, 2), slopes))


def chain(x: Float, blocks: Sequence[Block]) -> Float:
    """See ``ops.blaze.chain``."""
    planes = _planes(x)
    for one in blocks:
        planes = _applied(planes, one)
    return _pixels(planes)


def _applied(x: Tensor, one: Block) -> Tensor:
    inputs, outputs = one.inputs, one.outputs
    ends = (inputs, outputs), (outputs,), (outputs,)
    if one.stride == 0:
        pointwise, bias, slopes = _parted(one.weights, *ends)
        return F.prelu(F.conv2d(x, pointwise.T[..., None, None], bias), slopes)
    window, offset, pointwise, bias, slopes = _parted(one.weights, (3, 3, inputs), (inputs,), *ends)
    wide = F.pad(x, (1, 1, 1, 1) if one.stride == 1 else (0, 1, 0, 1))
    made = F.conv2d(wide, window.permute(2, 0, 1)[:, None], offset, one.stride, groups=inputs)
    made = F.conv2d(made, pointwise.T[..., None, None], bias)
    short = x if one.stride == 1 else F.max_pool2d(x, 2)
    return F.prelu(made + F.pad(short, (0, 0, 0, 0, 0, outputs - inputs)), slopes)


def sample(x: Float, matrix: NDArray[np.floating], side: int) -> Float:
    """See ``ops.blaze.sample``."""
    height, width = x.shape[:2]
    row, column = np.mgrid[:side, :side] + 0.5
    places = np.stack([column, row], -1) @ matrix[:, :2].T + matrix[:, 2] - 0.5
    last = np.array([width - 1, height - 1])
    inside = ((places >= 0) & (places <= last)).all(-1)
    first = np.clip(np.floor(np.nan_to_num(places)), 0, last).astype(int)
    (left, top), (right, low) = np.moveaxis(first, -1, 0), np.moveaxis(np.minimum(first + 1, last), -1, 0)
    across, down = np.moveaxis(places - first, -1, 0)[..., None]
    upper = x[top, left] + across * (x[top, right] - x[top, left])
    lower = x[low, left] + across * (x[low, right] - x[low, left])
    return np.where(inside[..., None], upper + down * (lower - upper), 0).astype(np.float32)


def _parted(flat: Float, *shapes: tuple[int, ...]) -> list[Tensor]:
    sizes = [int(np.prod(shape)) for shape in shapes]
    parts = torch.from_numpy(flat).split(sizes)
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def _planes(x: Float) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x)).permute(2, 0, 1)[None]


def _pixels(x: Tensor) -> Float:
    return np.ascontiguousarray(x[0].permute(1, 2, 0).numpy())
