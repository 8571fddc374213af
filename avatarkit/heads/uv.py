"""The texture atlas: one chart per piece, none overlapping."""

from __future__ import annotations

import numpy as np

from avatarkit.heads.parts import Array, Index, fan
from avatarkit.heads.subdivide import boundary_loops

GUTTER = 0.004
"""Free border around every chart."""

CHARTS: dict[str, tuple[float, float, float, float]] = {
    "face": (0.00, 0.36, 0.60, 1.00),
    "cranium": (0.00, 0.00, 0.78, 0.36),
    "eyeLeft": (0.60, 0.82, 0.78, 1.00),
    "eyeRight": (0.60, 0.64, 0.78, 0.82),
    "earLeft": (0.78, 0.78, 1.00, 1.00),
    "earRight": (0.78, 0.56, 1.00, 0.78),
    "bag": (0.60, 0.36, 0.80, 0.50),
    "upperTeeth": (0.60, 0.57, 0.78, 0.64),
    "lowerTeeth": (0.60, 0.50, 0.78, 0.57),
    "tongue": (0.80, 0.36, 1.00, 0.56),
    "socketLeft": (0.78, 0.18, 1.00, 0.36),
    "socketRight": (0.78, 0.00, 1.00, 0.18),
}
"""Left, bottom, right, top of each chart."""


def placed(chart: str, uv: Array) -> Array:
    """``uv`` [U, 2] of a piece's own unit square at its place in the atlas."""
    left, bottom, right, top = CHARTS[chart]
    low = np.array((left, bottom)) + GUTTER
    high = np.array((right, top)) - GUTTER
    return low + np.clip(uv, 0, 1) * (high - low)


def flattened(vertices: Array, triangles: Index, border: Index, rounds: int = 6) -> Array:
    """Chart [N, 2] in the unit square of a disk with holes, without overlaps.

    The outer ``border`` [C] goes to an ellipse, spaced by arc length; every other vertex is a mean of its
    neighbors with positive weights, so Tutte's theorem holds. They start as mean-value weights (Floater
    2003) and are then divided, ``rounds`` times, by the neighbor's stretch (Yoshizawa, Belyaev and Seidel
    2004), which gives small features like lips and nose their share of the texture.
    """
    inner = len(vertices)
    vertices, triangles = _filled(vertices, triangles, set(border.tolist()))
    count = len(vertices)
    rows, columns, values = [], [], []
    for k in range(3):
        i, j, o = triangles[:, k], triangles[:, (k + 1) % 3], triangles[:, (k + 2) % 3]
        u, v = vertices[j] - vertices[i], vertices[o] - vertices[i]
        long, wide = np.linalg.norm(u, axis=1), np.linalg.norm(v, axis=1)
        cosine = np.clip((u * v).sum(1) / np.maximum(long * wide, 1e-15), -0.999, 0.999)
        half = np.tan(np.arccos(cosine) / 2)
        rows += [i, i]
        columns += [j, o]
        values += [half / np.maximum(long, 1e-5), half / np.maximum(wide, 1e-5)]
    row, column, weight = (np.concatenate(part) for part in (rows, columns, values))
    loop = vertices[border]
    step = np.linalg.norm(np.roll(loop, -1, 0) - loop, axis=1)
    turn = np.pi / 2 - 2 * np.pi * np.concatenate([[0], np.cumsum(step)[:-1]]) / step.sum()
    rim = 0.5 + 0.5 * np.stack([np.cos(turn), np.sin(turn)], 1)
    uv = _embedded(count, row, column, weight, border, rim)
    area = np.maximum(_areas(vertices, triangles), 1e-10)
    for _ in range(rounds):
        flat = np.maximum(_areas(np.pad(uv, ((0, 0), (0, 1))), triangles), 1e-12)
        stretch = np.zeros(count)
        around = np.zeros(count)
        for k in range(3):
            np.add.at(stretch, triangles[:, k], area**2 / flat)
            np.add.at(around, triangles[:, k], area)
        weight = weight / np.sqrt(stretch / np.maximum(around, 1e-12))[column]
        uv = _embedded(count, row, column, weight, border, rim)
    return uv[:inner]


def _filled(vertices: Array, triangles: Index, border: set[int]) -> tuple[Array, Index]:
    """The mesh with a fan in every hole, lest the holes grow at the cost of what surrounds them."""
    for loop in boundary_loops(triangles):
        if not border & set(loop):
            closing = np.array(loop[::-1])
            triangles = np.concatenate([triangles, fan(closing, len(vertices))])
            vertices = np.concatenate([vertices, vertices[closing].mean(0, keepdims=True)])
    return vertices, triangles


def _areas(vertices: Array, triangles: Index) -> Array:
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    area: Array = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    return area


def _embedded(count: int, row: Index, column: Index, weight: Array, border: Index, rim: Array) -> Array:
    """Positions [count, 2]: ``border`` at ``rim``, all others the weighted means of their neighbors."""
    from scipy.sparse import coo_matrix, eye
    from scipy.sparse.linalg import splu

    total = np.bincount(row, weight, count)
    mean = coo_matrix((weight / total[row], (row, column)), shape=(count, count)).tocsr()
    free = np.setdiff1d(np.arange(count), border)
    system = (eye(count, format="csr") - mean)[free]
    uv = np.zeros((count, 2))
    uv[border] = rim
    uv[free] = splu(system[:, free].tocsc()).solve(-(system[:, border] @ rim))
    return uv
