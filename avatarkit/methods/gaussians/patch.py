"""Gaussians of one origin before any training, and what is needed to place them and to find their colors."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Patch:
    """Gaussians of one origin at rest."""

    points: Float
    """[n, 3]"""
    normals: Float
    """[n, 3] of any length"""
    spacing: Float
    """[n] meters to the neighbors, or [n, 2] along the slope towards the camera and across it"""
    bone: NDArray[np.int64]
    opening: int
    supposed: Float | None = None
    """[n, 3] color where no frame shows it"""


def face_normals(neutral: Float, triangles: NDArray[np.int32]) -> Float:
    """[F, 3] of length twice the area."""
    a, b, c = (neutral[triangles[:, i]] for i in range(3))
    return np.cross(b - a, c - a)


def looked_up(image: Float, place: Float) -> Float:
    """[N, C] bilinear values of ``image`` [H, W, C] at pixel indices ``place`` [N, 2], edges replicated."""
    rows = -(-len(place) // 1024)  # cv2 takes no map of more than 32767 rows
    padded = np.zeros((rows * 1024, 2), np.float32)
    padded[: len(place)] = place
    x, y = np.ascontiguousarray(padded.T.reshape(2, rows, 1024))
    found = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found.reshape(rows * 1024, -1)[: len(place)], np.float32)
