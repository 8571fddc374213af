"""Procedural appearance of the built-in head: what its texture atlas holds, painted from landmarks and noise.

Colors are linear RGB albedo. Skin follows the two-pigment picture (Tsumura et al., 1999): melanin and hemoglobin
each darken a pale base by their own absorption, so that blush, freckles and lids are amounts and not colors.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.heads import landmarks
from avatarkit.heads.model import HeadModel
from avatarkit.rendering.noise import bake, bleed, noise

Array = NDArray[np.float32]

_PALE = np.array([0.88, 0.66, 0.53], np.float32)
_MELANIN = np.array([0.42, 0.85, 1.25], np.float32)
_HEMOGLOBIN = np.array([0.16, 0.92, 0.78], np.float32)
_FLAT = {
    "teeth": (0.74, 0.68, 0.57), "gums": (0.42, 0.13, 0.12), "tongue": (0.45, 0.15, 0.14),
    "mouth": (0.34, 0.095, 0.085), "sclera": (0.72, 0.69, 0.66), "iris": (0.12, 0.08, 0.05), "pupil": (0.0, 0.0, 0.0),
    "sockets": (0.35, 0.12, 0.10),
}  # fmt: skip

EYES = (
    (landmarks.LID_UPPER_LEFT, landmarks.LID_LOWER_LEFT),
    (landmarks.LID_UPPER_RIGHT, landmarks.LID_LOWER_RIGHT),
)
"""(upper, lower) lid of the left and of the right eye, outer to inner corner."""
BROWS = (
    (landmarks.BROW_LEFT[:4:-1], landmarks.BROW_LEFT[:5]),
    (landmarks.BROW_RIGHT[:4:-1], landmarks.BROW_RIGHT[:5]),
)
"""(lower, upper) edge of the left and of the right brow, tail to head."""


class Frontal:
    """A soft drawing over the face as seen from the front, sampled at points of the rest head."""

    SCALE = 5000.0  # pixels per meter: 0.2 mm
    ORIGIN = (-0.11, 0.11)  # x, y of the upper left corner
    SIZE = (1100, 1300)  # width, height

    def __init__(self) -> None:
        self.image = np.zeros(self.SIZE[::-1], np.float32)

    def pixels(self, points: Array) -> Array:
        """[N, 2] pixel places of head-space ``points`` [N, >= 2]."""
        return np.stack(
            [(points[:, 0] - self.ORIGIN[0]) * self.SCALE, (self.ORIGIN[1] - points[:, 1]) * self.SCALE], 1
        ).astype(np.float32)

    def fill(self, outline: Array, value: float = 1.0) -> Frontal:
        """Fill the smooth closed curve through ``outline`` [N, >= 2]."""
        fixed = np.round(self.pixels(spline(outline, closed=True)) * 16).astype(np.int32)
        cv2.fillPoly(self.image, [fixed], value, cv2.LINE_AA, 4)
        return self

    def stroke(self, line: Array, width: float, value: float = 1.0) -> Frontal:
        """Draw the smooth curve through ``line`` [N, >= 2], ``width`` meters wide."""
        fixed = np.round(self.pixels(spline(line)) * 16).astype(np.int32)
        cv2.polylines(self.image, [fixed], False, value, max(round(width * self.SCALE), 1), cv2.LINE_AA, 4)
        return self

    def blurred(self, sigma: float) -> Frontal:
        """Blur the drawing so far by ``sigma`` meters."""
        self.image = cv2.GaussianBlur(self.image, (0, 0), sigma * self.SCALE)
        return self

    def at(self, points: Array) -> Array:
        """Values [N] at ``points`` [N, 3]."""
        place = self.pixels(points)
        rows = -(-len(place) // 1024)  # OpenCV limits the length of a row
        square = np.zeros((rows * 1024, 2), np.float32)
        square[: len(place)] = place
        values = cv2.remap(self.image, square.reshape(rows, 1024, 2), None, cv2.INTER_LINEAR)
        return np.asarray(values, np.float32).reshape(-1)[: len(place)]


def spline(points: Array, closed: bool = False, steps: int = 8) -> Array:
    """Catmull-Rom curve through ``points`` [N, D]: [M, D]."""
    p = np.concatenate([points[-1:], points, points[:2]]) if closed else np.concatenate(
        [2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]]
    )  # fmt: skip
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    pieces = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(p[:-3], p[1:-2], p[2:-1], p[3:], strict=True)
    ]
    return np.concatenate(pieces if closed else [*pieces, points[-1:]]).astype(np.float32)


def _bump(points: Array, center: Array, radius: tuple[float, float], up: float = 0.0) -> Array:
    """An elliptic Gaussian [N] over x and y of ``points`` [N, 3], ``up`` meters above ``center``."""
    d = (points[:, :2] - center[:2] - np.array([0, up], np.float32)) / np.array(radius, np.float32)
    soft: Array = np.exp(-0.5 * (d * d).sum(1))
    return soft


def hairiness(points: Array) -> Array:
    """How much of the scalp at rest-head ``points`` [N, 3] is covered by hair: [N] in [0, 1], soft at the hairline.

    The hairline as a height over depth: forehead, temple, over the ear, nape.
    """
    line = np.interp(points[:, 2], _HAIRLINE[0], _HAIRLINE[1])
    ragged = 0.0025 * noise(points, 120.0, 2, 9)
    soft: Array = np.clip((points[:, 1] - line + ragged) / 0.006 + 0.5, 0, 1).astype(np.float32)
    return soft


_HAIRLINE = ((-0.16, -0.13, -0.10, -0.075, -0.055, -0.035, -0.015, 0.010, 0.040),
             (-0.095, -0.085, -0.055, -0.015, 0.000, 0.030, 0.052, 0.064, 0.072))  # fmt: skip
"""z from the nape to the forehead, and the hairline's y there."""


