"""The texture atlas: one chart per piece, none overlapping."""

from __future__ import annotations

import numpy as np

from avatarkit.heads.parts import Array, Index

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


def flattened(vertices: Array, triangles: Index, border: Index) -> Array:
    """Chart [N, 2] in the unit square of a disk with holes, without overlaps.

    The outer ``border`` [C] goes to an ellipse, spaced by arc length; every other vertex is the mean of
    its neighbors with mean-value weights (Floater 2003), which are positive: Tutte's theorem holds.
    """
    from scipy.sparse import coo_matrix, eye
    from scipy.sparse.linalg import splu

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
    row, column, value = (np.concatenate(part) for part in (rows, columns, values))
    weights = coo_matrix((value, (row, column)), shape=(count, count)).tocsr()
    total = np.asarray(weights.sum(1)).ravel()
    weights = coo_matrix((weights.tocoo().data / total[weights.tocoo().row],
                          (weights.tocoo().row, weights.tocoo().col)), shape=(count, count)).tocsr()  # fmt: skip
    loop = vertices[border]
    step = np.linalg.norm(np.roll(loop, -1, 0) - loop, axis=1)
    turn = np.pi / 2 - 2 * np.pi * np.concatenate([[0], np.cumsum(step)[:-1]]) / step.sum()
    uv = np.zeros((count, 2))
    uv[border] = 0.5 + 0.5 * np.stack([np.cos(turn), np.sin(turn)], 1)
    free = np.setdiff1d(np.arange(count), border)
    system = (eye(count, format="csr") - weights)[free]
    uv[free] = splu(system[:, free].tocsc()).solve(-(system[:, border] @ uv[border]))
    return uv
