"""The three pixel grids of segmentation: the video frame, the square crop canvas, and the small work grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.files.errors import AvatarkitError

Float = NDArray[np.float32]
Image = NDArray[np.uint8]
GRID = 256
"""Side of the work grid: the resolution at which the selfie network sees and answers."""


@dataclass(frozen=True)
class Window:
    """Where a track's square crop lies in its video frames.

    The *canvas* is the whole crop at ``size`` pixels; parts of it may lie outside the frame. The *grid* is
    the visible part of the crop stretched to GRID x GRID pixels, on which all per-frame reasoning happens.
    Affine maps [2, 3] take coordinates (x, y), pixel centers at integer + 0.5, from one grid to another.
    """

    crop: tuple[int, int, int]
    """x, y, side in frame pixels."""
    width: int
    height: int
    size: int

    @classmethod
    def of(cls, crop: NDArray[np.int32], width: int, height: int, largest: int) -> Window:
        """The window of ``track.crop`` with a canvas of at most ``largest`` pixels a side.

        Raises AvatarkitError when the crop lies outside the frame.
        """
        x, y, side = int(crop[0]), int(crop[1]), int(crop[2])
        window = cls((x, y, side), width, height, min(largest, side))
        left, top, right, bottom = window.visible
        if side < 8 or right - left < 8 or bottom - top < 8:
            raise AvatarkitError(
                f"the track's crop {x},{y},{side} does not lie in its {width}x{height} video: track it again"
            )
        return window

    @property
    def visible(self) -> tuple[int, int, int, int]:
        """left, top, right, bottom of the crop's part inside the frame (frame pixels)."""
        x, y, side = self.crop
        return max(x, 0), max(y, 0), min(x + side, self.width), min(y + side, self.height)

    @property
    def frame_to_grid(self) -> NDArray[np.float64]:
        """[2, 3]"""
        left, top, right, bottom = self.visible
        sx, sy = GRID / (right - left), GRID / (bottom - top)
        return np.array([[sx, 0, -left * sx], [0, sy, -top * sy]])

    @property
    def frame_to_canvas(self) -> NDArray[np.float64]:
        """[2, 3]"""
        x, y, side = self.crop
        s = self.size / side
        return np.array([[s, 0, -x * s], [0, s, -y * s]])

    def grid_of(self, frame: Image, side: int = GRID) -> Image:
        """[side, side, 3] the visible part of the crop of a frame [H, W, 3], by default on the work grid."""
        left, top, right, bottom = self.visible
        view = frame[top:bottom, left:right]
        method = cv2.INTER_AREA if min(view.shape[:2]) >= side else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(view, (side, side), interpolation=method))

    def canvas_of(self, frame: Image) -> Image:
        """[size, size, 3] canvas of a frame [H, W, 3], the frame's edge pixels repeated beyond it."""
        x, y, side = self.crop
        left, top, right, bottom = self.visible
        patch = frame[top:bottom, left:right]
        if (right - left, bottom - top) != (side, side):
            patch = cv2.copyMakeBorder(
                patch, top - y, y + side - bottom, left - x, x + side - right, cv2.BORDER_REPLICATE
            )
        if side == self.size:
            return np.ascontiguousarray(patch)
        return np.asarray(cv2.resize(patch, (self.size, self.size), interpolation=cv2.INTER_AREA))

    def grid_to_canvas(self, layers: NDArray[Any]) -> NDArray[Any]:
        """Work-grid layers [GRID, GRID(, C)] resampled to the canvas, edge values repeated outside the frame."""
        return resample(layers, compose(self.frame_to_canvas, inverse(self.frame_to_grid)), self.size)

    def inside(self) -> NDArray[np.bool_]:
        """[size, size] canvas pixels whose centers lie in the frame."""
        x, y, side = self.crop
        at = (np.arange(self.size) + 0.5) * side / self.size
        rows = (at + y >= 0) & (at + y <= self.height)
        columns = (at + x >= 0) & (at + x <= self.width)
        return rows[:, None] & columns


def compose(outer: NDArray[np.float64], inner: NDArray[np.float64]) -> NDArray[np.float64]:
    """[2, 3] affine map that applies ``inner`` first, then ``outer``."""
    return np.asarray(outer @ np.vstack([inner, [0, 0, 1]]))


def inverse(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """[2, 3] inverse of an affine map."""
    return np.asarray(np.linalg.inv(np.vstack([affine, [0, 0, 1]]))[:2])


def resample(
    image: NDArray[Any], affine: NDArray[np.float64], size: int, border: int = cv2.BORDER_REPLICATE
) -> NDArray[Any]:
    """``image`` [H, W(, C)] seen through ``affine`` (image to result coordinates), [size, size(, C)], bilinear."""
    # OpenCV puts pixel centers at integers, so half a pixel goes off and comes back.
    shift = np.array([[1, 0, 0.5], [0, 1, 0.5]])
    back = np.array([[1, 0, -0.5], [0, 1, -0.5]])
    pixels = compose(back, compose(affine, shift))
    return np.asarray(cv2.warpAffine(image, pixels, (size, size), flags=cv2.INTER_LINEAR, borderMode=border))
