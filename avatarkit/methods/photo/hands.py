"""Hands on the face: found in the photo, and moved rigidly with the head where they are on it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.files.mediapipe import silenced, solution
from avatarkit.heads.landmarks import MESH, OVAL
from avatarkit.methods.photo.warp import smoothstep

Array = NDArray[np.float64]
TOUCH = 0.12
"""Distance from the face's outline up to which a hand is on the face, in face widths."""
FADE = 0.35
"""Distance from the hand over which its rigid motion ends, in face widths."""
MOST = 2


def found(photo: NDArray[np.uint8]) -> Array:
    """[N, 21, 2] landmarks in pixels of the hands in ``photo`` [H, W, 3]."""
    height, width = photo.shape[:2]
    with silenced():
        detector = solution("hands").Hands(static_image_mode=True, max_num_hands=MOST, model_complexity=0)
        try:
            seen = detector.process(np.ascontiguousarray(photo)).multi_hand_landmarks or []
        finally:
            detector.close()
    points = [[(mark.x * width, mark.y * height) for mark in hand.landmark] for hand in seen]
    return np.array(points, np.float64).reshape(len(points), 21, 2)


def on_face(hands: Array, face: Array) -> Array:
    """Those of ``hands`` [N, 21, 2] that touch or cover the face with landmarks ``face`` [>= 468, 2]."""
    outline = face[list(OVAL), :2].astype(np.float32)[:, None]
    limit = -TOUCH * _width(face)
    near = [
        max(cv2.pointPolygonTest(outline, (float(x), float(y)), True) for x, y in hand) > limit
        for hand in hands
    ]
    return hands[np.array(near, np.bool_)] if len(hands) else hands


def shares(places: Array, hands: Array, face: Array) -> Array:
    """[M] 1 at ``places`` [M, 2] on one of ``hands`` [N, 21, 2], fading to 0 around it."""
    result = np.zeros(len(places))
    for hand in hands:
        hull = cv2.convexHull(hand.astype(np.float32))
        away = np.array([-cv2.pointPolygonTest(hull, (float(x), float(y)), True) for x, y in places])
        result = np.maximum(result, 1 - smoothstep(away / (FADE * _width(face))))
    return result


def laid_on(depth: Array, places: Array, hands: Array, landmarks: Array) -> Array:
    """``depth`` [M] of ``places`` [M, 2] brought to that of the face's outline (``landmarks`` [478, 3]) on hands."""
    oval = landmarks[list(OVAL)]
    nearest = np.linalg.norm(places[:, None] - oval[None, :, :2], axis=-1).argmin(1)
    share = shares(places, hands, landmarks[:MESH])
    return np.asarray(depth + share * (oval[nearest, 2] - depth))


def _width(face: Array) -> float:
    return float(np.linalg.norm(face[454, :2] - face[234, :2]))
