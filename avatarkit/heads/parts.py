"""Pieces of a head mesh: grids with caps, mirrored copies, and their assembly into one vertex list."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """One connected piece: N vertices, F triangles, U texture vertices."""

    vertices: Array
    """[N, 3] head space, meters."""
    triangles: Index
    """[F, 3] counter-clockwise seen from outside."""
    uv: Array
    """[U, 2] in the piece's own chart, [0, 1] squared, v up."""
    uv_triangles: Index
    """[F, 3] indices into ``uv``."""
    region: NDArray[np.str_]
    """[N] region names."""
    mirror: Index
    """[N] index of the vertex at (-x, y, z) in this piece, or in its mirrored twin."""
    weights: Array
    """[N, 5] skinning over (cranium, torso, jaw, left eye, right eye)."""

    def moved(self, vertices: Array) -> Part:
        """The same piece with other vertex positions."""
        return replace(self, vertices=np.asarray(vertices, np.float64))

    def twin(self) -> Part:
        """The piece reflected to the other side of the head; vertex i is the mirror of vertex i."""
        return replace(
            self,
            vertices=self.vertices * (-1, 1, 1),
            triangles=self.triangles[:, ::-1].copy(),
            uv=self.uv * (-1, 1) + (1, 0),
            uv_triangles=self.uv_triangles[:, ::-1].copy(),
            weights=self.weights[:, [0, 1, 2, 4, 3]],
        )


def rigid(count: int, column: int) -> Array:
    """Skinning weights [count, 5] wholly on ``column``."""
    weights = np.zeros((count, 5))
    weights[:, column] = 1
    return weights


def strip(rows: int, columns: int, closed: bool, symmetric: bool = True) -> Index:
    """Triangles of a [rows, columns] vertex grid (index = row * columns + column).

    Counter-clockwise seen from the side where rows go up and columns go right. ``closed`` joins the last
    column to the first. ``symmetric`` turns the diagonals of the second half of the columns over, so that
    the grid equals its mirror image (column c to -c where closed, to columns - 1 - c where open).
    """
    quads = columns if closed else columns - 1
    row, column = (part.ravel() for part in np.mgrid[: rows - 1, :quads])
    right = (column + 1) % columns
    a, b = row * columns + column, row * columns + right
    c, d = b + columns, a + columns
    turned = (column >= quads / 2) & symmetric
    first = np.where(turned[:, None], np.stack([a, b, d], 1), np.stack([a, b, c], 1))
    second = np.where(turned[:, None], np.stack([b, c, d], 1), np.stack([a, c, d], 1))
    return np.stack([first, second], 1).reshape(-1, 3)


def fan(loop: Index, tip: int) -> Index:
    """Triangles from the closed ``loop`` (counter-clockwise seen from outside) to the vertex ``tip``."""
    return np.stack([loop, np.roll(loop, -1), np.full_like(loop, tip)], 1)


def grid_uv(
    rows: int, columns: int, closed: bool, heights: Array | None = None, symmetric: bool = True
) -> tuple[Array, Index]:
    """Rectangular chart of a ``strip``: texture vertices [rows * C, 2] and triangles, C one more where closed.

    u runs with the columns, v with the rows (at ``heights`` [rows] in [0, 1], or evenly).
    """
    wide = columns + 1 if closed else columns
    v = np.linspace(0, 1, rows) if heights is None else heights
    u = np.linspace(0, 1, wide)
    uv = np.stack(np.broadcast_arrays(u[None, :], v[:, None]), -1).reshape(-1, 2)
    triangles = strip(rows, columns, closed, symmetric)
    row, column = triangles // columns, triangles % columns
    if closed:  # the seam's triangles reach from the last column to the first
        wraps = (column.max(1) == columns - 1) & (column.min(1) == 0)
        column = np.where(wraps[:, None] & (column == 0), columns, column)
    return uv, row * wide + column


def closed_mirror(rows: int, columns: int) -> Index:
    """Mirror of a closed grid whose column 0 lies in the plane of symmetry: column c to -c."""
    row, column = np.mgrid[:rows, :columns]
    return (row * columns + (-column) % columns).ravel()


def open_mirror(rows: int, columns: int) -> Index:
    """Mirror of an open grid: column c to columns - 1 - c."""
    row, column = np.mgrid[:rows, :columns]
    return (row * columns + columns - 1 - column).ravel()


def smoothstep(edge0: float, edge1: float, x: Array) -> Array:
    """0 at ``edge0``, 1 at ``edge1``, with level ends."""
    t = np.clip((x - edge0) / (edge1 - edge0), 0, 1)
    out: Array = t * t * (3 - 2 * t)
    return out
