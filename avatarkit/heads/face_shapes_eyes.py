"""Brows, lids and the gaze that drags them: expressions of the person's left eye, and browInnerUp."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatarkit.heads.deform import Face, turned
from avatarkit.heads.handles import Shape, bent
from avatarkit.heads.landmarks import EYE_LEFT, EYE_RIGHT, LID_LOWER_LEFT, LID_UPPER_LEFT, OVAL

Array = NDArray[np.float64]

LID_FOLD = (359, 467, 260, 259, 257, 258, 286, 414, 463)
"""Row above the upper lid's margin, outer to inner corner: the lid's crease."""
LID_POUCH = (359, 255, 339, 254, 253, 252, 256, 341, 463)
"""Row below the lower lid's margin."""
BESIDE_LIDS = (446, 342, 445, 444, 443, 442, 441, 413, 464, 465, 261, 448, 449, 450, 451, 452, 453, 357, 350)
"""Skin that borders the lids: from brow ridge to cheek."""

BROWS: dict[str, Shape] = {
    # Corrugator and depressor: the brow's body goes down and towards the nose, bulging a little.
    "browDownLeft": Shape(
        pulls={336: (-1.5, -2, 1), 296: (-4, -3.5, 2), 282: (-4, -3.5, 3), 276: (-3, -2, 3), 333: (-3, -2.5, 3)},
        hold=(*EYE_LEFT, *OVAL, *LID_POUCH), reach=32,
    ),
    # Medial frontalis, both sides; the skin of the nose's root follows.
    "browInnerUp": Shape(
        pulls={285: (0.5, 6, 0.5), 295: (0.5, 5, 0), 282: (0, 3, 0), 300: (0, 1, 0), 9: (0, 5, 0),
               197: (0, 1.5, -0.5), 4: (0, 1, 0)},
        hold=(*EYE_LEFT, *EYE_RIGHT, *OVAL), reach=30, both=True,
    ),
    # Lateral frontalis.
    "browOuterUpLeft": Shape(
        pulls={285: (0, 2, 0), 296: (1.5, 5.5, -1), 334: (2, 8, -2), 282: (2, 8, -2), 276: (1, 7, -2)},
        hold=(*EYE_LEFT, 9, 8, 168, 10, 338, 297), reach=32,
    ),
}  # fmt: skip

CHEEKS: dict[str, Shape] = {
    # Orbicularis oculi, orbital part: the cheek rises against the lower lid, the brow sinks a little.
    "cheekSquintLeft": Shape(
        pulls={390: (-0.5, 1.5, 1), 450: (-1, 3, 1), 352: (-0.5, 5, 2), 411: (0.5, 5, 2), 436: (1, 2.5, -1),
               394: (0.5, 1.5, 0.5), 276: (0, -1, 0), 386: (0, 0, 0)},
        hold=(4, 168, 0, 17, 454, 356), reach=38,
    ),
    # Orbicularis oculi, lid part: the lower lid tightens upwards and towards the nose.
    "eyeSquintLeft": Shape(
        pulls={374: (-1, 2, 1), 390: (-0.5, 1.5, 1), 253: (-1.5, 2.5, 1), 450: (-2.5, 2.5, 0.5), 280: (-1, 1, 0.5)},
        hold=(168, 6, 4, 282, 276, 386, 385, 387), reach=30,
    ),
}  # fmt: skip

CLOSING_SHIFT = 1.5
"""Millimeters by which the closing lower lid slides towards the nose."""


def shapes(face: Face) -> dict[str, Array]:
    """The expressions of this region by name, each [468, 3] in meters."""
    authored = {name: bent(face, shape) for name, shape in (BROWS | CHEEKS).items()}
    return authored | {
        "eyeBlinkLeft": _blink(face),
        "eyeLookDownLeft": _lids_turned(face, (1, 0, 0), upper=29, lower=10, outer=0.45),
        "eyeLookUpLeft": _lids_turned(face, (-1, 0, 0), upper=14, lower=7, outer=0.4),
        "eyeLookInLeft": _lids_turned(face, (0, -1, 0), upper=9, lower=9, outer=0.7),
        "eyeLookOutLeft": _lids_turned(face, (0, 1, 0), upper=9, lower=9, outer=0.7),
        "eyeWideLeft": _lids_turned(face, (-1, 0, 0), upper=14, lower=0, outer=0.35),
    }


def _arch(count: int, outer: float, inner: float = 0.2) -> Array:
    """[count] weights along a lid from the outer to the inner corner: 1 in the middle."""
    t = np.linspace(0, 1, count)
    hump = np.sin(np.pi * t) ** 0.7
    ends = outer * (1 - t) + inner * t
    return hump + (1 - hump) * ends


def _lids_turned(
    face: Face, axis: tuple[float, float, float], upper: float, lower: float, outer: float
) -> Array:
    """The lids slide over the eyeball: turned about its center by ``upper`` and ``lower`` degrees.

    The corners are tied to the bone and follow by the share ``outer`` at the temple, less at the nose.
    """
    center = face.eyeball(EYE_LEFT)
    handles: dict[int, Array] = {}
    for lid, fold, degrees in ((LID_UPPER_LEFT, LID_FOLD, upper), (LID_LOWER_LEFT, LID_POUCH, lower)):
        weight = _arch(len(lid), outer)
        moved = turned(face.vertices[list(lid)], center, axis, degrees * weight)
        handles |= dict(zip(lid, moved / face.millimeter, strict=True))
        beyond = turned(face.vertices[list(fold)], center, axis, 0.5 * degrees * weight)
        handles |= dict(zip(fold[1:-1], beyond[1:-1] / face.millimeter, strict=True))
    return face.extended(handles, BESIDE_LIDS, reach=12) * face.millimeter


def _blink(face: Face) -> Array:
    """Both margins meet on one line: the lower lid's, slid towards the nose by ``CLOSING_SHIFT``."""
    slide = np.zeros((len(LID_LOWER_LEFT), 3))
    slide[:, 0] = -CLOSING_SHIFT * np.sin(np.linspace(0, np.pi, len(slide)))
    upper, lower = (face.vertices[list(lid)] / face.millimeter for lid in (LID_UPPER_LEFT, LID_LOWER_LEFT))
    handles: dict[int, Array] = dict(zip(LID_LOWER_LEFT, slide, strict=True))
    handles |= dict(zip(LID_UPPER_LEFT, lower + slide - upper, strict=True))
    fold = 0.35 * (lower + slide - upper)
    handles |= dict(zip(LID_FOLD[1:-1], fold[1:-1], strict=True))
    handles |= dict(zip(LID_POUCH[1:-1], slide[1:-1], strict=True))
    return face.extended(handles, BESIDE_LIDS, reach=12) * face.millimeter
