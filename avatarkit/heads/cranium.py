"""Cranium, neck and shoulders: a grid of rings from the face's oval down to the bust.

The rings are laid over a smooth union of ellipsoids with the proportions of an adult head, and then faired
together with the face: the surface that bends least, held to the ellipsoids more the farther it is from
the oval. So face and cranium share their tangents along the oval.
"""

from __future__ import annotations

import numpy as np

from avatarkit.heads.extension import laplacian
from avatarkit.heads.parts import Array, Index, smoothstep, strip

SCALP_ROWS = 17
NECK_ROWS = 6
SHOULDER_ROWS = 6
ROWS = SCALP_ROWS + NECK_ROWS + SHOULDER_ROWS
"""Rings behind the oval; the oval itself is ring 0 and belongs to the face."""

CENTER = np.array((0.0, 0.005, -0.070))
"""A point inside the cranium from which all of it can be seen."""
NECK_TOP = ((0.0, -0.122, -0.030), (0.0, -0.075, -0.138), 0.0535)
"""Front and back point of the ring under the skull, and its half width."""
NECK_BASE = ((0.0, -0.188, -0.054), (0.0, -0.150, -0.170), 0.061)
"""The same where the neck meets the shoulders."""
BUST = ((0.0, -0.290, -0.010), (0.0, -0.290, -0.225), 0.205)
"""The same for the rim of the bust."""

ELLIPSOIDS = (
    ((0.0, 0.026, -0.070), (0.0765, 0.085, 0.0955), 0.0),  # cranium
    ((0.0, 0.004, -0.105), (0.0660, 0.066, 0.0640), 0.020),  # occiput
    ((0.0, -0.060, -0.035), (0.0600, 0.058, 0.0560), 0.020),  # jaw and cheeks
)
"""Center, semi-axes, and the radius over which each is blended with those before it."""
NECK_AXIS = ((0.0, -0.050, -0.078), (0.0, -0.240, -0.122))
NECK_RADII = (0.0535, 0.0565)
"""Half width and half depth of the neck."""
TORSO = ((0.0, -0.330, -0.118), (0.215, 0.150, 0.112))
NECK_BLEND = 0.022
TORSO_BLEND = 0.075


def signed_distance(points: Array) -> Array:
    """Approximate distance [...] in meters of ``points`` [..., 3] to the skin of the head, negative inside."""
    distance = _ellipsoid(points, *(np.array(part) for part in ELLIPSOIDS[0][:2]))
    for center, radii, blend in ELLIPSOIDS[1:]:
        distance = _union(distance, _ellipsoid(points, np.array(center), np.array(radii)), blend)
    top, bottom = (np.array(end) for end in NECK_AXIS)
    axis = bottom - top
    along = np.clip((points - top) @ axis / (axis @ axis), 0, 1)
    thick = np.array((NECK_RADII[0], NECK_RADII[0], NECK_RADII[1]))
    neck = _ellipsoid(points - along[..., None] * axis, top, thick)
    torso = _ellipsoid(points, *(np.array(part) for part in TORSO))
    return _union(_union(distance, neck, NECK_BLEND), torso, TORSO_BLEND)


def _ellipsoid(points: Array, center: Array, radii: Array) -> Array:
    local = points - center
    squared = local * local
    scaled = np.sqrt(squared @ (1 / radii**2))
    slope = np.sqrt(squared @ (1 / radii**4))
    distance: Array = scaled * (scaled - 1) / np.maximum(slope, 1e-9)
    return distance


def _union(a: Array, b: Array, blend: float) -> Array:
    """Smooth minimum: the exact one plus a fillet of about the radius ``blend``."""
    mix = np.clip(0.5 + 0.5 * (b - a) / blend, 0, 1)
    out: Array = b + (a - b) * mix - blend * mix * (1 - mix)
    return out


def project(points: Array, steps: int = 12) -> Array:
    """``points`` [N, 3] moved along the distance's gradient onto the skin."""
    h = 1e-4
    for _ in range(steps):
        distance = signed_distance(points)
        gradient = np.stack(
            [signed_distance(points + h * axis) - signed_distance(points - h * axis) for axis in np.eye(3)],
            -1,
        ) / (2 * h)
        length2 = np.maximum((gradient**2).sum(-1, keepdims=True), 0.05)
        points = points - 0.9 * distance[:, None] * gradient / length2
    return points


def cast(directions: Array, start: Array | float = 0.05, steps: int = 30) -> Array:
    """Points [..., 3] where rays from ``CENTER`` along unit ``directions`` leave the head.

    Sphere tracing from the distance ``start`` along each ray.
    """
    reach = np.broadcast_to(start, directions.shape[:-1])
    for _ in range(steps):
        reach = reach - 0.9 * signed_distance(CENTER + reach[..., None] * directions)
    return CENTER + reach[..., None] * directions


