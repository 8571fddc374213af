"""The mesh a photo is drawn with: the face's landmarks, rings around them, and a grid over the rest."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.heads.landmarks import MESH, OVAL
from avatarkit.heads.template import face_topology

Array = NDArray[np.float64]
Index = NDArray[np.int32]

RINGS = (1.05, 1.12)
"""Sizes of the rings around the face against its oval."""
BEYOND = 96
"""Pixels the grid reaches over the border of a 512 pixel photo."""


@dataclass(frozen=True)
class Mesh:
    """N points: 468 of the face, two rings of 36, then the grid."""

    points: Array
    """[N, 2] places in the photo, pixels."""
    triangles: Index
    """[F, 3] first the 852 of the face; holes are the eyes and the mouth."""

    @property
    def face(self) -> Array:
        """[468, 2]"""
        return self.points[:MESH]


def build(face: Array, width: int, height: int, step: float) -> Mesh:
    """The mesh of a ``width`` x ``height`` photo whose face landmarks are ``face`` [468, 2], grid ``step`` pixels."""
    oval = face[list(OVAL)]
    center = (face[454] + face[234] + face[10] + face[152]) / 4
    rings = [center + size * (oval - center) for size in RINGS]
    reach = BEYOND / 28 * step
    xs, ys = _lines(width, reach, step), _lines(height, reach, step)
    grid = np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2)
    outline = rings[-1].astype(np.float32)[:, None]
    away = np.array([-cv2.pointPolygonTest(outline, (float(x), float(y)), True) for x, y in grid])
    grid = grid[away > 0.35 * step]
    points = np.concatenate([face, *rings, grid])
    around = np.arange(len(OVAL))
    loops = [np.array(OVAL), MESH + around, MESH + len(OVAL) + around]
    strips = [_strip(inner, outer) for inner, outer in pairwise(loops)]
    outside = _outside(
        points, np.concatenate([loops[-1], np.arange(MESH + 2 * len(OVAL), len(points))]), outline
    )
    triangles = np.concatenate([face_topology(), *strips, outside])
    return Mesh(points, _wound(points, triangles).astype(np.int32))


def _lines(size: int, reach: float, step: float) -> Array:
    """Places of the grid's lines about ``step`` apart, from -``reach`` to ``size + reach``, one on either border."""
    beyond = reach / max(1, round(reach / step)) * np.arange(1, max(1, round(reach / step)) + 1)
    inside = np.linspace(0, size, max(1, round(size / step)) + 1)
    return np.concatenate([-beyond[::-1], inside, size + beyond])


def _strip(inner: NDArray[np.int64], outer: NDArray[np.int64]) -> NDArray[np.int64]:
    """[2 n, 3] triangles between two closed loops of n points."""
    a, b, c, d = inner, np.roll(inner, -1), outer, np.roll(outer, -1)
    return np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])


def _outside(points: Array, which: NDArray[np.int64], outline: NDArray[np.float32]) -> NDArray[np.int64]:
    """Delaunay triangles of ``points[which]`` outside the polygon ``outline``."""
    from scipy.spatial import Delaunay

    triangles = Delaunay(points[which]).simplices
    middle = points[which][triangles].mean(1)
    kept = [cv2.pointPolygonTest(outline, (float(x), float(y)), False) <= 0 for x, y in middle]
    found: NDArray[np.int64] = which[triangles[np.array(kept)]]
    return found


def _wound(points: Array, triangles: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rings and grid wound like the face: counter-clockwise as the viewer sees them."""
    a, b, c = (points[triangles[:, i]] for i in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    turned = (area > 0) & (np.arange(len(triangles)) >= len(face_topology()))
    return np.where(turned[:, None], triangles[:, ::-1], triangles)
