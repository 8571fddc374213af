"""Backgrounds to put behind a person: plain, blurred, or a picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.files.errors import UsageError
from avatarkit.files.images import is_photo, read_image

Image = NDArray[np.uint8]


def behind(background: str, plate: Image) -> Image:
    """The background called ``white``, ``black`` or ``blur`` (of ``plate`` [H, W, 3]), or the picture of that name.

    A picture fills the frame, keeps its proportions and loses what stands over. Raises UsageError for anything else.
    """
    height, width = plate.shape[:2]
    if background in ("white", "black"):
        return np.full_like(plate, 255 if background == "white" else 0)
    if background == "blur":
        return np.asarray(cv2.GaussianBlur(plate, (0, 0), 0.02 * max(height, width)), np.uint8)
    path = Path(background)
    if not path.is_file() or not is_photo(path):
        raise UsageError(f"--background {background}: give keep, white, black, blur, or a picture file")
    picture = read_image(path)
    scale = max(height / picture.shape[0], width / picture.shape[1])
    size = (max(width, round(picture.shape[1] * scale)), max(height, round(picture.shape[0] * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = cv2.resize(picture, size, interpolation=method)
    top, left = (size[1] - height) // 2, (size[0] - width) // 2
    return np.ascontiguousarray(picture[top : top + height, left : left + width], np.uint8)