def _ring(shape: tuple[tuple[float, ...], tuple[float, ...], float], turn: Array) -> Array:
    """Ellipse [C, 3] through front and back point with a half width; ``turn`` 0 at the back, pi in front."""
    front, back = np.array(shape[0]), np.array(shape[1])
    middle, half = (front + back) / 2, (back - front) / 2
    return middle + np.cos(turn)[:, None] * half + np.sin(turn)[:, None] * np.array((shape[2], 0, 0))


def rings(oval: Array) -> Array:
    """Rings [ROWS, C, 3] behind the ``oval`` [C, 3], before fairing.

    Columns follow the oval, which starts at the middle of the forehead and turns to the person's left.
    """
    columns = len(oval)
    turn = 2 * np.pi * np.arange(columns) / columns
    neck = _ring(NECK_TOP, turn)
    # Seen from the back of the head (azimuthal equidistant), oval and neck are two loops, one inside the
    # other; straight lines between them do not cross.
    start, end = _flatten(oval - CENTER), _flatten(neck - CENTER)
    t = np.linspace(0, 1, SCALP_ROWS + 1)[1:, None, None]
    flat = (1 - t) * start + t * end
    scalp = cast(_unflatten(flat))
    for _ in range(12):  # even the spacing out along the surface
        padded = np.concatenate([oval[None], scalp, _ring(NECK_BASE, turn)[None]])
        mean = (padded[:-2] + padded[2:] + np.roll(padded, 1, 1)[1:-1] + np.roll(padded, -1, 1)[1:-1]) / 4
        ray = 0.5 * (scalp + mean)[:-1] - CENTER
        reach = np.linalg.norm(ray, axis=-1)
        scalp[:-1] = cast(ray / reach[..., None], reach, steps=4)
    last, base, bust = scalp[-1], _ring(NECK_BASE, turn), _ring(BUST, turn)
    s = np.linspace(0, 1, NECK_ROWS + 1)[1:, None, None]
    down = (1 - s) * last + s * base
    s = np.linspace(0, 1, SHOULDER_ROWS + 1)[1:, None, None]
    out = (1 - s) * base + s * bust
    below = project(np.concatenate([down, out]).reshape(-1, 3)).reshape(-1, columns, 3)
    return np.concatenate([scalp, below])


def _flatten(local: Array) -> Array:
    """Azimuthal equidistant coordinates [..., 2] around the backward direction."""
    unit = local / np.linalg.norm(local, axis=-1, keepdims=True)
    angle = np.arccos(np.clip(-unit[..., 2], -1, 1))
    radial = np.linalg.norm(unit[..., :2], axis=-1)
    flat: Array = unit[..., :2] * (angle / np.maximum(radial, 1e-9))[..., None]
    return flat


def _unflatten(flat: Array) -> Array:
    """Unit directions [..., 3] of azimuthal equidistant coordinates."""
    angle = np.linalg.norm(flat, axis=-1, keepdims=True)
    sides = flat * np.sinc(angle / np.pi)
    return np.concatenate([sides, -np.cos(angle)], -1)


def faired(vertices: Array, triangles: Index, fixed: int, rim: Index, distance: Array) -> Array:
    """Positions [N, 3] of least bending that keep the first ``fixed`` vertices and those of the ``rim``.

    ``vertices`` start out as the target; each pulls by its ``distance`` [N] (meters) from the oval: not at
    all beside it, firmly from about 5 cm on.
    """
    from scipy.sparse import diags
    from scipy.sparse.linalg import splu

    points = vertices.copy()
    for _ in range(2):
        stiffness, inverse_mass = laplacian(points, triangles)
        mass = 1 / inverse_mass.diagonal()
        pull = mass * 10 ** (2.2 + 5.3 * smoothstep(0.0, 0.06, distance))
        energy = (stiffness @ inverse_mass @ stiffness + diags(pull)).tocsc()
        free = np.setdiff1d(np.arange(fixed, len(vertices)), rim)
        still = np.setdiff1d(np.arange(len(vertices)), free)
        right = (pull[:, None] * vertices)[free] - energy[free][:, still] @ vertices[still]
        points = points.copy()
        points[free] = splu(energy[free][:, free]).solve(right)
    return points


def neck_weight(points: Array) -> Array:
    """[N] share of the torso in the skinning: 0 at the skull, 1 at the shoulders, level at both ends."""
    # Height is measured across the neck's own slant, so that nape and throat turn together.
    top = (np.array(NECK_TOP[0]) + np.array(NECK_TOP[1])) / 2
    base = (np.array(NECK_BASE[0]) + np.array(NECK_BASE[1])) / 2
    axis = np.array((0.0, -1.0, -0.42))
    height = (points - top) @ axis / ((base - top) @ axis)
    return smoothstep(-0.25, 1.25, height)


def grid_triangles(oval: Index, first: int) -> Index:
    """Triangles of the rings: ring 0 are the vertices ``oval`` [C], the others follow from ``first`` on."""
    columns = len(oval)
    names = np.concatenate([oval, first + np.arange(ROWS * columns)])
    return names[strip(ROWS + 1, columns, closed=True)]
