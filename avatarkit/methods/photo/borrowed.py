"""The inside of the driver's own mouth, for ``--mouth driver``: never its lips."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.data.plate import pull_push
from avatarkit.heads import landmarks as marks
from avatarkit.methods.photo.polygons import polygon_mask
from avatarkit.ops import patches

Array = NDArray[np.float64]
Float = NDArray[np.float32]
Image = NDArray[np.uint8]
LOOP = list(marks.LIPS_INNER)
CHEEKS = [50, 280, 205, 425, 199, 200]
BRIGHTEST = 235.0
"""Teeth brighter than that glare in a picture lit otherwise."""
LEAST = 0.3
"""Share of a mouth that must be left of it without its rim."""
LIGHT = (0.6, 1.6)
"""How much darker or brighter than in the driver's picture its mouth may be drawn."""


def skin(photo: Image, landmarks: Array) -> Float:
    """[3] color of the cheeks and the chin of ``photo`` [H, W, 3] at its ``landmarks`` [478, 3], 0 to 255."""
    places = np.round(landmarks[CHEEKS, :2]).astype(int)
    colors = []
    height, width = photo.shape[:2]
    for x, y in np.clip(places, 0, (width - 1, height - 1)):
        colors.append(photo[max(y - 3, 0) : y + 4, max(x - 3, 0) : x + 4].reshape(-1, 3).mean(0))
    return np.asarray(np.median(colors, 0), np.float32)


def interior(picture: Image, theirs: Array, loop: Array, light: Float) -> patches.Picture | None:
    """The driver's mouth for the lips' inner ``loop`` [20, 2], continued outwards: lips never fit to the pixel.

    ``picture`` [H, W, 3] is the driver's, ``theirs`` [478, 3] its landmarks; ``light`` [3] the photo's own skin,
    against which the driver's skin says how bright its mouth is to be. None where the driver's mouth is shut.
    """
    theirs = np.asarray(theirs, np.float64)
    inner = theirs[LOOP, :2]
    low = np.floor(inner.min(0)).astype(int) - 4
    high = np.ceil(inner.max(0)).astype(int) + 5
    left, top = max(int(low[0]), 0), max(int(low[1]), 0)
    right, bottom = min(int(high[0]), picture.shape[1]), min(int(high[1]), picture.shape[0])
    if right - left < 4 or bottom - top < 4 or theirs[14, 1] - theirs[13, 1] < 1.0:
        return None
    crop = picture[top:bottom, left:right].astype(np.float32)
    inside = polygon_mask(inner - (left, top), bottom - top, right - left).astype(np.uint8)
    thin = cv2.erode(inside, np.ones((3, 3), np.uint8))  # without the lips' own rim
    known = thin if thin.sum() > LEAST * inside.sum() else inside
    here = np.column_stack([loop, np.ones(len(loop))])
    across = np.linalg.lstsq(here, inner - (left, top), rcond=None)[0].T
    gain = float(np.clip(light.mean() / max(float(skin(picture, theirs).mean()), 1.0), *LIGHT))
    color = crop * gain
    color *= np.minimum(1, BRIGHTEST / np.maximum(color.mean(-1, keepdims=True), 1))
    filled = pull_push(color, known.astype(np.float32))
    # no finer than it is drawn: between the pixels that are looked up, teeth and gaps would be left out
    finer = max(float(np.sqrt(abs(np.linalg.det(across[:, :2])))), 1.0)
    size = (max(1, round(filled.shape[1] / finer)), max(1, round(filled.shape[0] / finer)))
    across *= (np.array(size) / filled.shape[1::-1])[:, None]
    return patches.picture(cv2.resize(filled, size, interpolation=cv2.INTER_AREA), across)
