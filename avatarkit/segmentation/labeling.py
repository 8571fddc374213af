"""From class probabilities and the tracked mesh to one frame's label map."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.data.labels import Label
from avatarkit.heads.landmarks import (
    BROW_LEFT,
    BROW_RIGHT,
    EYE_LEFT,
    EYE_RIGHT,
    LIPS_INNER,
    LIPS_OUTER,
    OVAL,
)
from avatarkit.segmentation.geometry import CLOTH_RISE, JAW_CORNERS, Face, coordinates, cut_height, polygon
from avatarkit.segmentation.window import compose, inverse

Gray = NDArray[np.uint8]
FEATURES = (
    (BROW_LEFT, Label.BROWS),
    (BROW_RIGHT, Label.BROWS),
    (EYE_LEFT, Label.EYES),
    (EYE_RIGHT, Label.EYES),
    (LIPS_OUTER, Label.LIPS),
    (LIPS_INNER, Label.MOUTH_INTERIOR),
)
SPECK = 12
"""Accessories smaller than this many pixels of a 256-pixel map are noise."""


def label_map(
    person: Gray, probabilities: Gray, cut: Gray, face: Face, frame_to_image: NDArray[np.float64]
) -> Gray:
    """[S, S] uint8 of ``Label``; inputs are uint8 with 255 for 1.

    ``person`` [S, S] matte, ``probabilities`` [S, S, 3] of skin, hair and clothes (what is left is other) or [S, S, 4]
    with the part of the skin that is ears, ``cut`` [S, S] the head's cut (255 above). Features are the mesh's own
    polygons; they win over color.
    """
    size = person.shape[0]
    skin, hair, cloth, *ears = cv2.split(probabilities)
    other = cv2.subtract(cv2.subtract(cv2.subtract(np.full_like(skin, 255), skin), hair), cloth)
    below = cut < 128
    u, v = coordinates(compose(face.to_neck, inverse(frame_to_image)), size, size)
    near_cut = cut_height(u, v) < CLOTH_RISE
    jaw = face.landmarks[list(JAW_CORNERS)].mean(0) @ face.to_neck[1, :2] + face.to_neck[1, 2]
    low = v < jaw
    is_skin = cv2.compare(skin, cv2.max(cv2.max(hair, cloth), other), cv2.CMP_GE) > 0
    is_hair = ~is_skin & (cv2.compare(hair, cv2.max(cloth, other), cv2.CMP_GE) > 0)
    is_cloth = ~is_skin & ~is_hair & (cv2.compare(cloth, other, cv2.CMP_GE) > 0)
    is_other = _without_specks(~(is_skin | is_hair | is_cloth) & ~below, SPECK * (size / 256) ** 2)

    result = np.full((size, size), Label.SKIN, np.uint8)
    result[low & (polygon(face, OVAL, frame_to_image, size) == 0)] = Label.NECK
    for ear in ears:
        result[is_skin & (cv2.compare(ear, skin // 2, cv2.CMP_GT) > 0)] = Label.EARS
    result[below] = Label.TORSO
    # Far above the cut nothing is torso: what looks like clothes there is background seen through loose hair.
    result[is_hair | is_cloth] = Label.HAIR
    result[is_cloth & near_cut] = Label.TORSO
    result[is_other] = Label.ACCESSORIES
    for ring, label in FEATURES:
        result[polygon(face, ring, frame_to_image, size) > 0] = label
    result[person < 128] = Label.BACKGROUND
    return result


def _without_specks(mask: NDArray[np.bool_], least: float) -> NDArray[np.bool_]:
    """``mask`` without connected parts of fewer than ``least`` pixels."""
    if not mask.any():
        return mask
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= least
    keep[0] = False
    return np.asarray(keep[parts])
