"""A drawn frontal face: the only picture the face template is made from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SIZE = 512
"""Pixels of the square picture."""
MM_PER_PIXEL = 0.62
EYE_ROW = 0.45
"""Height of the eyes in the picture, as a fraction from the top."""

# Adult averages in millimeters (Farkas, Anthropometry of the Head and Face, 1994), rounded between the
# sexes; x from the midline, y up from the line through the pupils.
PUPIL = 31.5
FISSURE = (15.0, 5.2)
"""Half width and half height of the eye's opening."""
IRIS = 5.85
BROW_Y = 20.0
NOSE_TIP_Y = -41.0
NOSE_BASE_Y = -50.0
NOSE_HALF = 17.0
MOUTH_Y = -71.0
MOUTH_HALF = 25.0
CHIN_Y = -114.0
FACE_HALF = 68.0

SKIN = np.array([224.0, 178.0, 152.0])
LIP = np.array([176.0, 92.0, 88.0])
HAIR = np.array([62.0, 44.0, 34.0])
BROW = np.array([84.0, 60.0, 46.0])
WALL = np.array([168.0, 176.0, 184.0])
SHIRT = np.array([86.0, 104.0, 128.0])


def drawn_face() -> NDArray[np.uint8]:
    """The picture [SIZE, SIZE, 3] RGB: a shaded, exactly left-right symmetric face with closed lips."""
    step = (np.arange(SIZE) + 0.5) * MM_PER_PIXEL
    x = np.abs(step - SIZE * MM_PER_PIXEL / 2)[None, :].repeat(SIZE, 0)
    y = (SIZE * MM_PER_PIXEL * EYE_ROW - step)[:, None].repeat(SIZE, 1)
    picture = np.broadcast_to(WALL, (SIZE, SIZE, 3)).copy()
    _blend(picture, HAIR, _inside(x, y, 0, 22, 84, 104))
    _blend(picture, SKIN * 0.93, _inside(x, y, 74, -14, 9, 28))
    neck = _soft(46 + 0.002 * np.square(y + 125) - x) * _soft(-90 - y)
    _blend(picture, SKIN * 0.72, neck)
    _blend(picture, SHIRT, _inside(x, y, 0, -245, 150, 95))
    _blend(picture, SKIN[None, None] * _shading(x, y)[..., None], _face_mask(x, y))
    _draw_eyes(picture, x, y)
    _draw_brows(picture, x, y)
    _draw_mouth(picture, x, y)
    _draw_nose(picture, x, y)
    hairline = _soft(y - 74 + 0.006 * np.square(x)) * _inside(x, y, 0, 22, 84, 104)
    _blend(picture, HAIR, hairline)
    return np.clip(picture, 0, 255).round().astype(np.uint8)


def _soft(distance: Array, width: float = 1.2) -> Array:
    """1 where ``distance`` [...] is positive, 0 where negative, with an edge ``width`` mm wide."""
    return 1 / (1 + np.exp(-np.clip(distance / (0.3 * width), -40, 40)))


def _inside(x: Array, y: Array, cx: float, cy: float, a: float, b: float, width: float = 1.2) -> Array:
    """Soft mask of the ellipse about (cx, cy) with half axes a, b."""
    radius = np.sqrt(np.square((x - cx) / a) + np.square((y - cy) / b))
    return _soft((1 - radius) * min(a, b), width)


def _blob(x: Array, y: Array, cx: float, cy: float, a: float, b: float) -> Array:
    """Gaussian bump of height 1."""
    bump: Array = np.exp(-0.5 * (np.square((x - cx) / a) + np.square((y - cy) / b)))
    return bump


def _blend(picture: Array, color: Array, mask: Array) -> None:
    picture += mask[..., None] * (color - picture)


def _half_width(y: Array) -> Array:
    """Half width of the face at height y: an ellipse above the cheekbones, a superellipse down to the chin."""
    below = np.clip(y / CHIN_Y, 0, 1)
    above = np.clip(y / 96.0, 0, 1)
    width: Array = FACE_HALF * np.where(
        y < 0, np.power(1 - np.power(below, 2.7), 1 / 1.9), np.sqrt(1 - np.square(above))
    )
    return width


def _face_mask(x: Array, y: Array) -> Array:
    return _soft(_half_width(y) - x) * _soft(y - CHIN_Y) * _soft(94 - y)


def _shading(x: Array, y: Array) -> Array:
    """Brightness of the skin: light from above, falling off to the sides, relief of the features."""
    radius = x / np.maximum(_half_width(y), 1)
    shade = 1.06 - 0.36 * np.power(np.clip(radius, 0, 1.2), 3.2) + 0.0006 * y
    shade -= 0.20 * _blob(x, y, PUPIL - 2, 5, 17, 9)  # sockets
    shade -= 0.13 * _blob(x, y, 14, 2, 5, 9)  # sides of the nasal root
    shade += 0.10 * _blob(x, y, 0, -20, 4, 22)  # nasal bridge
    shade -= 0.09 * _blob(x, y, 11, -24, 3.5, 15)
    shade += 0.12 * _blob(x, y, 0, NOSE_TIP_Y, 6, 6)
    shade += 0.08 * _blob(x, y, 42, -30, 14, 12)  # cheekbones
    shade -= 0.08 * _blob(x, y, 29, -58, 4, 14)  # nasolabial fold
    shade -= 0.14 * _blob(x, y, 0, -85, 17, 4)  # mentolabial fold
    shade += 0.07 * _blob(x, y, 0, -99, 14, 8)  # chin
    shade -= 0.06 * _blob(x, y, 0, -58, 3, 6)  # philtrum
    return shade


