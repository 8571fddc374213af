"""Small pieces drawn into a frame: polygons with soft edges, and pictures under an affine map."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Float = NDArray[np.float32]
Image = NDArray[np.uint8]
BITS = 4


@dataclass(frozen=True)
class Region:
    """A rectangle of a frame with the soft mask of a polygon in it."""

    left: int
    top: int
    mask: Float
    """[h, w] in [0, 1]."""

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of the frame."""
        height, width = self.mask.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    def grid(self) -> tuple[Float, Float]:
        """x [1, w] and y [h, 1] of its pixel centers in the frame."""
        height, width = self.mask.shape
        x = np.arange(self.left, self.left + width, dtype=np.float32)[None] + 0.5
        y = np.arange(self.top, self.top + height, dtype=np.float32)[:, None] + 0.5
        return x, y


def region(polygon: Array, height: int, width: int, soft: float = 0.7, margin: int = 3) -> Region | None:
    """The part of an [height, width] frame in a ``polygon`` [P, 2], edges blurred by ``soft`` pixels; None outside."""
    low = np.floor(polygon.min(0)).astype(int) - margin
    high = np.ceil(polygon.max(0)).astype(int) + margin
    left, top = max(int(low[0]), 0), max(int(low[1]), 0)
    right, bottom = min(int(high[0]), width), min(int(high[1]), height)
    if right - left < 2 or bottom - top < 2:
        return None
    mask = np.zeros((bottom - top, right - left), np.uint8)
    fixed = np.round((polygon - (left + 0.5, top + 0.5)) * (1 << BITS)).astype(np.int32)
    cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, BITS)
    blurred = (
        cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), soft) if soft else mask / np.float32(255)
    )
    return Region(left, top, np.asarray(blurred, np.float32))


def polygon_mask(polygon: Array, height: int, width: int) -> NDArray[np.bool_]:
    """[height, width] pixels mostly inside ``polygon`` [P, 2]."""
    mask = np.zeros((height, width), np.uint8)
    fixed = np.round((polygon - 0.5) * (1 << BITS)).astype(np.int32)
    cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, BITS)
    return mask > 127


def seen_through(picture: Float, to_picture: Array, part: Region) -> Float:
    """[h, w, C] ``picture`` at the region's pixels taken through the affine map ``to_picture`` [2, 3]."""
    height, width = part.mask.shape
    linear = to_picture[:, :2]
    shift = linear @ (part.left + 0.5, part.top + 0.5) + to_picture[:, 2] - 0.5
    matrix = np.column_stack([linear, shift])
    return np.asarray(
        cv2.warpAffine(
            picture, matrix, (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
        )
    )  # fmt: skip


def blend(frame: Image, part: Region, color: NDArray[np.floating], mask: Float | None = None) -> None:
    """Lay ``color`` [h, w, 3] (0 to 255) over ``frame`` in the region, in place."""
    place = frame[part.slices]
    share = (part.mask if mask is None else mask)[..., None]
    place[...] = np.clip(place + share * (color - place) + 0.5, 0, 255).astype(np.uint8)