def skin(points: Array, normals: Array, mark: Array) -> tuple[Array, Array]:
    """Albedo [N, 3] and gloss [N] of skin at rest-head ``points`` [N, 3]; ``mark`` [478, 3] are its landmarks."""
    front = (np.clip((normals[:, 2] + 0.1) / 0.4, 0, 1) * np.clip((points[:, 2] + 0.03) / 0.03, 0, 1)).astype(
        np.float32
    )
    broad, middle = noise(points, 30.0, 3, 1), noise(points, 160.0, 3, 2)
    grain, pores = noise(points, 700.0, 2, 3), noise(points, 1300.0, 1, 4)
    melanin = 0.27 + 0.035 * broad + 0.02 * middle + 0.014 * grain
    hemoglobin = 0.20 + 0.035 * broad + 0.028 * middle + 0.018 * grain
    for cheek in (mark[425], mark[205]):
        flush = _bump(points, cheek, (0.020, 0.016), up=0.006)
        hemoglobin = hemoglobin + front * (0.17 + 0.05 * middle) * flush
    hemoglobin = hemoglobin + front * 0.13 * _bump(points, mark[4], (0.012, 0.010))
    hemoglobin = hemoglobin + front * 0.06 * _bump(points, mark[199], (0.014, 0.010))
    ears = np.clip((np.abs(points[:, 0]) - 0.078) / 0.006, 0, 1)
    hemoglobin = hemoglobin + 0.16 * ears * np.clip(1 - np.abs(points[:, 1] + 0.02) / 0.06, 0, 1)
    # lids and the hollow beneath them: thin skin, a little darker and redder
    for upper, lower in EYES:
        center = (mark[list(upper)].mean(0) + mark[list(lower)].mean(0)) / 2
        around = _bump(points, center, (0.018, 0.0085), up=0.002)
        hemoglobin = hemoglobin + front * 0.16 * around
        melanin = melanin + front * 0.07 * around
        melanin = melanin + front * 0.05 * _bump(points, center, (0.013, 0.004), up=-0.013)
    spots = np.clip(noise(points, 480.0, 1, 5) - 0.66, 0, 1) * np.clip(0.75 + noise(points, 60.0, 1, 6), 0, 1)
    freckled = _bump(points, mark[6], (0.036, 0.013), up=-0.018) + 0.18
    melanin = melanin + front * 0.55 * spots * freckled
    pore = np.clip(pores, 0, 1.5) * (0.4 + 0.6 * _bump(points, mark[5], (0.035, 0.03)))
    melanin = melanin + 0.030 * pore
    gloss = 0.55 + 0.10 * broad - 0.22 * np.abs(grain) - 0.18 * pore
    for shiny, size in ((mark[4], (0.010, 0.012)), (mark[151], (0.030, 0.018)), (mark[17], (0.012, 0.004))):
        gloss = gloss + 0.30 * front * _bump(points, shiny, size)
    for bone in (mark[347], mark[118]):
        gloss = gloss + 0.22 * front * _bump(points, bone, (0.014, 0.010))
    albedo = _pigmented(melanin, hemoglobin)
    albedo = _nose(points, mark, normals, albedo)
    albedo, gloss = _lips(points, mark, front, albedo, gloss)
    albedo = _eyes_and_brows(points, mark, front, albedo)
    return albedo.astype(np.float32), np.clip(gloss, 0.05, 2).astype(np.float32)


