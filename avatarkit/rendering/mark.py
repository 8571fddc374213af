"""A visible mark in the corner of a synthetic picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

TEXT = "synthetic"


def marked(image: Image, text: str = TEXT) -> Image:
    """``image`` [H, W, 3] with ``text`` in white on a darkened strip of its lower right corner."""
    height, width = image.shape[:2]
    size = max(height, width) / 900
    thick = max(1, round(1.5 * size))
    (across, up), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, thick)
    pad = max(2, round(0.4 * up))
    top, left = max(height - up - below - 2 * pad, 0), max(width - across - 2 * pad, 0)
    result = image.copy()
    corner = result[top:, left:]
    corner[:] = (corner.astype(np.uint16) * 2 // 5).astype(np.uint8)
    place = (left + pad, height - pad - below)
    cv2.putText(result, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, (255, 255, 255), thick, cv2.LINE_AA)
    return result
