"""Eyes behind the lids: the white as the lids shade it, and an iris that moves over it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.data.plate import pull_push
from avatarkit.heads import landmarks as marks
from avatarkit.methods.photo.polygons import polygon_mask
from avatarkit.methods.photo.rules import LIDS, eye_axes, eye_map
from avatarkit.ops import patches

Array = NDArray[np.float64]
Float = NDArray[np.float32]
Image = NDArray[np.uint8]
LOOPS = (marks.EYE_RIGHT, marks.EYE_LEFT)
IRIS = (marks.IRIS_RIGHT, marks.IRIS_LEFT)
WHITE = 1.25
"""Radii of the iris from its center from which what the photo shows is the white."""
USUAL = 60
"""Percentile of the brightness beside the iris that is its usual one."""
DIM, BRIGHT = 0.6, 0.85
"""Brightness against that up to which what lies there is lash or shadow, and from which it is white."""
RIM = (1.1, 1.3)
"""Radii of the iris at which its disk begins to end, and at which it has ended."""
LIGHTEST = 1.2
"""How much brighter than its surroundings the white behind the iris may be, where the photo shows such a white."""
DARKEST, LIT = 0.35, 0.65
"""Light let through by the lids up to which the photo does not tell the iris's color, and from which it does."""


class Eye:
    """One eye of the photo in two parts: its white with the lids' shadow, and its iris without.

    The white's picture hangs on the lids, as their shadow and lashes do: where they open, its middle is stretched.
    The iris lies in the coordinates of the eye's corners, moves rigidly, and takes the light of the white around it:
    at rest both parts together are the photo.
    """

    def __init__(self, photo: Image, landmarks: Array, eye: int) -> None:
        """``photo`` [H, W, 3], its ``landmarks`` [478, 3], ``eye`` 0 (right) or 1 (left)."""
        self.eye = eye
        middle, along, _ = eye_axes(landmarks, eye)
        self.loop, self.lids, self.iris = np.array(LOOPS[eye]), np.array(LIDS[eye][:2]), IRIS[eye][0]
        reach = round(0.9 * float(np.linalg.norm(along))) + 2
        origin = np.floor(middle).astype(int) - reach
        height, width = photo.shape[:2]
        rows = np.clip(np.arange(origin[1], origin[1] + 2 * reach), 0, height - 1)
        columns = np.clip(np.arange(origin[0], origin[0] + 2 * reach), 0, width - 1)
        patch = np.ascontiguousarray(photo[rows[:, None], columns]).astype(np.float32)
        local = landmarks[:, :2] - origin
        center = local[IRIS[eye][0]]
        rim = local[list(IRIS[eye][1:])]
        radius = float(np.linalg.norm(rim - center, axis=1).mean())
        white, iris, level = _parts(patch, local[list(LOOPS[eye])], center, radius)
        axes = eye_map(landmarks, self.eye)
        self.gaze = axes[:, :2] @ landmarks[self.iris, :2] + axes[:, 2]
        back = np.linalg.inv(axes[:, :2])
        to_patch = np.column_stack([back, -back @ axes[:, 2] - origin])
        self.ball = patches.Eyeball(
            patches.picture(white, to_patch), patches.picture(iris, to_patch),
            patches.lines(axes, landmarks[self.lids, :2]), level,
        )  # fmt: skip

    def draw(self, frame: Image, landmarks: Array) -> None:
        """Draw into ``frame`` [H, W, 3] inside the lids of ``landmarks`` [478, 3]."""
        axes = eye_map(landmarks, self.eye)
        shift = axes[:, :2] @ landmarks[self.iris, :2] + axes[:, 2] - self.gaze
        where = patches.polygon(landmarks[self.loop, :2], soft=0.6)
        now = patches.lines(axes, landmarks[self.lids, :2])
        patches.paint_eyeball(frame, where, self.ball, now, (shift[0], shift[1]))


def _parts(patch: Float, loop: Array, center: Array, radius: float) -> tuple[Float, Float, float]:
    """``patch`` [S, S, 3] inside the lids (``loop`` [P, 2]) as ([S, S, 3] white, [S, S, 4] iris, level of the white).

    The white goes on behind the iris, and iris and white behind the lids; the iris has its alpha, 0 to 1.
    """
    size = patch.shape[0]
    inside = polygon_mask(loop, size, size)
    y, x = np.mgrid[:size, :size] + 0.5
    away = np.hypot(x - center[0], y - center[1]).astype(np.float32)
    beside = inside & (away > WHITE * radius)
    if beside.sum() > 4:
        level = float(np.percentile(patch[beside].mean(-1), USUAL))
        # Behind the iris it is white as beside it, not dark as the lashes above it.
        share = np.clip((patch.mean(-1) / max(level, 1.0) - DIM) / (BRIGHT - DIM), 0, 1)
        behind = pull_push(patch, np.asarray(beside * share, np.float32))
        lightest = float(np.percentile(patch[beside].mean(-1), 90)) / max(float(behind[inside].mean()), 1.0)
        behind *= np.clip(lightest, 1, LIGHTEST)
        shown = cv2.GaussianBlur(beside.astype(np.float32), (0, 0), 0.7) * beside
        white = pull_push(
            behind + shown[..., None] * (patch - behind),
            (inside | (away < WHITE * radius)).astype(np.float32),
        )
    else:
        pale = _pale(patch, inside)
        white, level = np.full_like(patch, pale), float(pale.mean())
    level = max(level, 1.0)
    light = np.clip(white.mean(-1) / level, DARKEST, 1.2)
    own = patch / light[..., None]
    lit = np.clip((light - DARKEST) / (LIT - DARKEST), 0, 1)
    iris = _by_radius(own, inside & (lit > 0.5), away, radius)
    share = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 0.7) * inside * lit
    iris += share[..., None] * (own - iris)
    disk = np.clip((RIM[1] * radius - away) / ((RIM[1] - RIM[0]) * radius), 0, 1)
    return np.asarray(white, np.float32), np.asarray(np.dstack([iris, disk]), np.float32), level


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
