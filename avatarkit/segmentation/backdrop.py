"""What a still camera knows: the background's own colors, and that a person hangs together."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.segmentation.parsing import Sample
from avatarkit.segmentation.window import GRID

Float = NDArray[np.float32]
Image = NDArray[np.uint8]
SAME, OTHER = 7.0, 22.0
"""Of 255: a color this near the background's is background, this far from it is not."""
STEADY = 8.0
"""Of 255: a background pixel that varies more than this (median absolute deviation) tells nothing."""
CLEAR = 0.05
"""A matte below this shows background."""
EDGE = 6
"""Grid pixels from the matte's edge within which it is doubted: the network likes to be generous."""
FEWEST = 3
"""Frames that must show a background pixel."""
PART = 0.04
"""Share of the picture below which a part that does not touch the head is a mistake of the network."""


class Backdrop:
    """Per-pixel background of a clip on the work grid, learned from sample frames; silent where nothing is known."""

    def __init__(self, samples: Sequence[Sample] = ()) -> None:
        self.color = np.zeros((GRID, GRID, 3), np.uint8)
        self.known = np.zeros((GRID, GRID), np.float32)
        if len(samples) < FEWEST:
            return
        clear = np.stack([s.matte < CLEAR for s in samples])
        images = np.stack([s.image for s in samples]).astype(np.float32)
        images[~clear] = np.nan
        enough = clear.sum(0) >= FEWEST
        images[:, ~enough] = 0  # an all-NaN median warns
        median = np.nanmedian(images, 0)
        self.color = (median + 0.5).astype(np.uint8)
        spread = np.nanmedian(np.abs(images - median).max(-1), 0)
        self.known = (enough & (spread < STEADY)).astype(np.float32)

    def corrected(self, image: Image, matte: Float) -> Float:
        """``matte`` [GRID, GRID] with what has the background's color at its uncertain edge taken away."""
        r, g, b = cv2.split(cv2.absdiff(image, self.color))
        apart = cv2.blur(cv2.max(cv2.max(r, g), b), (3, 3)).astype(np.float32)
        same = self.known * np.clip((OTHER - apart) / (OTHER - SAME), 0, 1)
        # Well inside, the network is right: skin or hair before a wall of its own color stays.
        doubt = 1 - cv2.erode(matte, np.ones((2 * EDGE + 1, 2 * EDGE + 1), np.uint8))
        return np.asarray(matte * (1 - same * doubt), np.float32)


def in_one_piece(matte: Float, landmarks: Float) -> Float:
    """``matte`` [GRID, GRID] without small parts that do not touch the face (``landmarks`` [N, 2], grid pixels)."""
    parts_of = (matte > CLEAR).astype(np.uint8)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(parts_of, connectivity=4)
    if count <= 2:
        return matte
    keep = stats[:, cv2.CC_STAT_AREA] > PART * GRID * GRID
    x, y = np.clip(landmarks.astype(np.int64), 0, GRID - 1).T
    keep[parts[y, x]] = True
    keep[0] = True  # faint values around the person do no harm
    return np.asarray(matte * keep[parts], np.float32)
