"""One step of interpolating subdivision, as a matrix."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

Triangles = NDArray[np.integer]


def edges_of(triangles: Triangles) -> tuple[NDArray[np.int64], dict[tuple[int, int], list[int]]]:
    """Undirected edges [M, 2] (sorted) and, for each, the vertices opposite to it in its one or two triangles."""
    opposite: dict[tuple[int, int], list[int]] = defaultdict(list)
    for a, b, c in triangles.tolist():
        for u, v, w in ((a, b, c), (b, c, a), (c, a, b)):
            opposite[min(u, v), max(u, v)].append(w)
    keys = sorted(opposite)
    return np.array(keys, np.int64).reshape(-1, 2), {key: sorted(opposite[key]) for key in keys}


def boundary_loops(triangles: Triangles) -> list[list[int]]:
    """Closed boundary loops, each in the direction of its triangles' edges, starting at its smallest vertex."""
    directed = {(int(t[i]), int(t[(i + 1) % 3])) for t in triangles for i in range(3)}
    following = {a: b for a, b in directed if (b, a) not in directed}
    loops = []
    while following:
        start = min(following)
        loop = [start]
        while (step := following.pop(loop[-1])) != start:
            loop.append(step)
        loops.append(loop)
    return loops


def butterfly(triangles: Triangles, count: int) -> tuple[Any, NDArray[np.int64], NDArray[np.int64]]:
    """Subdivide each triangle into four; the old vertices stay (Dyn, Levin and Gregory 1990).

    An inner edge's midpoint takes weights 1/2 of its ends, 1/8 of the two opposite vertices and -1/16 of
    the four wing vertices; a boundary edge's takes the four-point rule (-1, 9, 9, -1)/16 along the
    boundary, so boundary curves depend on boundary vertices only.

    Returns the matrix (scipy CSR [count + M, count]), the triangles [4 F, 3] and the edges [M, 2] whose
    midpoints are the vertices from ``count`` on.
    """
    from scipy.sparse import coo_matrix

    edges, opposite = edges_of(triangles)
    number = {tuple(edge): count + i for i, edge in enumerate(edges.tolist())}
    around: dict[int, list[int]] = defaultdict(list)
    for loop in boundary_loops(triangles):
        for i, vertex in enumerate(loop):
            around[vertex] = [loop[i - 1], loop[(i + 1) % len(loop)]]
    rows, columns, values = list(range(count)), list(range(count)), [1.0] * count

    def add(row: int, column: int, value: float) -> None:
        rows.append(row)
        columns.append(column)
        values.append(value)

    for (a, b), row in number.items():
        wings = opposite[a, b]
        if len(wings) == 1:
            (before,) = (v for v in around[a] if v != b)
            (after,) = (v for v in around[b] if v != a)
            for vertex, value in ((a, 9 / 16), (b, 9 / 16), (before, -1 / 16), (after, -1 / 16)):
                add(row, vertex, value)
            continue
        tips = [
            next((v for v in opposite[min(end, wing), max(end, wing)] if v != other), None)
            for wing in wings
            for end, other in ((a, b), (b, a))
        ]
        if any(tip is None for tip in tips):  # beside a boundary: the plain midpoint
            wings, tips = [], []
        add(row, a, 0.5)
        add(row, b, 0.5)
        for wing in wings:
            add(row, wing, 1 / 8)
        for tip in tips:
            if tip is not None:
                add(row, tip, -1 / 16)
    finer = []
    for a, b, c in triangles.tolist():
        ab, bc, ca = (number[min(u, v), max(u, v)] for u, v in ((a, b), (b, c), (c, a)))
        finer += [(a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca)]
    matrix = coo_matrix((values, (rows, columns)), shape=(count + len(edges), count)).tocsr()
    return matrix, np.array(finer, np.int64), edges
