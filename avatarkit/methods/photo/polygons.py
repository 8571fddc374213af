"""Which pixels of a picture lie inside a polygon."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
BITS = 4


def polygon_mask(polygon: Array, height: int, width: int) -> NDArray[np.bool_]:
    """[height, width] pixels mostly inside ``polygon`` [P, 2]."""
    mask = np.zeros((height, width), np.uint8)
    fixed = np.round((polygon - 0.5) * (1 << BITS)).astype(np.int32)
    cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, BITS)
    return mask > 127