def _pigmented(melanin: Array, hemoglobin: Array) -> Array:
    out: Array = _PALE * np.exp(-melanin[:, None] * _MELANIN - hemoglobin[:, None] * _HEMOGLOBIN)
    return out


def _lips(points: Array, mark: Array, front: Array, albedo: Array, gloss: Array) -> tuple[Array, Array]:
    amount = front * Frontal().fill(mark[list(landmarks.LIPS_OUTER)]).blurred(0.0007).at(points)
    seam = front * Frontal().stroke(mark[[78, 81, 13, 311, 308]], 0.0016).blurred(0.0007).at(points)
    lines = noise(points * np.array([1, 0.12, 0.12], np.float32), 650.0, 2, 8)
    color = _pigmented(0.26 + 0.03 * lines, 0.92 + 0.10 * lines + 0.9 * seam)
    color = color * np.array([0.88, 0.80, 0.84], np.float32)
    border = (
        front * Frontal().fill(mark[list(landmarks.LIPS_OUTER)]).blurred(0.0022).at(points) * (1 - amount)
    )
    albedo = albedo * (1 - 0.10 * border[:, None])
    mixed = albedo + (color - albedo) * (0.92 * amount)[:, None]
    return mixed, gloss + amount * (0.55 - 0.25 * np.abs(lines) - gloss * 0.4)


def _nose(points: Array, mark: Array, normals: Array, albedo: Array) -> Array:
    """Nostrils, which the mesh does not have, and the crease around the wings."""
    holes, crease = Frontal(), Frontal()
    for wing, side in ((mark[327], 1.0), (mark[98], -1.0)):
        center = 0.52 * mark[2] + 0.48 * wing + np.array([0, 0.0022, 0])
        turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        across, along = 0.0036 * np.cos(turn), 0.0017 * np.sin(turn)
        slope = 0.30 * side
        holes.fill(center + np.stack([across, along + slope * across * -1, 0 * turn], 1))
    for line in ((358, 331, 294, 327), (129, 102, 64, 98)):
        crease.stroke(mark[list(line)], 0.0016)
    under = np.clip((0.62 - normals[:, 1]) / 0.5, 0, 1)
    dark = 0.93 * under * holes.blurred(0.0006).at(points)
    soft = 0.22 * crease.blurred(0.0012).at(points)
    tint = np.array([0.75, 1.0, 1.0], np.float32)
    shaded: Array = (
        albedo * (1 - np.clip(dark, 0, 1)[:, None] * (tint * 0.25 + 0.75)) * (1 - soft[:, None] * tint)
    )
    return shaded