def _draw_eyes(picture: Array, x: Array, y: Array) -> None:
    u = (x - PUPIL) / FISSURE[0]
    # The outer corner lies 1.5 mm higher; the upper lid peaks nasally, the lower one temporally.
    arch = np.sqrt(np.clip(1 - np.square(u), 0, 1))
    upper = FISSURE[1] * 1.12 * np.power(arch, 0.9) * (1 - 0.12 * u) + 0.75 * u
    lower = -FISSURE[1] * 0.85 * np.power(arch, 1.2) * (1 + 0.12 * u) + 0.75 * u
    opening = _soft(upper - y, 0.9) * _soft(y - lower, 0.9) * _soft(1.0 - np.abs(u), 0.06)
    _blend(picture, np.array([238.0, 232.0, 228.0]) - 40 * np.abs(u)[..., None], opening)
    disc = opening * _inside(x, y, PUPIL, 0.2, IRIS, IRIS, 0.8)
    _blend(picture, np.array([92.0, 70.0, 50.0]), disc)
    _blend(picture, np.array([18.0, 14.0, 12.0]), opening * _inside(x, y, PUPIL, 0.2, 2.4, 2.4, 0.8))
    _blend(picture, np.array([250.0, 250.0, 250.0]), opening * _inside(x, y, PUPIL, 2.4, 0.9, 0.9, 0.8))
    near = _soft(1.04 - np.abs(u), 0.06)
    lash = near * np.exp(-0.5 * np.square((y - upper - 0.4) / 0.7))
    _blend(picture, np.array([40.0, 28.0, 24.0]), 0.9 * lash)
    rim = near * np.exp(-0.5 * np.square((y - lower + 0.3) / 0.6))
    _blend(picture, np.array([150.0, 100.0, 88.0]), 0.5 * rim)
    crease = near * np.exp(-0.5 * np.square((y - upper - 4.2) / 0.7))
    _blend(picture, SKIN * 0.62, 0.55 * crease)


def _draw_brows(picture: Array, x: Array, y: Array) -> None:
    t = np.clip((x - 12) / 42, 0, 1)
    middle = BROW_Y - 3.5 + 8.0 * np.sin(0.8 * np.pi * np.power(t, 0.9)) - 4.0 * np.square(t)
    thick = 3.6 * (1 - 0.65 * t)
    mask = _soft(thick - np.abs(y - middle), 2.0) * _soft(x - 12, 3.0) * _soft(54 - x, 3.0)
    _blend(picture, BROW, 0.85 * mask)


def _draw_mouth(picture: Array, x: Array, y: Array) -> None:
    u = np.clip(x / MOUTH_HALF, 0, 1)
    line = MOUTH_Y - 0.8 * np.square(u) + 0.8 * np.exp(-0.5 * np.square(x / 5))
    bow = 1 - 0.16 * np.exp(-0.5 * np.square(x / 3.2)) + 0.06 * np.exp(-0.5 * np.square((x - 6) / 3))
    top = line + 8.0 * bow * np.power(1 - np.power(u, 1.6), 0.9)
    bottom = line - 9.5 * np.power(1 - np.power(u, 2.0), 0.8)
    side = _soft(MOUTH_HALF - x)
    upper = _soft(top - y) * _soft(y - line) * side
    lower = _soft(line - y) * _soft(y - bottom) * side
    _blend(picture, LIP * 0.86, upper)
    _blend(picture, LIP * (1.02 + 0.2 * _blob(x, y, 0, MOUTH_Y - 5, 10, 2))[..., None], lower)
    seam = _soft(MOUTH_HALF + 1 - x) * np.exp(-0.5 * np.square((y - line) / 0.8))
    _blend(picture, np.array([70.0, 30.0, 32.0]), 0.85 * seam)


def _draw_nose(picture: Array, x: Array, y: Array) -> None:
    nostril = _inside(x, y, 7.5, NOSE_BASE_Y + 2.0, 3.8, 1.8)
    _blend(picture, np.array([84.0, 48.0, 42.0]), 0.85 * nostril)
    radius = np.sqrt(np.square((x - 12.0) / 1.0) + np.square((y - NOSE_BASE_Y - 5.5) / 1.25))
    wing = np.exp(-0.5 * np.square((radius - 5.4) / 0.8)) * _soft(x - 13.0, 3.0)
    _blend(picture, SKIN * 0.6, 0.6 * wing)
    base = _soft(NOSE_HALF - x, 4.0) * np.exp(-0.5 * np.square((y - NOSE_BASE_Y + 0.5) / 1.3))
    _blend(picture, SKIN * 0.66, 0.5 * base)
