"""What the label maps and mattes of a segmented track mean, and how they are stored."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.files.errors import AvatarkitError

Gray = NDArray[np.uint8]


class Label(IntEnum):
    """Pixel classes of a label map. Left and right are not told apart; facial hair is skin."""

    BACKGROUND = 0
    SKIN = 1
    BROWS = 2
    EYES = 3
    """what shows between the lids: sclera, iris, pupil."""
    LIPS = 4
    MOUTH_INTERIOR = 5
    """teeth, tongue and the dark between open lips."""
    HAIR = 6
    NECK = 7
    """skin between the jaw and the head's cut line."""
    TORSO = 8
    """clothes, and skin below the cut line."""
    ACCESSORIES = 9
    """glasses, jewelry, ribbons: on the head, but of no color that skin or hair has."""
    EARS = 10
    """Only in maps that ``shows_ears``; elsewhere ears are skin."""


PALETTE: NDArray[np.uint8] = np.array(
    [
        [0, 0, 0],
        [241, 194, 155],
        [120, 72, 30],
        [70, 130, 255],
        [214, 60, 90],
        [110, 15, 40],
        [150, 90, 200],
        [240, 215, 110],
        [60, 160, 90],
        [255, 120, 0],
        [255, 90, 190],
    ],
    np.uint8,
)
"""[11, 3] sRGB color of each label in overlays."""


def shows_ears(meta: Mapping[str, Any]) -> bool:
    """Whether the label maps of a track with this ``meta`` tell ears from skin.

    What the mesh and the clip's colors say of a pixel cannot: ears have the color of the skin around them, and where
    the mesh has its ears is what a fit would like to know. A parsing network (``segment --parsing bisenet``) can.
    """
    return bool(meta.get("segment", {}).get("ears", False))


def encode(image: NDArray[Any]) -> bytes:
    """PNG bytes of an 8-bit gray image [H, W]; a float image in [0, 1] is rounded to 8 bits."""
    if image.dtype != np.uint8:
        image = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    # Run lengths suit mattes: a quarter smaller than zlib's own matching, and quicker.
    ok, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE])
    if not ok:
        raise AvatarkitError("a matte could not be encoded as PNG")
    return data.tobytes()


def decode(data: bytes) -> Gray:
    """[H, W] uint8 image of a matte's PNG bytes. Raises AvatarkitError when they are no gray PNG."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if image is None or image.ndim != 2 or image.dtype != np.uint8:
        raise AvatarkitError("the track's mattes are damaged: run 'avatarkit segment' on it again")
    return np.asarray(image, np.uint8)
