"""Glasses: seen by the bar over the nose, and kept rigid where the face under them moves."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.heads import landmarks as marks
from avatarkit.methods.photo.rules import LIDS

Array = NDArray[np.float64]
FACE = 200
"""Width of the face, in pixels, at which the bar is looked for."""
EDGE = 120.0
"""Mean vertical gradient of a row from which it is a bar: bare bridges stay below 50, a thin frame is at 330."""
STIFF = 0.25
"""Share of the skin's own motion that is left under glasses."""


def worn(photo: NDArray[np.uint8], landmarks: Array) -> bool:
    """Whether a bar crosses the bridge of the nose in ``photo`` [H, W, 3] (``landmarks`` [478, 3], upright faces)."""
    width = float(np.linalg.norm(landmarks[454, :2] - landmarks[234, :2]))
    scale = FACE / max(width, 1.0)
    right, left = landmarks[133, :2], landmarks[362, :2]
    along = (left - right) / max(float(np.linalg.norm(left - right)), 1e-6)
    turn = scale * np.array([[along[0], along[1]], [-along[1], along[0]]])
    top, bottom = (turn @ landmarks[i, :2] for i in (8, 197))
    sides = turn @ (0.6 * right + 0.4 * left), turn @ (0.4 * right + 0.6 * left)
    size = (max(2, round(sides[1][0] - sides[0][0])), max(2, round(bottom[1] - top[1])))
    shift = np.array([-sides[0][0], -top[1]])
    box = cv2.warpAffine(
        cv2.GaussianBlur(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), (0, 0), max(0.01, 0.4 / scale)),
        np.column_stack([turn, shift]), size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    rows = np.abs(cv2.Sobel(box, cv2.CV_32F, 0, 1)).mean(1)
    return bool(rows.max() > EDGE)


def stiffness(own: Array) -> Array:
    """[478] share of its motion that each landmark keeps under glasses; ``own`` [478, 3] in face axes (y down).

    Lids, brows and eyes behind the lenses move on, the skin at the frame hardly does.
    """
    low, high = own[[65, 295], 1].mean(), own[4, 1]  # from the brows' lower edge to the tip of the nose
    result = np.ones(len(own))
    result[: marks.MESH][(own[: marks.MESH, 1] > low) & (own[: marks.MESH, 1] < high)] = STIFF
    for upper, lower, _, _ in LIDS:
        result[[*upper, *lower]] = 1
    result[[*marks.BROW_RIGHT, *marks.BROW_LEFT]] = 1
    return result
