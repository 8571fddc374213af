"""Regions of a head that errors are measured over, as weights of a frame's pixels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]

# Face-mesh landmarks along the jaw, from one corner over the chin to the other.
JAW = (172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397)
MESH = 468
# Pixels of a 256-pixel crop by which the matte's certain part is eroded.
EDGE = 4
# Of 255: a matte above this is whole, one below that is empty.
WHOLE, EMPTY = 242, 13


def head_above_jaw(matte: NDArray[np.uint8], points: NDArray[np.floating]) -> Float:
    """[R, R] weights 0 or 1: inside the head ``matte`` [R, R] (0 to 255) eroded by ``EDGE``, above the jaw line.

    ``points`` [L, 2] are face-mesh landmarks in the matte's pixels. Beside the jaw the line goes on level with its
    corners. Leaves out what no head model can be blamed for: the matte's uncertain edge, neck and torso.
    """
    size = len(matte)
    line = points[list(JAW)]
    if not np.isfinite(line).all():
        return np.zeros((size, size), np.float32)
    line = line[np.argsort(line[:, 0], kind="stable")]
    below = np.interp(np.arange(size) + 0.5, line[:, 0], line[:, 1])
    above = (np.arange(size)[:, None] + 0.5) < below[None]
    return np.asarray(certain_head(matte) * above, np.float32)


def certain_head(matte: NDArray[np.uint8]) -> Float:
    """[R, R] weights 0 or 1: where the head ``matte`` [R, R] (0 to 255) is whole and stays so within ``EDGE``."""
    reach = 2 * max(round(EDGE * len(matte) / 256), 1) + 1
    kernel = np.ones((reach, reach), np.uint8)
    return cv2.erode((matte > WHOLE).astype(np.uint8), kernel, borderValue=1).astype(np.float32)


def face_hull(points: NDArray[np.floating], size: int) -> Float:
    """[size, size] weights 0 or 1: the convex hull of the face's landmarks ``points`` [L, 2]."""
    mask = np.zeros((size, size), np.uint8)
    inside = points[:MESH]
    if np.isfinite(inside).all():
        cv2.fillConvexPoly(mask, cv2.convexHull(inside.astype(np.float32)).round().astype(np.int32), 1)
    return mask.astype(np.float32)


def certain_regions(matte: NDArray[np.uint8], points: NDArray[np.floating]) -> dict[str, Float]:
    """Weights [R, R] that leave the matte's uncertain edge out: ``above jaw``, ``face``, ``outside`` the head."""
    return {
        "above jaw": head_above_jaw(matte, points),
        "face": face_hull(points, len(matte)),
        "outside": 1 - certain_head(matte),
    }
