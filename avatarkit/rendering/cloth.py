"""The demo subject's sweater: the bust's own surface, lifted, with a ribbed crew neck."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avatarkit.rendering.noise import noise
from avatarkit.rendering.strands import Array

_STITCH = (0.0042, 0.0034)
"""Width and height of a stitch, meters."""
_YARN = np.array([0.026, 0.055, 0.082], np.float32)


@dataclass(frozen=True)
class Sweater:
    """N vertices at rest in head space, all carried by the torso."""

    vertices: Array
    """[N, 3]"""
    triangles: NDArray[np.int32]
    """[F, 3]"""
    color: Array
    """[N, 3] linear albedo."""
    stitch: Array
    """[N, 2] where on the knitting a vertex lies: wales around, courses down; 0 on the collar, which has its ribs."""


def sweater(
    surface: Array, collar: tuple[float, float] = (-0.184, -0.152), rows: int = 30, columns: int = 288
) -> Sweater:
    """A sweater over the points ``surface`` [N, 3] of neck and bust; ``collar`` is its height in front and behind.

    Its rings are found by casting rays from the spine outwards onto the surface's profile, as a polar height map:
    for every direction around the spine and every level, the farthest point of the surface nearby.
    """
    spine = np.array([0.0, -0.112])  # x, z
    turn = 2 * np.pi * np.arange(columns) / columns
    low = float(surface[:, 1].min())
    front = 0.5 + 0.5 * np.cos(turn)  # 1 in front
    # the neckline dips in front and rides up behind
    top = collar[1] + (collar[0] - collar[1]) * front**1.5
    level = np.linspace(0, 1, rows)[:, None] ** 1.15
    height = top + (low - 0.10 - top) * level
    radius = _profile(surface, spine, turn, height)
    away = np.stack([np.sin(turn), np.cos(turn)], 1)
    lift = 0.004 + 0.004 * np.clip(level * 5, 0, 1) + 0 * turn
    points = np.empty((rows, columns, 3))
    points[..., 0] = spine[0] + (radius + lift) * away[:, 0]
    points[..., 2] = spine[1] + (radius + lift) * away[:, 1]
    points[..., 1] = height + 0.004
    collar_rows = _rolled_collar(points[0], away)
    points = np.concatenate([collar_rows, points])
    flat = points.reshape(-1, 3).astype(np.float32)
    folds = noise(flat * np.array([1.0, 0.45, 1.0], np.float32), 16.0, 2, 31)
    away3 = np.stack([np.sin(turn), 0 * turn, np.cos(turn)], 1)
    depth = np.clip((flat[:, 1].max() - flat[:, 1] - 0.03) / 0.06, 0, 1)
    flat = flat + (0.0035 * folds * depth)[:, None] * np.tile(away3, (len(points), 1)).astype(np.float32)
    row, column = (m.reshape(-1) for m in np.mgrid[: len(points) - 1, :columns])
    right = (column + 1) % columns
    a, b = row * columns + column, row * columns + right
    triangles = np.concatenate([np.stack([a, a + columns, b], 1), np.stack([b, a + columns, b + columns], 1)])
    grid = flat.reshape(len(points), columns, 3)
    return Sweater(
        flat.astype(np.float32),
        triangles.astype(np.int32),
        _color(flat, len(collar_rows), columns),
        _stitches(grid, turn, spine, len(collar_rows) + 2),
    )


def _stitches(grid: Array, turn: Array, spine: Array, first: int) -> Array:
    """Wale and course [rows * columns, 2]; counted from the back to both sides, so that no seam shows in front."""
    radius = np.hypot(grid[..., 0] - spine[0], grid[..., 2] - spine[1])
    wale = np.abs(turn - np.pi) * radius / _STITCH[0]
    course = np.cumsum(np.linalg.norm(np.diff(grid, axis=0, prepend=grid[:1]), axis=2), axis=0) / _STITCH[1]
    stitch = np.stack([wale, course - course[first]], 2)
    stitch[:first] = 0
    return stitch.reshape(-1, 2).astype(np.float32)


def knit(size: int = 48) -> Array:
    """One stocking stitch [size, size, 1] as relief in about [0.5, 1.15]: two strands that lean into a V."""
    v, u = (np.mgrid[:size, :size] + 0.5) / size
    relief = np.zeros((size, size))
    for side in (-1.0, 1.0):
        for shift in (-1.0, 0.0, 1.0):
            x = u - 0.5 - side * 0.25
            y = v - 0.5 + shift + side * x * 1.5
            relief = np.maximum(relief, np.exp(-((x / 0.19) ** 4) - (y / 0.44) ** 4))
    return (0.50 + 0.65 * relief)[..., None].astype(np.float32)


def _profile(surface: Array, spine: Array, turn: Array, height: Array) -> Array:
    """Radius [rows, columns] of ``surface`` around ``spine`` at ``height`` [rows, columns], smoothed."""
    from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator
    from scipy.ndimage import gaussian_filter

    across = surface[:, [0, 2]] - spine
    angle, radius = np.arctan2(across[:, 0], across[:, 1]), np.hypot(across[:, 0], across[:, 1])
    # the chart is cut behind the back: repeat it on both sides; angles count as arcs of 12 cm radius
    charts = np.concatenate(
        [np.stack([(angle + k) * 0.12, surface[:, 1]], 1) for k in (-2 * np.pi, 0, 2 * np.pi)]
    )
    values = np.tile(radius, 3)
    asked = np.stack(np.broadcast_arrays((np.mod(turn + np.pi, 2 * np.pi) - np.pi) * 0.12, height), -1)
    inside = LinearNDInterpolator(charts, values)(asked)
    profile = np.where(np.isnan(inside), NearestNDInterpolator(charts, values)(asked), inside)
    smooth: Array = gaussian_filter(profile, (0.8, 4.0), mode=("nearest", "wrap"))
    return smooth


def _rolled_collar(rim: Array, away: Array) -> Array:
    """Rows [5, columns, 3] of a rolled edge from inside the neckline over its top to ``rim`` [columns, 3]."""
    out = np.stack([away[:, 0], np.zeros(len(away)), away[:, 1]], 1)
    profile = ((-0.0075, -0.010), (-0.0065, 0.004), (-0.0035, 0.0095), (0.0005, 0.0085), (0.0015, 0.004))
    return np.stack([rim + a * out + np.array([0, b, 0]) for a, b in profile])


def _color(points: Array, collar_rows: int, columns: int) -> Array:
    row, column = np.divmod(np.arange(len(points)), columns)
    tone = 1 + 0.06 * noise(points, 50.0, 2, 32) + 0.05 * noise(points, 300.0, 1, 33)
    ribbed = np.where(row < collar_rows + 2, 0.82 + 0.30 * (column % 4 < 2), 1.0)
    seam = np.where(row == collar_rows + 2, 0.6, 1.0)
    inner = np.where(row == 0, 0.35, np.where(row == 1, 0.7, 1.0))
    color: Array = _YARN * (tone * ribbed * seam * inner)[:, None]
    return color.astype(np.float32)
