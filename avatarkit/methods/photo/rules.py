"""What a transferred face must keep: lids that close, lips that do not cross, irises between their corners."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avatarkit.heads import landmarks as marks

Array = NDArray[np.float64]

CLOSED = 0.16
"""Share of the open aperture that the detector still sees between closed lids."""
EAGER = 1.08
"""Factor on a lid's motion: what the detector finds of a picture's lids moves less than they do."""
WIDEST = 1.6
"""Largest lid aperture against the photo's own."""
OPEN_MOUTH = 0.02
"""Lip gap over the face's height from which a photo's mouth counts as open."""
JAW_SHARE = 0.7
"""Share of an open-mouthed photo's closing that its jaw does; its lips do the rest."""

LIDS = (
    (marks.LID_UPPER_RIGHT, marks.LID_LOWER_RIGHT,
     (247, 30, 29, 27, 28, 56, 190), (25, 110, 24, 23, 22, 26, 112)),
    (marks.LID_UPPER_LEFT, marks.LID_LOWER_LEFT,
     (467, 260, 259, 257, 258, 286, 414), (255, 339, 254, 253, 252, 256, 341)),
)  # fmt: skip
"""Per eye (right, left): upper and lower margin corner to corner, and the rows of skin next to them."""
FOLLOW = 0.45
"""Share of a lid's correction that the skin next to it takes."""

_UP, _LOW, _ABOVE, _BELOW = (np.array([eye[i] for eye in LIDS]) for i in range(4))
_RIGHT_CORNERS, _LEFT_CORNERS = np.array([_UP[0, 0], _UP[1, -1]]), np.array([_UP[0, -1], _UP[1, 0]])
_CORNERS = np.stack([_RIGHT_CORNERS, _LEFT_CORNERS], 1)
_IRISES = np.array([[468], [473]]) + np.arange(5)

UPPER, LOWER = np.array(marks.LIPS_UPPER_INNER), np.array(marks.LIPS_LOWER_INNER)
UPPER_ROWS = ((191, 80, 81, 82, 13, 312, 311, 310, 415), (183, 42, 41, 38, 12, 268, 271, 272, 407),
              (184, 74, 73, 72, 11, 302, 303, 304, 408), (185, 40, 39, 37, 0, 267, 269, 270, 409))  # fmt: skip
LOWER_ROWS = ((95, 88, 178, 87, 14, 317, 402, 318, 324), (96, 89, 179, 86, 15, 316, 403, 319, 325),
              (77, 90, 180, 85, 16, 315, 404, 320, 307), (146, 91, 181, 84, 17, 314, 405, 321, 375))  # fmt: skip
"""Rows of landmarks across the lips, from the inner border outwards."""
ROW_SHARE = (1.0, 0.8, 0.6, 0.4)
_ROWS = np.array([*UPPER_ROWS, *LOWER_ROWS])
_ROW_MOVES = np.concatenate([-0.4 * np.array(ROW_SHARE), 0.6 * np.array(ROW_SHARE)])[:, None]


WIDEN = 0.4
"""Share by which a change of the mouth's width is exaggerated: a stretched picture reads as less than it is."""


@dataclass(frozen=True)
class Face:
    """Measures of one face in its own axes (any unit): what the rules compare."""

    gap: Array
    """[11] between the inner borders of the lips, corner to corner; negative where they cross."""
    aperture: Array
    """[2, 9] between the lids of the right and the left eye, corner to corner."""
    gaze: Array
    """[2, 2] iris center from the middle of the eye's corners, along and across, in eye widths."""
    height: float
    """of the face, forehead to chin."""

    @property
    def lip_gap(self) -> float:
        """Mean of the middle three gaps over the face's height."""
        return float(self.gap[4:7].mean() / self.height)


def measured(points: Array) -> Face:
    """Measures of ``points`` [478, 3] in face axes (x right, y down)."""
    down = points[:, 1]
    return Face(
        down[LOWER] - down[UPPER],
        down[_LOW] - down[_UP],
        _gaze(points),
        float(np.linalg.norm(points[10] - points[152])),
    )


def eye_axes(points: Array, eye: int) -> tuple[Array, Array, Array]:
    """Middle of the corners, and the vectors of one eye width along and across, [2] each (face or image axes)."""
    outer, inner = (points[LIDS[eye][0][i], :2] for i in (0, -1))
    right, left = (outer, inner) if eye == 0 else (inner, outer)
    along = left - right
    return (outer + inner) / 2, along, np.array([-along[1], along[0]])


def eye_map(points: Array, eye: int) -> Array:
    """[2, 3] to coordinates of the eye: along and across from the middle of its corners, in eye widths."""
    # In plain numbers: numpy takes ten times as long for so few.
    (right, top), (left, low) = points[_CORNERS[eye], :2].tolist()
    x, y = left - right, low - top
    size = max(x * x + y * y, 1e-9)
    x, y = x / size, y / size
    middle = (right + left) / 2, (top + low) / 2
    return np.array(
        [[x, y, -x * middle[0] - y * middle[1]], [-y, x, y * middle[0] - x * middle[1]]], np.float64
    )


