"""Networks of BlazeBlocks (Bazarevsky et al. 2019), of which mediapipe's face mesh is one, for one picture at a time.

Numpy arrays in and out, no gradients; activations are [H, W, C] float32 with C a multiple of 16. The kernels' contract
is in ``csrc/blaze/blaze.h``; where they are not built their twins in :mod:`avatarkit.ops.reference.blaze` work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from avatarkit.ops.native import module

Float = NDArray[np.float32]
Numbers = NDArray[np.floating]
GRAIN = 16
"""Channels come in multiples of this."""


class Block(NamedTuple):
    """One layer; see ``block``."""

    inputs: int
    outputs: int
    stride: int
    """of the depthwise convolution; 0: there is none, and no shortcut either."""
    weights: Float
    """flat: depthwise [3, 3, inputs] and bias, pointwise [inputs, outputs], bias, slopes."""


class Stem(NamedTuple):
    """A network's first layer; see ``stem``."""

    outputs: int
    weights: Float
    """flat: [3, 3, 3, outputs] (row, column, color), bias, slopes."""


def block(
    pointwise: Numbers,
    bias: Numbers,
    slopes: Numbers,
    depthwise: tuple[Numbers, Numbers] | None = None,
    stride: int = 1,
) -> Block:
    """PReLU(pointwise(depthwise(x)) + shortcut), or without ``depthwise`` PReLU(pointwise(x)).

    ``pointwise`` [in, out], ``bias`` and ``slopes`` [out], ``depthwise`` a window [3, 3, in] and a bias [in]. The
    shortcut is x, with ``stride`` 2 the largest of each 2 x 2 pixels, followed by channels of 0. Raises ValueError on
    shapes that do not fit.
    """
    inputs, outputs = pointwise.shape
    parts = [pointwise, bias, slopes]
    good = bias.shape == slopes.shape == (outputs,) and inputs % GRAIN == 0 and outputs % GRAIN == 0
    if depthwise is not None:
        parts = [*depthwise, *parts]
        good &= depthwise[0].shape == (3, 3, inputs) and depthwise[1].shape == (inputs,)
        good &= stride in (1, 2) and outputs >= inputs
    if not good:
        raise ValueError(f"a block of {[p.shape for p in parts]} with stride {stride} does not fit together")
    return Block(inputs, outputs, stride if depthwise is not None else 0, _flat(parts))


def stem(window: Numbers, bias: Numbers, slopes: Numbers) -> Stem:
    """PReLU of a convolution of stride 2 by ``window`` [3, 3, 3, out] (row, column, color).

    ``bias`` and ``slopes`` are [out]. Raises ValueError on shapes that do not fit.
    """
    outputs = window.shape[-1]
    if (
        window.shape != (3, 3, 3, outputs)
        or bias.shape != (outputs,)
        or slopes.shape != (outputs,)
        or outputs % GRAIN
    ):
        raise ValueError(f"a stem of {window.shape}, {bias.shape} and {slopes.shape} does not fit together")
    return Stem(outputs, _flat([window, bias, slopes]))


def begin(image: NDArray[np.uint8], layer: Stem, blocks: Sequence[Block] = ()) -> Float:
    """[H', W', C'] the first layer of ``image`` [H, W, 3], whose colors count as 0 to 1, and ``blocks`` after it.

    Raises ValueError for odd sizes and where channels do not fit.
    """
    if (
        image.ndim != 3
        or image.shape[2] != 3
        or image.dtype != np.uint8
        or image.shape[0] % 2
        or image.shape[1] % 2
    ):
        raise ValueError(f"a picture must be [H, W, 3] uint8 of even size, not {image.shape} {image.dtype}")
    shape = _shape((image.shape[0] // 2, image.shape[1] // 2, layer.outputs), blocks)
    native = module()
    if native is None:
        from avatarkit.ops.reference import blaze as twin

        return twin.chain(twin.begin(image, layer), blocks)
    out = np.empty(shape, np.float32)
    given = [tuple(one) for one in blocks]
    native.blaze_begin(np.ascontiguousarray(image), layer.outputs, layer.weights, given, out)
    return out


def chain(x: Float, blocks: Sequence[Block]) -> Float:
    """[H', W', C'] ``blocks`` one after the other of ``x`` [H, W, C].

    Raises ValueError where channels do not fit, or where a size is odd before a stride of 2.
    """
    shape = _shape(x.shape, blocks)
    native = module()
    if native is None:
        from avatarkit.ops.reference import blaze as twin

        return twin.chain(x, blocks)
    if not blocks:
        return x
    out = np.empty(shape, np.float32)
    native.blaze_chain(np.ascontiguousarray(x, np.float32), [tuple(one) for one in blocks], out)
    return out


def _shape(given: tuple[int, ...], blocks: Sequence[Block]) -> tuple[int, int, int]:
    """The shape of what ``blocks`` make of a picture of shape ``given``."""
    height, width, channels = given
    for one in blocks:
        if one.inputs != channels or (one.stride == 2 and (height % 2 or width % 2)):
            raise ValueError(f"a block of {one.inputs} channels cannot take [{height}, {width}, {channels}]")
        channels = one.outputs
        if one.stride == 2:
            height, width = height // 2, width // 2
    return height, width, channels


def sample(x: Float, matrix: Numbers, side: int) -> Float:
    """[side, side, C] ``x`` [H, W, C] at ``matrix`` [2, 3] of each pixel's center, bilinear; 0 outside.

    Centers lie at integer + 0.5. Raises ValueError on shapes that do not fit.
    """
    if x.ndim != 3 or x.shape[2] % GRAIN or matrix.shape != (2, 3):
        raise ValueError(f"cannot sample {x.shape} by {matrix.shape}")
    native = module()
    if native is None:
        from avatarkit.ops.reference import blaze as twin

        return twin.sample(x, matrix, side)
    out = np.empty((side, side, x.shape[2]), np.float32)
    native.blaze_sample(np.ascontiguousarray(x, np.float32), np.ascontiguousarray(matrix, np.float32), out)
    return out


def _flat(parts: Sequence[Numbers]) -> Float:
    return np.concatenate([np.asarray(part, np.float32).reshape(-1) for part in parts])