def _eyes_and_brows(points: Array, mark: Array, front: Array, albedo: Array) -> Array:
    line, brow = Frontal(), Frontal()
    for upper, lower in EYES:
        line.stroke(mark[list(upper)], 0.0012, 1.0)
        line.stroke(mark[list(lower)], 0.0006, 0.45)
    for low, high in BROWS:
        low_line, high_line = mark[list(low)], mark[list(high)]
        # mediapipe's brow band is taller than the hair in it
        outline = np.concatenate(
            [low_line * 0.9 + high_line * 0.1, (low_line * 0.25 + high_line * 0.75)[::-1]]
        )
        brow.fill(outline)
    dark = np.array([0.045, 0.026, 0.018], np.float32)
    lid = (0.75 * front * line.blurred(0.00035).at(points))[:, None]
    albedo = albedo + (dark - albedo) * np.clip(lid, 0, 1)
    hair = (0.45 * front * brow.blurred(0.0014).at(points))[:, None]
    mixed: Array = albedo + (dark - albedo) * np.clip(hair, 0, 1)
    return mixed


def cavity(head: HeadModel) -> Array:
    """How deep each vertex [V] lies below its neighbors, in edge lengths: grooves between teeth, folds, creases."""
    ends = np.concatenate([head.triangles[:, [0, 1, 2]].ravel(), head.triangles[:, [1, 2, 0]].ravel()])
    starts = np.concatenate([head.triangles[:, [1, 2, 0]].ravel(), head.triangles[:, [0, 1, 2]].ravel()])
    offset = head.vertices[starts] - head.vertices[ends]
    count = np.maximum(np.bincount(ends, minlength=len(head)), 1)
    mean = np.stack([np.bincount(ends, offset[:, k], len(head)) for k in range(3)], 1) / count[:, None]
    edge = np.bincount(ends, np.linalg.norm(offset, axis=1), len(head)) / count
    depth: Array = ((mean * head.normals()).sum(1) / np.maximum(edge, 1e-6)).astype(np.float32)
    return depth


def paint(head: HeadModel, size: int = 1024) -> Array:
    """The atlas [size, size, 4] of ``head``: linear albedo and gloss, by region, without seams."""
    kinds = np.eye(len(head.region_names), dtype=np.float32)[head.region]
    attributes = np.concatenate([head.vertices, head.normals(), cavity(head)[:, None], kinds], 1)
    baked, covered = bake(head.uv, head.uv_triangles, head.triangles, attributes, size)
    texels = baked[covered]
    points, normals, deep, share = texels[:, :3], texels[:, 3:6], texels[:, 6], texels[:, 7:]
    share = share / np.maximum(share.sum(1, keepdims=True), 1e-6)
    flat = np.zeros((len(texels), 3), np.float32)
    flat_share = np.zeros(len(texels), np.float32)
    for i, name in enumerate(head.region_names):
        for key, color in _FLAT.items():
            if name.lower().startswith(key) or name.lower().endswith(key):
                flat += share[:, i : i + 1] * np.array(color, np.float32)
                flat_share += share[:, i]
                break
    wanted = flat_share < 0.999
    albedo, gloss = flat.copy(), np.full(len(texels), 0.6, np.float32)
    mark = head.vertices[head.landmarks]
    bare, shine = skin(points[wanted], normals[wanted], mark)
    hairy = 0.93 * hairiness(points[wanted])[:, None]
    bare = bare + (np.array([0.030, 0.017, 0.010], np.float32) - bare) * hairy
    keep = (1 - flat_share[wanted])[:, None]
    albedo[wanted] += keep * bare
    gloss[wanted] = shine
    shaded = np.clip(deep - 0.04, 0, 0.5)
    albedo *= np.exp(-shaded[:, None] * np.array([2.6, 3.4, 3.6], np.float32))
    atlas = np.zeros((size, size, 4), np.float32)
    atlas[covered] = np.concatenate([albedo, gloss[:, None]], 1)
    return bleed(atlas, covered)
