"""Planar video ("yuv420p", limited range) to RGB and back.

Numpy arrays in and out; the contract is in ``csrc/yuv/yuv.h``. Where the kernel is not built its twin in
:mod:`avatarkit.ops.reference.yuv` works.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatarkit.ops.native import module

Bytes = NDArray[np.uint8]

SHARES = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}
"""Red's and blue's shares of the luma, by standard (ITU-R BT.601 and BT.709)."""


def size(height: int, width: int) -> int:
    """Bytes of a frame's three planes."""
    return height * width + 2 * ((height + 1) // 2) * ((width + 1) // 2)


def to_rgb(planes: Bytes, height: int, width: int, standard: str = "bt709") -> Bytes:
    """[H, W, 3] sRGB of ``planes`` [size(H, W)]: Y, Cb, Cr, each chroma sample for its 2 x 2 pixels.

    ``standard`` is one of ``SHARES``. Raises ValueError where the number of bytes does not fit.
    """
    if planes.shape != (size(height, width),) or planes.dtype != np.uint8:
        raise ValueError(
            f"planes {planes.shape} {planes.dtype} must be [{size(height, width)}] uint8 for {width}x{height}"
        )
    native = module()
    if native is None:
        from avatarkit.ops.reference import yuv as twin

        return twin.to_rgb(planes, height, width, *SHARES[standard])
    rgb = np.empty((height, width, 3), np.uint8)
    native.yuv_to_rgb(np.ascontiguousarray(planes), *SHARES[standard], rgb)
    return rgb


def from_rgb(rgb: Bytes, standard: str = "bt709") -> Bytes:
    """[size(H, W)] planes of ``rgb`` [H, W, 3], chroma from the mean of each 2 x 2 pixels; see ``to_rgb``."""
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ValueError(f"a picture must be [H, W, 3] uint8, not {rgb.shape} {rgb.dtype}")
    native = module()
    if native is None:
        from avatarkit.ops.reference import yuv as twin

        return twin.from_rgb(rgb, *SHARES[standard])
    planes = np.empty(size(*rgb.shape[:2]), np.uint8)
    native.rgb_to_yuv(np.ascontiguousarray(rgb), *SHARES[standard], planes)
    return planes
