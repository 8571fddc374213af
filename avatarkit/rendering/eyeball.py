"""How an eye looks, pixel by pixel: iris fibers, limbus, veins, the lid's shadow and the studio's softbox."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from avatarkit.rendering.noise import noise

Array = NDArray[np.float32]

IRIS_RADIUS = 0.00585
PUPIL = 0.36  # share of the iris
_RINGS, _SPOKES = 64, 512


@cache
def _iris() -> Array:
    """Polar chart of the iris' albedo [rings, spokes, 3], pupil's edge first."""
    radius = np.linspace(PUPIL, 1, _RINGS)[:, None]
    turn = np.linspace(0, 2 * np.pi, _SPOKES, endpoint=False)[None]
    x, y = np.broadcast_arrays(np.cos(turn) + 0 * radius, np.sin(turn) + 0 * radius)
    spokes = np.stack([x * 3, y * 3, 0.25 * radius + 0 * x], -1).reshape(-1, 3).astype(np.float32)
    fibers = noise(spokes, 3.2, 3, 21).reshape(x.shape)
    blots = noise((spokes * np.array([1, 1, 6], np.float32)), 0.8, 2, 22).reshape(x.shape)
    share = (radius - PUPIL) / (1 - PUPIL)
    collarette = np.exp(-(((share - 0.22 - 0.05 * blots) / 0.14) ** 2))
    outer, inner = np.array([0.105, 0.150, 0.125]), np.array([0.30, 0.155, 0.05])
    color = outer * (1 + 0.55 * fibers[..., None]) + (inner - outer) * (0.75 * collarette)[..., None]
    color = color * (1 - 0.55 * np.clip((share - 0.72) / 0.28, 0, 1) ** 1.6)[..., None]
    chart: Array = np.clip(color, 0.004, 1).astype(np.float32)
    return chart


def albedo(rest: Array, side: float) -> tuple[Array, Array]:
    """Linear albedo [N, 3] and iris share [N] at ``rest`` [N, 3]: meters from the eyeball's center, looking along +z.

    ``side`` is +1 for the person's left eye: where the nose lies decides where the sclera reddens.
    """
    reach = np.hypot(rest[:, 0], rest[:, 1]) / IRIS_RADIUS
    front = rest[:, 2] > 0
    inside = np.where(front, np.clip((1.03 - reach) / 0.07, 0, 1), 0)
    ring = np.clip((reach - PUPIL) / (1 - PUPIL), 0, 0.999) * _RINGS
    spoke = (np.arctan2(rest[:, 1], rest[:, 0]) / (2 * np.pi) % 1.0) * _SPOKES
    iris = _iris()[ring.astype(int), spoke.astype(int) % _SPOKES]
    iris = iris * np.clip((reach - PUPIL + 0.03) / 0.06, 0.02, 1)[:, None]
    veins = np.clip(
        1 - np.abs(noise(rest * np.array([0.5, 1.4, 0.5], np.float32), 420.0, 2, 23)) / 0.10, 0, 1
    )
    away = np.clip((np.abs(rest[:, 0]) - 0.0055) / 0.006, 0, 1)
    nasal = np.clip((-side * rest[:, 0] - 0.0075) / 0.004, 0, 1)
    red = np.clip(0.05 + 0.14 * veins * away + 0.20 * away**2 + 0.45 * nasal, 0, 1)
    sclera = np.array([0.70, 0.66, 0.63]) * (1 - red[:, None] * np.array([0.12, 0.62, 0.60]))
    mixed = sclera + (iris - sclera) * inside[:, None]
    return mixed.astype(np.float32), inside.astype(np.float32)


def shine(normal: Array, rest_direction: Array, optical: Array, view: Array, towards: Array) -> Array:
    """How much of a square softbox around ``towards`` [3] the cornea mirrors: [N] in [0, 1].

    ``normal`` [N, 3] and ``view`` [N, 3] are unit vectors in the camera's frame, ``optical`` [3] the gaze there;
    ``rest_direction`` [N, 3] tells how far off the optical axis a point lies: the cornea is rounder than the globe.
    """
    off = np.hypot(rest_direction[:, 0], rest_direction[:, 1])
    bulge = np.clip(1.0 - off / 0.62, 0, 1) ** 0.5
    tilt = normal - optical * np.sum(normal * optical, 1, keepdims=True)
    cornea = normal + 0.55 * bulge[:, None] * tilt
    cornea /= np.maximum(np.linalg.norm(cornea, axis=1, keepdims=True), 1e-6)
    mirrored = 2 * np.sum(cornea * view, 1, keepdims=True) * cornea - view
    right = np.cross(np.array([0, 1.0, 0]), towards)
    right /= np.linalg.norm(right)
    up = np.cross(towards, right)
    edge = np.maximum(np.abs(mirrored @ right), np.abs(mirrored @ up))
    soft: Array = np.clip((0.26 - edge) / 0.06, 0, 1) * (mirrored @ towards > 0)
    return soft.astype(np.float32)