def _axes(points: Array) -> tuple[Array, Array, Array]:
    """``eye_axes`` of both eyes, [2, 2] each."""
    right, left = points[_RIGHT_CORNERS, :2], points[_LEFT_CORNERS, :2]
    along = left - right
    return (right + left) / 2, along, np.stack([-along[:, 1], along[:, 0]], 1)


def _gaze(points: Array) -> Array:
    """[2, 2] see ``Face.gaze``."""
    middle, along, across = _axes(points)
    center = points[_IRISES[:, 0], :2] - middle
    size = (along * along).sum(1)
    return np.stack([(center * along).sum(1), (center * across).sum(1)], 1) / size[:, None]


def blink(points: Array, photo: Face, neutral: Face, now: Face) -> Array:
    """``points`` [478, 3] with lids opened as far, against the photo's, as the driver's against its neutral frame."""
    result = points.copy()
    # One ratio for the eye: single pairs are noisy, and lids are stiff.
    start = np.maximum(neutral.aperture[:, 2:7].mean(1), 1e-9)
    ratio = now.aperture[:, 2:7].mean(1) / start
    ratio = np.clip(1 + EAGER * (ratio - 1) / (1 - CLOSED), 0.0, WIDEST)[:, None]
    up, low = _UP[:, 1:-1], _LOW[:, 1:-1]
    missing = ratio * np.maximum(photo.aperture[:, 1:-1], 0) - (points[low, 1] - points[up, 1])
    # The upper lid does most of a blink.
    share = np.where(ratio < 1, 0.85, 0.7)
    above, below = share * missing, (1 - share) * missing
    result[up, 1] -= above
    result[low, 1] += below
    result[_ABOVE, 1] -= FOLLOW * above
    result[_BELOW, 1] += FOLLOW * below
    return result


def lips(
    points: Array, photo: Face, neutral: Face, now: Face, jaw: Array, scale: float, strength: float
) -> Array:
    """``points`` [478, 3] with a lip gap that follows the driver's and never turns negative.

    ``jaw`` [468, 3]: what the open jaw does to the photo's face. ``scale``: photo units over driver units.
    An open-mouthed photo takes over the driver's gap itself, a closed one its change, times ``strength``.
    """
    change = scale * strength * (now.gap - neutral.gap)
    opened = photo.lip_gap > OPEN_MOUTH
    if opened:
        wanted = scale * np.maximum(neutral.gap, 0) + change
    else:
        wanted = photo.gap + change
    wanted = np.maximum(wanted, 0)
    result = points.copy()
    if opened:
        # The jaw closes most of what is to be closed, the lips meet.
        by_jaw = float((jaw[LOWER, 1] - jaw[UPPER, 1])[4:7].mean())
        closing = float((wanted - (points[LOWER, 1] - points[UPPER, 1]))[4:7].mean())
        if by_jaw > 1e-9 and closing < 0:
            result[: marks.MESH] += JAW_SHARE * closing / by_jaw * jaw
    missing = wanted - (result[LOWER, 1] - result[UPPER, 1])
    result[_ROWS, 1] += _ROW_MOVES * missing[1:-1]
    return result


def widening(rest: Array) -> Array:
    """[468] how far each point of a face ``rest`` [478, 3] goes along when its mouth's corners move apart by 1 each."""
    right, left = rest[marks.MOUTH_CORNER_RIGHT], rest[marks.MOUTH_CORNER_LEFT]
    half = max(float(left[0] - right[0]) / 2, 1e-9)
    across, down = ((rest[: marks.MESH, :2] - (left[:2] + right[:2]) / 2) / half).T
    away = np.hypot(np.maximum(np.abs(across) - 1, 0), np.maximum(np.abs(down) - 0.45, 0))
    return np.asarray(np.clip(across, -1, 1) * np.exp(-((away / 0.5) ** 2)))


def widened(points: Array, rest: Array, share: Array) -> Array:
    """``points`` [478, 3] whose mouth changes its width by ``WIDEN`` more than from ``rest`` [478, 3] (face axes).

    ``share`` [468] is ``rest``'s ``widening``.
    """
    left, right = marks.MOUTH_CORNER_LEFT, marks.MOUTH_CORNER_RIGHT
    grown = points[left, 0] - points[right, 0] - (rest[left, 0] - rest[right, 0])
    result = points.copy()
    result[: marks.MESH, 0] += WIDEN * grown / 2 * share
    return result


def irises(points: Array, photo: Face, gaze_change: Array) -> Array:
    """``points`` [478, 3] with irises at the photo's place between the corners plus ``gaze_change`` [2, 2]."""
    result = points.copy()
    middle, along, across = _axes(points)
    place = np.clip(photo.gaze + gaze_change, (-0.42, -0.3), (0.42, 0.3))
    goal = middle + place[:, :1] * along + place[:, 1:] * across
    result[_IRISES, :2] += (goal - points[_IRISES[:, 0], :2])[:, None]
    return result
