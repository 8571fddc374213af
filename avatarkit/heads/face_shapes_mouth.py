"""Lips, cheeks and nose: what the muscles around the mouth do, on the person's left or on both sides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatarkit.heads.deform import Face, turned
from avatarkit.heads.handles import Shape, bent, both_sides
from avatarkit.heads.landmarks import CHIN, EYE_LEFT, EYE_RIGHT, LIP_UPPER_CENTER

Array = NDArray[np.float64]

SIDED: dict[str, Shape] = {
    # Zygomaticus major: the corner back and up to the cheekbone, the cheek bunches up before it.
    "mouthSmileLeft": Shape(
        pulls={291: (7, 10, -9), 0: (0, 2, -2), 17: (0, 2, -1), 427: (6, 5, -1), 280: (4, 5, 2),
               432: (6, 9, -5), 394: (1, 7, -1)},
        hold=(61, 4, 168, 454, 263, 374, 152), reach=40,
    ),
    # Depressor anguli oris.
    "mouthFrownLeft": Shape(
        pulls={291: (2, -4.5, -1.5), 0: (0, -0.5, 0), 436: (0.5, -4, -2), 432: (1.5, -4, 0), 418: (0.5, -1, 2),
               17: (0, 0, 0)},
        hold=(61, 4, 280, 352, 397), reach=30,
    ),
    # Risorius and platysma: the corner back and sideways.
    "mouthStretchLeft": Shape(
        pulls={291: (7, -3, -7), 0: (0, -0.5, -0.5), 427: (2, 0, 1), 422: (4, 0, -5), 434: (4, 0, 0), 17: (0, 0, 0)},
        hold=(61, 4, 280, 454, 152), reach=38,
    ),
    # Buccinator: the corner is drawn in and back, the cheek bulges around it and the chin bunches up.
    "mouthDimpleLeft": Shape(
        pulls={291: (1, 3, -6), 0: (0.5, 0.5, -0.5), 270: (2, 0.5, -3), 17: (0, 0.5, -1), 405: (2, 3, -4),
               418: (3, 4, -1), 430: (-1, 4, 0), 427: (2, 0, 5), 434: (0, 1, 1)},
        hold=(61, 4, 454, 374, 397), reach=34,
    ),
    # Orbicularis oris presses the lips together: the lower one up, the chin with it.
    "mouthPressLeft": Shape(
        pulls={291: (0, 1.5, 0.5), 0: (0, -0.7, -0.4), 13: (0, -0.3, -0.3), 14: (0, 0.5, 0.5), 17: (0, 1, 1),
               318: (0, 1.5, 0.5), 310: (-0.5, 1, 0), 335: (0.5, 3, 2),
               200: (0, 2.5, 1), 394: (-1, 2, 1), 425: (1, 1, 1), 327: (0, 0, -1)},
        hold=(61, 168, 454, 374, 57, 211), reach=34,
    ),
    # Levator labii superioris: half of the upper lip up, the wing of the nose and the cheek with it.
    "mouthUpperUpLeft": Shape(
        pulls={291: (0, 4, 0), 0: (0, 4, -1), 270: (2, 8, 0), 423: (3, 7, -3), 371: (2, 5, 3), 14: (0, 0, 0)},
        hold=(61, 4, 168, 374, 17, 352), reach=34,
    ),
    # Depressor labii inferioris.
    "mouthLowerDownLeft": Shape(
        pulls={291: (0, -1, 0), 14: (0, -3.5, -0.7), 318: (0.5, -3.5, -0.5), 418: (2, -3, -1.5),
               152: (0, -1.5, -1)},
        hold=(61, 0, 13, 269, 436, 434, 397, 57, 211), reach=30,
    ),
    # Levator labii superioris alaeque nasi: wing of the nose, cheek and upper lip up, the brow a little down.
    "noseSneerLeft": Shape(
        pulls={2: (0, 2, 0), 331: (0, 8, 1), 371: (-1, 9, 3), 0: (0, 4, 0), 270: (0, 9, 0), 432: (-2, 6, 2),
               285: (-1, -3, 0)},
        hold=(61, 386, 168, 454, 14), reach=30,
    ),
}  # fmt: skip

WHOLE: dict[str, Shape] = {
    # Incisivus labii and orbicularis oris: lips forward and together.
    "mouthPucker": Shape(
        pulls={0: (0, 4, 8), 13: (0, 0, 7), 14: (0, 0, 9), 17: (0, -2, 6), 291: (-5, 2, 10), 434: (-4, 2, 4),
               418: (-2, 2, 4)},
        hold=(4, 2, 152, 199, 280, 352, 397), reach=34, both=True,
    ),
    # Lips forward and apart, as in "sh".
    "mouthFunnel": Shape(
        pulls={11: (0, 6, 8), 14: (0, -8, 7), 17: (0, -9, 4), 291: (-3, 0, 8), 18: (0, -5, -1), 434: (-3, 2, 3)},
        hold=(4, 2, 280, 352, 454), reach=34, both=True,
    ),
    # Air behind cheeks and lips.
    "cheekPuff": Shape(
        pulls={2: (0, 2, 5), 0: (0, 1, 8), 17: (0, 0, 9), 291: (-3, 1, 14), 427: (3, 4, 9), 397: (0, 2, 5),
               199: (0, 2, 2), 152: (0, 2, 2)},
        hold=(168, 454, 374), reach=40, both=True,
    ),
    # Lips curl over the teeth.
    "mouthRollLower": Shape(
        pulls={14: (0, 4, -13), 17: (0, 9, -5), 318: (0, 0, -7), 405: (-1, 5, -3), 18: (0, 8, 4), 291: (0, 0, 0)},
        hold=(0, 13, 152, 287), reach=24, both=True,
    ),
    "mouthRollUpper": Shape(
        pulls={13: (0, 2, -11), 0: (0, -5, -7), 310: (0.5, 0, -7), 269: (0, -5, -6), 409: (0.5, -1, -4),
               291: (0.5, 0, -0.5)},
        hold=(4, 14, 17, 375), reach=24, both=True,
    ),
    # Mentalis pushes chin skin and lower lip up.
    "mouthShrugLower": Shape(
        pulls={14: (0, 7, 6), 291: (1, 2, 2), 199: (0, 11, 2), 152: (0, 6, 5), 394: (-1, 2, 2)},
        hold=(0, 13, 269, 287, 434, 397), reach=30, both=True,
    ),
    "mouthShrugUpper": Shape(
        pulls={11: (0, 6, 1), 310: (0, 2.5, 0.5), 391: (0, 2, 0), 2: (0, 2.5, 0)},
        hold=(4, 14, 17, 291, 358), reach=18, both=True,
    ),
    # On the face nothing but the lower lip, pressed down and out a little, gives way to the tongue.
    "tongueOut": Shape(
        pulls={14: (0, -2, 1), 17: (0, -1.5, 1), 405: (0, -1, 0.5), 291: (0, 0, 0)},
        hold=(0, 13, 199, *CHIN), reach=20, both=True,
    ),
}  # fmt: skip

ARCH_DEPTH = 43.0
"""Millimeters behind the lips of the vertical axis around which they slide along the teeth."""
SLIDE = 22.0
"""Degrees of mouthLeft at 1."""
SLIDES = {0: 1.0, 17: 1.0, 291: 0.95, 436: 0.7, 427: 0.55, 280: 0.25, 2: 0.4, 358: 0.35, 4: 0.12, 200: 0.5, 199: 0.3,
          422: 0.9, 434: 0.7, 394: 0.5}  # fmt: skip
"""Share of the slide at landmarks of either side."""
BUNCHED = Shape({291: (-2, 5, 4), 427: (0, 3, 1)}, hold=(0, 17, 4, 374, 454, 152), reach=25)
"""Skin heaps up before the corner that leads."""


def shapes(face: Face) -> dict[str, Array]:
    """The expressions of this region by name, each [468, 3] in meters."""
    return {name: bent(face, shape) for name, shape in (SIDED | WHOLE).items()} | {"mouthLeft": _slid(face)}


def _slid(face: Face) -> Array:
    """Both lips shift to the person's left, around the dental arch."""
    axis = face.vertices[LIP_UPPER_CENTER] - (0, 0, ARCH_DEPTH * face.millimeter)
    share = face.weight(both_sides(SLIDES), (*EYE_LEFT, *EYE_RIGHT, 168, 454, 234, 152))
    return turned(face.vertices, axis, (0, 1, 0), SLIDE * np.clip(share, 0, 1.2)) + bent(face, BUNCHED)
