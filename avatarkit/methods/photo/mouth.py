"""Inside the mouth: the photo's own teeth where it shows them, else a shaded cavity with two rows of teeth."""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.data.plate import pull_push
from avatarkit.heads import landmarks as marks
from avatarkit.methods.photo import borrowed
from avatarkit.methods.photo.frames import Similarity
from avatarkit.methods.photo.polygons import polygon_mask
from avatarkit.ops import patches

Array = NDArray[np.float64]
Float = NDArray[np.float32]
Image = NDArray[np.uint8]
LOOP = list(marks.LIPS_INNER)
SIDE = 256
"""Pixels of the generic cavity's picture, which is 1.6 mouth widths wide."""
SPAN = 1.6
FULL = 3.0
"""Pixels between the lips from which the cavity is opaque."""
GUMS = -0.085
"""Where the gums begin above the upper teeth, in mouth widths below the line of the closed lips."""
PURSED = 0.8, 0.5
"""Width of the mouth against the photo's below which it gets dark inside, and at which it is."""
BEHIND = 0.04
"""Teeth lie so many face widths behind the middle of the lips."""


class Mouth:
    """What shows between the lips."""

    def __init__(self, photo: Image, landmarks: Array, generic: bool, open_from: float = 0.02) -> None:
        """``photo`` [H, W, 3] and its ``landmarks`` [478, 3]; ``generic``: never the photo's own interior."""
        height = float(np.linalg.norm(landmarks[10] - landmarks[152]))
        gap = float(np.linalg.norm(landmarks[13, :2] - landmarks[14, :2])) / height
        self.own = not generic and gap > open_from
        width = float(np.linalg.norm(landmarks[454, :2] - landmarks[234, :2]))
        self.depth = float(landmarks[[13, 14], 2].mean()) + BEHIND * width
        self.light = borrowed.skin(photo, landmarks)
        corner, other = landmarks[78, :2], landmarks[308, :2]
        self.wide = max(float(np.linalg.norm(other - corner)), 2.0)
        along = (other - corner) / self.wide
        across = np.array([-along[1], along[0]])
        # From pixels of the photo to the cavity's picture: the mouth's corners on a line a third down.
        self.side = int(np.clip(round(1.5 * SPAN * self.wide), 24, SIDE))
        scale = self.side / (SPAN * self.wide)
        linear = scale * np.stack([along, across])
        middle = (corner + other) / 2
        upper = landmarks[13, :2]
        anchor = middle + across * float((upper - middle) @ across)
        self.to_cavity = np.column_stack([linear, np.array([self.side / 2, self.side / 3]) - linear @ anchor])
        self.across = across
        if self.own:
            self.picture, self.to_own = _own_interior(photo, landmarks)

    @cached_property
    def _cavity(self) -> tuple[Float, Float]:
        """See ``_cavity``; painted when the mouth first opens."""
        size = (self.side, self.side)  # no finer than the photo, or teeth shimmer
        cavity, lower = (
            patches.picture(cv2.resize(layer, size, interpolation=cv2.INTER_AREA), np.eye(2, 3)).texels
            for layer in _cavity(self.light)
        )
        return cavity, lower

    def draw(
        self, frame: Image, landmarks: Array, head: Similarity, driver: tuple[Image, Array] | None = None
    ) -> None:
        """Draw into ``frame`` [H, W, 3] inside the lips of ``landmarks`` [478, 3]; ``head``: the skull's motion.

        ``driver``: its picture and landmarks, where its mouth is to be seen instead.
        """
        loop = landmarks[LOOP, :2]
        opened = float((landmarks[14, :2] - landmarks[13, :2]) @ self._now(head, self.across))
        if opened < 0.3:  # pixels
            return
        back = _inverse(_flat(head, self.depth))
        seen = self._generic(back, opened)
        if self.own:
            seen.append(patches.Picture(self.picture, _after(self.to_own, back).astype(np.float32)))
        lent = borrowed.interior(*driver, loop, self.light) if driver else None
        if lent is not None:
            seen.append(lent)
        # Lips keep light off what lies right behind them, the upper one most.
        soft = max(0.6, 0.05 * self.wide * head.scale)
        strength = 0.25 if self.own or lent is not None else 0.6
        if lent is None:
            # Pursed lips come forward and close around the dark: teeth that a smile showed are behind them.
            wide = float(np.linalg.norm(landmarks[308] - landmarks[78])) / head.scale
            pursed = float(np.clip((PURSED[0] - wide / self.wide) / (PURSED[0] - PURSED[1]), 0, 1))
            soft *= 1 + 3 * pursed
            strength += pursed * (0.88 - strength)
        # Lips that just part show a soft line first.
        share = min(1.0, opened / FULL)
        patches.paint(frame, patches.polygon(loop, soft=0.6), seen, share, shade=(soft, strength))

    def _generic(self, back: Array, opened: float) -> list[patches.Picture]:
        """The cavity with the upper teeth, and what hangs from the jaw."""
        to_cavity = _after(self.to_cavity, back)
        cavity, lower = self._cavity
        # The lower row's edge stays a little above the lower lip.
        jaw = to_cavity.copy()
        jaw[1, 2] -= self.side / (SPAN * self.wide) * opened
        return [
            patches.Picture(cavity, to_cavity.astype(np.float32)),
            patches.Picture(lower, jaw.astype(np.float32)),
        ]

    @staticmethod
    def _now(head: Similarity, direction: Array) -> Array:
        turned = head.rotation[:2, :2] @ direction
        return np.asarray(turned / max(float(np.linalg.norm(turned)), 1e-6))


