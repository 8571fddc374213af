"""Outer ears: a relief over a flat polar chart, folded back to the skull."""

from __future__ import annotations

import numpy as np

from avatarkit.heads.parts import Array, Part, fan, rigid, smoothstep, strip

OUTLINE = (
    (11.5, 2.0), (12.5, 10.0), (12.0, 19.0), (7.0, 29.0), (-3.0, 34.0), (-14.0, 30.5), (-20.5, 20.0),
    (-21.5, 7.0), (-18.0, -6.0), (-12.5, -17.0), (-8.0, -26.0), (-1.0, -30.5), (5.5, -27.5), (8.5, -18.0),
    (10.0, -8.0),
)  # fmt: skip
"""Points (forward, up) in mm around the concha, counter-clockwise with forward to the right."""
RINGS = (0.17, 0.32, 0.45, 0.56, 0.66, 0.76, 0.85, 0.93, 1.0)
BACK_RINGS = ((0.985, -3.0), (0.86, -6.5), (0.62, -13.0))
"""Share of the outline's radius and height in mm of the rings behind the rim."""
COLUMNS = 30
FLARE = np.deg2rad(24)
"""Between the ear's plane and the side of the head."""
TILT = np.deg2rad(11)
"""By which the top leans back."""
LENGTH_ABOVE = 0.034
"""Meters from the concha to the top."""


def _bump(x: Array, center: float, width: float) -> Array:
    out: Array = np.exp(-np.square((x - center) / width))
    return out


def _sector(angle: Array, start: float, stop: float, soft: float = 22.0) -> Array:
    """1 for angles (degrees, 0..360) between ``start`` and ``stop``, fading out over ``soft`` degrees."""
    middle, half = (start + stop) / 2, (stop - start) / 2
    away = np.abs((angle - middle + 180) % 360 - 180)
    out: Array = 1 - smoothstep(half - soft / 2, half + soft / 2, away)
    return out


def relief(radius: Array, angle: Array) -> Array:
    """Height in mm over the ear's plane at ``radius`` (1 at the outline) and ``angle`` (degrees from forward).

    Concha, antihelix with its two crura, scapha, helix with its crus, tragus, antitragus, lobe.
    """
    helix_runs = _sector(angle, 48, 205, 40)
    lobe = _sector(angle, 238, 300, 30)
    height = -6.5 * (1 - smoothstep(0.0, 0.56, radius)) * (1 - 0.25 * lobe)
    height += 4.6 * _bump(radius, 0.62, 0.105) * _sector(angle, 98, 236, 40)  # antihelix
    height += 2.0 * _bump(radius, 0.60, 0.10) * _sector(angle, 62, 100, 26)  # inferior crus
    height -= 2.2 * _bump(radius, 0.80, 0.075) * helix_runs  # scapha
    height += 4.2 * _bump(radius, 0.95, 0.075) * helix_runs
    height += 3.2 * _bump(radius, 0.55, 0.30) * _sector(angle, 22, 44, 20)  # crus of the helix
    height += 6.0 * _bump(radius, 0.70, 0.20) * _sector(angle, 338, 372, 24)  # tragus
    height += 3.6 * _bump(radius, 0.52, 0.13) * _sector(angle, 232, 262, 26)  # antitragus
    height += 1.2 * _bump(radius, 0.80, 0.25) * lobe
    # In front, from the root of the helix to the lobe, the ear runs into the cheek.
    height -= 9.0 * smoothstep(0.74, 1.0, radius) * _sector(angle, 292, 402, 36)
    return height


def _outline() -> tuple[Array, Array]:
    """Radius in mm and angle in degrees of ``COLUMNS`` points evenly spaced along the outline."""
    from scipy.interpolate import CubicSpline

    points = np.array((*OUTLINE, OUTLINE[0]))
    knots = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    spline = CubicSpline(knots, points, bc_type="periodic")
    fine = spline(np.linspace(0, knots[-1], 2001))
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(fine, axis=0), axis=1))])
    even = np.interp(np.arange(COLUMNS) / COLUMNS * length[-1], length, np.linspace(0, knots[-1], 2001))
    place = spline(even)
    return np.linalg.norm(place, axis=1), np.rad2deg(np.arctan2(place[:, 1], place[:, 0])) % 360


def frame(normal: Array) -> tuple[Array, Array, Array]:
    """Forward, up and outward unit axes of the left ear on a head side with the outward ``normal`` [3]."""
    side = np.array((normal[0], 0.35 * normal[1], 0.35 * normal[2]))
    side /= np.linalg.norm(side)
    level = np.cross((0, 1, 0), side)
    forward = -level / np.linalg.norm(level)
    if forward[2] < 0:
        forward = -forward
    up = np.array((0, np.cos(TILT), -np.sin(TILT)))
    forward = np.cos(FLARE) * forward - np.sin(FLARE) * side
    forward -= (forward @ up) * up
    forward /= np.linalg.norm(forward)
    return forward, up, np.cross(up, forward)


def left_ear(center: Array, normal: Array) -> Part:
    """The left ear around the concha's ``center`` [3] in front of the head's side with the ``normal`` [3].

    Vertex 0 is the concha's floor, the last one lies inside the head; ``Part.twin`` gives the right ear.
    """
    forward, up, outward = frame(normal)
    edge, angle = _outline()
    rows = np.array(RINGS)[:, None]
    front = relief(
        np.broadcast_to(rows, (len(RINGS), COLUMNS)), np.broadcast_to(angle, (len(RINGS), COLUMNS))
    )
    rim = relief(np.ones(COLUMNS), angle)
    share = np.concatenate([rows, np.array([ring for ring, _ in BACK_RINGS])[:, None]])
    behind = np.array([height for _, height in BACK_RINGS])[:, None] + np.where(rim > 0, 0.5, 1.0) * rim
    height = np.concatenate([front, behind])
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    x, y = share * edge * cos, share * edge * sin
    local = np.stack([x, y, height], -1).reshape(-1, 3)
    floor = relief(np.zeros(1), np.zeros(1))[0]
    local = np.concatenate([[(0, 0, floor)], local, [(0, 0, BACK_RINGS[-1][1] - 2)]]) * 1e-3
    vertices = center + local @ np.stack([forward, up, outward])
    count, ring_count = len(vertices), len(share)
    first = 1 + np.arange(COLUMNS)
    last = count - 1 - COLUMNS + np.arange(COLUMNS)
    # Seen from outside, forward is to the left of the left ear: the columns turn clockwise.
    body = strip(ring_count, COLUMNS, closed=True, symmetric=False) + 1
    triangles = np.concatenate([fan(first[::-1], 0), body, fan(last, count - 1)])
    # The chart is the flat ear; the back continues outwards past the rim, its pole a circle.
    reach = np.concatenate([[0], np.repeat([*np.linspace(0, 0.72, len(RINGS) + 1)[1:], 0.8, 0.88, 0.95], COLUMNS),
                            np.ones(COLUMNS)])  # fmt: skip
    turn = np.deg2rad(angle)
    gap = ((np.roll(turn, -1) - turn) % (2 * np.pi)) / 2
    around = np.concatenate([[0], np.tile(turn, ring_count), turn + gap])
    uv = 0.5 + 0.5 * reach[:, None] * np.stack([np.cos(around), np.sin(around)], 1)
    uv_triangles = triangles.copy()
    back = uv_triangles[-COLUMNS:]
    back[:, 2] = count - 1 + (back[:, 0] - last[0])
    return Part(vertices, triangles, uv, uv_triangles, np.full(count, "ears"), np.arange(count),
                rigid(count, 0))  # fmt: skip
