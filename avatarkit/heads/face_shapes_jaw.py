"""The mandible: a rigid body hinged before the ears; skin and lips follow it by weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatarkit.heads.deform import Face, turned
from avatarkit.heads.handles import Shape, bent, both_sides
from avatarkit.heads.landmarks import EYE_LEFT, EYE_RIGHT, LIPS_LOWER_INNER, NOSE

Array = NDArray[np.float64]

HINGE = (0.0, -42.0, -66.0)
"""Millimeters from the middle between the eyeballs: the axis of a wide opening (rotation and glide together)."""
OPENING = 25.0
"""Degrees of jawOpen at 1: 40-45 mm between the incisors, as wide as most people can."""
FORWARD = (0.0, -1.5, 11.0)
"""Millimeters of jawForward at 1."""
SIDEWAYS = 9.0

HELD = (*EYE_LEFT, *EYE_RIGHT, *NOSE, 280, 50, 352, 123, 454, 234, 330, 101)

FOLLOWS = {
    14: 0.92, 17: 0.94, 317: 0.9, 318: 0.68, 324: 0.6, 405: 0.86, 321: 0.7, 375: 0.6,
    18: 1.0, 200: 1.0, 199: 1.0, 152: 0.86, 377: 0.83, 378: 0.72, 394: 0.52, 397: 0.4, 288: 0.3, 361: 0.05,
    291: 0.45, 287: 0.35, 409: 0.28, 269: 0.12, 0: 0.0, 13: 0.0, 312: 0.04, 310: 0.2, 415: 0.24,
    436: 0.22, 427: 0.15, 411: 0.1, 434: 0.42, 422: 0.5, 418: 0.9, 322: 0.18, 391: 0.05,
}  # fmt: skip
"""Share of the mandible's motion at landmarks (the left ones count for both sides)."""

SIDE_DRAG = {0: 0.2, 13: 0.22, 267: 0.22, 269: 0.3, 310: 0.35, 409: 0.45, 291: 0.65, 287: 0.5, 288: 0.4}
"""The upper lip follows the lower one sideways."""

INWARDS = Shape({291: (-3, 0, 0), 432: (-4, 0, 0)}, hold=(0, 17, 4, 152, 454), reach=40, both=True)
"""An opening mouth draws its corners and the cheeks in."""

CLOSES = {
    14: 1.0, 317: 1.0, 318: 1.0, 17: 0.92, 405: 0.96, 375: 1.0, 291: 1.0, 287: 1.0, 409: 0.9, 269: 0.9,
    18: 0.56, 200: 0.4, 199: 0.25, 152: 0.1, 335: 0.95, 418: 0.62, 422: 1.0, 434: 0.8, 394: 0.4,
    397: 0.3, 378: 0.15, 288: 0.3, 436: 0.5,
}  # fmt: skip
"""Share of jawOpen's displacement that mouthClose takes back."""


def shapes(face: Face) -> dict[str, Array]:
    """The expressions of the mandible by name, each [468, 3] in meters."""
    follows = face.weight(both_sides(FOLLOWS), HELD)
    hinge = np.array(HINGE) * face.millimeter
    opened = turned(face.vertices, hinge, (1, 0, 0), OPENING * np.clip(follows, 0, 1))
    opened = opened + bent(face, INWARDS)
    closes = np.clip(face.weight(both_sides(CLOSES), HELD), 0, 1)
    closes[list(LIPS_LOWER_INNER)] = 1
    drag = face.weight(both_sides(FOLLOWS | SIDE_DRAG), HELD)
    return {
        "jawOpen": opened,
        "jawForward": follows[:, None] * np.array(FORWARD) * face.millimeter,
        "jawLeft": drag[:, None] * np.array((SIDEWAYS, 0.3, 0)) * face.millimeter,
        "mouthClose": -closes[:, None] * opened,
    }
