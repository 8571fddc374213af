"""Eyes behind the lids: the photo's own, completed where its lids hide them, with an iris that moves."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.data.plate import pull_push
from avatarkit.heads import landmarks as marks
from avatarkit.methods.photo.patches import Image, Region, blend, polygon_mask, region
from avatarkit.methods.photo.rules import eye_axes

Array = NDArray[np.float64]
Float = NDArray[np.float32]
LOOPS = (marks.EYE_RIGHT, marks.EYE_LEFT)
IRIS = (marks.IRIS_RIGHT, marks.IRIS_LEFT)
DIM, BRIGHT = 0.6, 0.85
"""Brightness against the white of an eye up to which what lies there is lash or shadow, and from which it is white."""
SHADE = 0.07
"""Reach of the upper lid's shadow, in eye widths."""
STIFF, YIELD = 1.15, 0.3
"""The iris moves rigidly within so many of its radii; from there motion fades over so much of the eye's width."""


class Eye:
    """One eye of the photo as a texture with room around it."""

    def __init__(self, photo: Image, landmarks: Array, eye: int) -> None:
        """``photo`` [H, W, 3], its ``landmarks`` [478, 3], ``eye`` 0 (right) or 1 (left)."""
        self.eye = eye
        middle, along, _ = eye_axes(landmarks, eye)
        self.size = float(np.linalg.norm(along))
        reach = round(0.9 * self.size) + 2
        self.origin = np.floor(middle).astype(int) - reach
        height, width = photo.shape[:2]
        rows = np.clip(np.arange(self.origin[1], self.origin[1] + 2 * reach), 0, height - 1)
        columns = np.clip(np.arange(self.origin[0], self.origin[0] + 2 * reach), 0, width - 1)
        patch = np.ascontiguousarray(photo[rows[:, None], columns]).astype(np.float32)
        local = landmarks[:, :2] - self.origin
        self.center = local[IRIS[eye][0]]
        rim = local[list(IRIS[eye][1:])]
        self.radius = float(np.linalg.norm(rim - self.center, axis=1).mean())
        self.texture = _completed(patch, local[list(LOOPS[eye])], self.center, self.radius)
        self.axes = self._axes(landmarks)
        self.gaze = self.axes @ np.append(landmarks[IRIS[eye][0], :2], 1)
        self.back = np.linalg.inv(self.axes[:, :2])
        self.start = -self.back @ self.axes[:, 2] - self.origin - 0.5
        self.shadow = self._shadow(photo, landmarks)

    def _axes(self, landmarks: Array) -> Array:
        """[2, 3] from pixels to coordinates of the eye, in eye widths."""
        middle, along, across = eye_axes(landmarks, self.eye)
        linear = np.linalg.inv(np.column_stack([along, across]))
        return np.column_stack([linear, -linear @ middle])

    def draw(self, frame: Image, landmarks: Array) -> None:
        """Draw into ``frame`` [H, W, 3] inside the lids of ``landmarks`` [478, 3]."""
        seen = self._seen(landmarks, *frame.shape[:2])
        if seen is None:
            return
        part, color = seen
        blend(frame, part, color * (1 - self.shadow * self._under_lid(part))[..., None])

    def _shadow(self, photo: Image, landmarks: Array) -> float:
        """How much darker than its white the eye of the photo is right under its upper lid (least squares)."""
        seen = self._seen(landmarks, *photo.shape[:2])
        if seen is None:
            return 0.0
        part, color = seen
        full = color.mean(-1) * self._under_lid(part) * part.mask
        missing = (color - photo[part.slices]).mean(-1) * part.mask
        return float(np.clip((full * missing).sum() / max(float(np.square(full).sum()), 1e-6), 0, 0.8))

    def _under_lid(self, part: Region) -> Float:
        """[h, w] 1 right under the upper lid, 0 where its shadow ends."""
        reach = SHADE * self.size
        open_above = cv2.GaussianBlur(part.mask, (0, 0), max(0.6, reach))
        down = max(1, round(reach))
        open_above[down:] = open_above[:-down].copy()
        return np.asarray(1 - open_above, np.float32)

    def _seen(self, landmarks: Array, height: int, width: int) -> tuple[Region, Float] | None:
        """The part of an [height, width] frame inside the lids, and the eyeball in it [h, w, 3]."""
        part = region(landmarks[list(LOOPS[self.eye]), :2], height, width, soft=0.6)
        if part is None:
            return None
        axes = self._axes(landmarks)
        iris = axes @ np.append(landmarks[IRIS[self.eye][0], :2], 1)
        shift = iris - self.gaze
        x, y = part.grid()
        off = axes.copy()
        off[:, 2] -= iris
        away = np.sqrt(_affine(off[0], x, y) ** 2 + _affine(off[1], x, y) ** 2)
        fade = np.clip((1 + STIFF * self.radius / self.size / YIELD) - away / np.float32(YIELD), 0, 1)
        fade *= fade * (3 - 2 * fade)
        # To the eye's coordinates, back by the gaze, and on to the texture: one affine map and the faded shift.
        onto = self.back @ axes
        onto[:, 2] += self.start
        u, v = _affine(onto[0], x, y), _affine(onto[1], x, y)
        by = (self.back @ shift).astype(np.float32)
        u -= by[0] * fade
        v -= by[1] * fade
        return part, cv2.remap(self.texture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _affine(row: Array, x: Float, y: Float) -> Float:
    """[h, w] of a map's ``row`` [3] at ``x`` [1, w] and ``y`` [h, 1]."""
    return np.asarray((row[0] * x + row[2]).astype(np.float32) + (row[1] * y).astype(np.float32))


def _completed(patch: Float, loop: Array, center: Array, radius: float) -> Float:
    """``patch`` [S, S, 3] with iris and white continued under the lids (``loop`` [P, 2])."""
    size = patch.shape[0]
    inside = polygon_mask(loop, size, size)
    thin = cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    known = thin if thin.sum() > 0.3 * inside.sum() else inside
    y, x = np.mgrid[:size, :size] + 0.5
    away = np.hypot(x - center[0], y - center[1]).astype(np.float32)
    beside = known & (away > 1.2 * radius)
    if beside.sum() > 4:
        # Lashes and the lid's shadow belong to the lid: an eye that opens wider is white there.
        usual = float(np.percentile(patch[beside].mean(-1), 80))
        white = pull_push(patch, beside * _whiteness(patch, usual))
        # In full light it is as bright as where the photo shows it brightest.
        white *= min(
            float(np.percentile(patch[beside].mean(-1), 95)) / max(float(white[inside].mean()), 1.0), 1.3
        )
    else:
        white = np.full_like(patch, _pale(patch, inside))
    iris = _by_radius(patch, known, away, radius)
    disk = np.clip((radius + 0.5 - away) / 1.5, 0, 1)[..., None]
    made = white + disk * (iris - white)
    share = cv2.GaussianBlur(known.astype(np.float32), (0, 0), 0.7)[..., None] * known[..., None]
    share = share * np.maximum(disk, _whiteness(patch, white.mean(-1))[..., None])
    return np.asarray(made + share * (patch - made), np.float32)


def _whiteness(patch: Float, white: Float | float) -> Float:
    """[S, S] 1 where ``patch`` [S, S, 3] is about as bright as ``white``, 0 where it is much darker."""
    share = patch.mean(-1) / np.maximum(white, 1e-3)
    return np.asarray(np.clip((share - DIM) / (BRIGHT - DIM), 0, 1), np.float32)


def _by_radius(patch: Float, known: NDArray[np.bool_], away: Float, radius: float) -> Float:
    """[S, S, 3] the mean known color at each pixel's distance from the iris's center."""
    steps = max(3, round(radius))
    ring = np.clip((away / max(radius, 1e-3) * steps).astype(int), 0, steps)
    chosen = known & (away < radius)
    if chosen.sum() < 3:
        return np.full_like(patch, patch.reshape(-1, 3).min(0))
    total = np.zeros((steps + 1, 3))
    count = np.bincount(ring[chosen], minlength=steps + 1).astype(float)
    for channel in range(3):
        total[:, channel] = np.bincount(ring[chosen], patch[chosen][:, channel], steps + 1)
    filled = np.flatnonzero(count)
    nearest = filled[np.abs(np.arange(steps + 1)[:, None] - filled).argmin(1)]
    table = total[nearest] / count[nearest, None]
    return np.asarray(table[ring], np.float32)


def _pale(patch: Float, inside: NDArray[np.bool_]) -> Float:
    """A white for eyes that show none: the brightest of what is inside, paler."""
    colors = patch[inside] if inside.any() else patch.reshape(-1, 3)
    bright = np.percentile(colors, 90, axis=0)
    return np.asarray(0.5 * bright + 0.5 * bright.mean(), np.float32)
