"""Eyeballs: spheres whose rings are pupil, iris, limbus and sclera."""

from __future__ import annotations

import numpy as np

from avatarkit.heads.parts import Array, Index, Part, fan, grid_uv, rigid, strip

SEGMENTS = 24
IRIS_RADIUS = 0.00585
"""Half of the iris' visible diameter, 11.7 mm: nearly the same in all adults."""
PUPIL_RADIUS = 0.0021
RINGS_BEHIND = (36.0, 50.0, 68.0, 90.0, 120.0, 150.0)
"""Polar angles of the sclera's rings, degrees from the optical axis."""
CHART_POWER = 0.6
"""Of the polar angle in the texture chart: below 1 the iris gets more than its share."""


def eyeball(center: Array, radius: float, column: int) -> Part:
    """An eyeball looking along +z, skinned to ``column``.

    Vertex 0 is the front pole (the iris center), the last one the back pole; in between rings of
    ``SEGMENTS`` vertices that start at +x and turn towards +y. The texture chart is an azimuthal map
    of the sphere with the front pole in the middle, magnified there.
    """
    front = np.rad2deg(np.arcsin([PUPIL_RADIUS / radius, 0.68 * IRIS_RADIUS / radius, IRIS_RADIUS / radius]))
    polar = np.deg2rad([*front, *RINGS_BEHIND])
    turn = 2 * np.pi * np.arange(SEGMENTS) / SEGMENTS
    circle = np.stack([np.cos(turn), np.sin(turn)], 1)
    rings = np.concatenate(
        [np.broadcast_to(np.sin(polar)[:, None, None], (len(polar), SEGMENTS, 1)) * circle,
         np.broadcast_to(np.cos(polar)[:, None, None], (len(polar), SEGMENTS, 1))], -1,
    )  # fmt: skip
    unit = np.concatenate([[[0, 0, 1]], rings.reshape(-1, 3), [[0, 0, -1]]])
    count = len(unit)
    first, last = 1 + np.arange(SEGMENTS), count - 1 - SEGMENTS + np.arange(SEGMENTS)
    # The grid's rows go away from the viewer, so the strip is turned over; so is the fan at the front.
    body = strip(len(polar), SEGMENTS, closed=True, symmetric=False)[:, ::-1] + 1
    triangles = np.concatenate([fan(first, 0), body, fan(last[::-1], count - 1)])
    # The back pole is a circle in the chart: one texture vertex per segment.
    reach = np.concatenate([[0], np.repeat(polar, SEGMENTS), np.full(SEGMENTS, np.pi)])
    reach = (reach / np.pi) ** CHART_POWER
    around = np.concatenate([[0], np.tile(turn, len(polar)), turn + np.pi / SEGMENTS])
    uv = 0.5 + 0.5 * reach[:, None] * np.stack([np.cos(around), np.sin(around)], 1)
    uv_triangles = triangles.copy()
    back = uv_triangles[-SEGMENTS:]
    back[:, 2] = count - 1 + (back[:, 1] - last[0])
    rings_of = np.concatenate([[0], np.repeat(1 + np.arange(len(polar)), SEGMENTS), [99]])
    region = np.select([rings_of <= 1, rings_of <= 3], ["pupil", "iris"], "sclera")
    mirror = np.arange(count)
    return Part(center + radius * unit, triangles, uv, uv_triangles, region, mirror, rigid(count, column))


def iris_vertices() -> tuple[int, ...]:
    """Vertices of an ``eyeball`` at the iris' center, +x, +y, -x and -y edge."""
    limbus = 1 + 2 * SEGMENTS
    return (0, *(limbus + SEGMENTS * quarter // 4 for quarter in range(4)))


SOCKET_ROWS = 4
"""Rings between the lid margin and the vertex that closes the socket."""
SOCKET_FOLLOWS = (0.9, 0.35, 0.0, 0.0)
"""Share of the lid margin's motion that they take part in."""


def socket(lids: Array, center: Array, radius: float) -> tuple[Array, Array]:
    """Rows [SOCKET_ROWS, C, 3] of the conjunctiva behind the lid margin ``lids`` [C, 3], and the closing vertex.

    It lies on the eyeball under the lids, turns away from it at the equator and closes behind it.
    """
    local = lids - center
    distance = np.linalg.norm(local, axis=1, keepdims=True)
    polar = np.arccos(np.clip(local[:, 2:] / distance, -1, 1))
    around = local[:, :2] / np.maximum(np.linalg.norm(local[:, :2], axis=1, keepdims=True), 1e-9)
    gaps = (0.0004, 0.0009, 0.0014, 0.0018)
    angles = (
        polar + np.deg2rad(3),
        polar + 0.45 * (np.deg2rad(88) - polar),
        np.full_like(polar, np.deg2rad(108)),
        np.full_like(polar, np.deg2rad(145)),
    )
    rows = [
        center + (radius + gap) * np.concatenate([np.sin(angle) * around, np.cos(angle)], 1)
        for gap, angle in zip(gaps, angles, strict=True)
    ]
    return np.array(rows), center - np.array((0, 0, radius + 0.002))


def socket_triangles(names: Index, columns: int) -> tuple[Index, Array, Index]:
    """Triangles [F, 3] of a ``socket`` whose vertices are ``names`` (lid margin, rows, end), uv, uv triangles."""
    rows = SOCKET_ROWS + 1
    grid = strip(rows, columns, closed=True, symmetric=False)
    ring = (rows - 1) * columns + np.arange(columns)
    triangles = np.concatenate([names[grid], fan(names[ring], int(names[-1]))])
    uv, uv_triangles = grid_uv(
        rows, columns, closed=True, heights=np.linspace(0, 0.88, rows), symmetric=False
    )
    last = (rows - 1) * (columns + 1) + np.arange(columns)
    tip = len(uv) + np.arange(columns)
    uv = np.concatenate([uv, np.stack([(np.arange(columns) + 0.5) / columns, np.ones(columns)], 1)])
    return triangles, uv, np.concatenate([uv_triangles, np.stack([last, last + 1, tip], 1)])