def _flat(head: Similarity, depth: float) -> Array:
    """[2, 3] what ``head`` does to the plane of the photo at ``depth``."""
    linear = head.scale * head.rotation[:2]
    return np.column_stack([linear[:, :2], linear[:, 2] * depth + head.shift[:2]])


def _inverse(affine: Array) -> Array:
    (a, b, x), (c, d, y) = affine.tolist()
    size = a * d - b * c
    return np.array([[d, -b, b * y - d * x], [-c, a, c * x - a * y]]) / (size or 1e-12)


def _after(outer: Array, inner: Array) -> Array:
    return np.asarray(outer @ np.vstack([inner, [0, 0, 1]]))


def _own_interior(photo: Image, landmarks: Array) -> tuple[Float, Array]:
    """([h, w, 4] the photo's interior continued, its alpha where it is to be believed; [2, 3] from photo to it)."""
    height, width = photo.shape[:2]
    loop = landmarks[LOOP, :2]
    inside = polygon_mask(loop, height, width).astype(np.uint8)
    x, y, w, h = cv2.boundingRect(inside)
    top, left = max(y - w, 0), max(x - w, 0)
    part = slice(top, y + h + w), slice(left, x + 2 * w)
    inside = np.ascontiguousarray(inside[part])
    thin = cv2.erode(inside, np.ones((3, 3), np.uint8))
    known = (thin if thin.sum() > 0.4 * inside.sum() else inside).astype(np.float32)
    picture = pull_push(photo[part].astype(np.float32), known)
    # Above and beside, teeth go on; below what shows there is the dark.
    reach = 2 * max(1, round(0.035 * w)) + 1
    grown = cv2.dilate(inside, np.ones((reach, reach), np.uint8), anchor=(reach // 2, 0))
    grown = np.maximum(grown, cv2.dilate(inside, np.ones((1, 2 * reach + 1), np.uint8)))
    shows = cv2.GaussianBlur(np.maximum(grown, inside).astype(np.float32), (0, 0), max(1.0, 0.03 * w))
    shows = np.maximum(shows, cv2.GaussianBlur(known, (0, 0), 0.8))
    to_picture = np.array([[1.0, 0, -left], [0, 1, -top]])
    return np.ascontiguousarray(np.dstack([picture, shows]), np.float32), to_picture


def _cavity(light: Float) -> tuple[Float, Float]:
    """([SIDE, SIDE, 3] cavity with the upper teeth, [SIDE, SIDE, 4] lower teeth and tongue), 0 to 255, alpha 0 to 1."""
    unit = SIDE / SPAN  # pixels of a mouth width
    line = SIDE / 3
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    u, v = (x + 0.5 - SIDE / 2) / unit, (y + 0.5 - line) / unit
    bright = light.mean()
    flesh = np.array([0.36, 0.13, 0.12], np.float32) * (0.6 * bright + 0.4 * light)
    deep = np.clip(1 - np.hypot(u / 0.55, (v - 0.22) / 0.4), 0, 1)[..., None]
    cavity = flesh * (1 - 0.72 * deep)
    teeth, alpha = _row(u, v, top=-0.4, edge=0.115, widths=(0.093, 0.072, 0.083, 0.07, 0.062), light=light)
    gum = np.clip((GUMS - v) / 0.02, 0, 1)[..., None] * alpha
    turned = np.clip(1 - 0.8 * (u / 0.42) ** 2, 0.15, 1)[..., None]  # gums run back at the sides
    teeth = teeth + gum * (turned * np.array([0.66, 0.33, 0.33], np.float32) * light - teeth)
    cavity = cavity + alpha * (teeth - cavity)
    lower, mask = _row(
        u, -v, top=-0.12, edge=0.075, widths=(0.058, 0.06, 0.066, 0.066, 0.06), light=0.86 * light
    )
    tongue = np.clip((1 - np.hypot(u / 0.3, (v - 0.07) / 0.16)) / 0.5, 0, 1)[..., None]
    tint = np.array([0.62, 0.3, 0.3], np.float32) * light
    color = tint + mask * (lower - tint)
    return cavity.astype(np.float32), np.dstack([color, np.maximum(0.75 * tongue, mask)]).astype(np.float32)


def _row(
    u: Float, v: Float, top: float, edge: float, widths: tuple[float, ...], light: Float
) -> tuple[Float, Float]:
    """One row of teeth, mirrored about u = 0, from ``top`` down to ``edge``: color [S, S, 3], alpha [S, S, 1]."""
    color = np.zeros((*u.shape, 3), np.float32)
    alpha = np.zeros(u.shape, np.float32)
    enamel = 0.4 * light + 0.6 * light.mean() * np.array([1.1, 1.02, 0.9], np.float32)
    enamel = np.minimum(enamel * 1.2, (236, 228, 212))
    side = np.abs(u)
    start = 0.0
    for i, width in enumerate(widths):
        center, half = start + width / 2, width / 2
        reach = edge - (0.0, 0.014, 0.004, 0.02, 0.03)[i]
        across = (side - center) / half
        # Edges are rounded: the corner of each tooth goes in.
        bottom = reach - 0.02 * np.abs(across) ** 3
        cover = np.clip(0.45 + (1 - np.abs(across)) * half / 0.012, 0, 1) * np.clip(
            (bottom - v) / 0.008, 0, 1
        )
        cover = cover * np.clip((v - top) / 0.008, 0, 1)
        round_ = 1 - 0.16 * across**2 - 0.1 * np.clip((v - top) / (edge - top), 0, 1) ** 4
        arch = 1 - 0.62 * min(1.0, (center / 0.4)) ** 2
        color = np.where(cover[..., None] > alpha[..., None], enamel * (round_ * arch)[..., None], color)
        alpha = np.maximum(alpha, cover)
        start += width
    return color, np.asarray(alpha[..., None], np.float32)
