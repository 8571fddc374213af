"""Named groups of the 478 landmarks of mediapipe's face mesh.

Left and right are the person's own. Paths run from the person's right to the person's left, closed loops
counter-clockwise as the viewer sees them unless said otherwise. 468 mesh landmarks lie on the skin, the ten
after them on the irises.
"""

from __future__ import annotations

Group = tuple[int, ...]

MESH = 468
COUNT = 478

LIPS_UPPER_OUTER: Group = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
"""Upper vermilion border between the corners of the mouth."""
LIPS_LOWER_OUTER: Group = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
LIPS_UPPER_INNER: Group = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
"""Edge of the upper lip that meets the lower one; entry i faces entry i of ``LIPS_LOWER_INNER``."""
LIPS_LOWER_INNER: Group = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
LIPS_OUTER: Group = LIPS_LOWER_OUTER + LIPS_UPPER_OUTER[-2:0:-1]
"""Closed loop."""
LIPS_INNER: Group = LIPS_LOWER_INNER + LIPS_UPPER_INNER[-2:0:-1]
"""Closed loop: the mesh's hole."""
MOUTH_CORNER_RIGHT, MOUTH_CORNER_LEFT = 61, 291
LIP_UPPER_CENTER, LIP_LOWER_CENTER = 13, 14
"""Middle of the inner borders."""

LID_UPPER_RIGHT: Group = (33, 246, 161, 160, 159, 158, 157, 173, 133)
"""Upper lid margin from the outer to the inner corner; entry i faces entry i of ``LID_LOWER_RIGHT``."""
LID_LOWER_RIGHT: Group = (33, 7, 163, 144, 145, 153, 154, 155, 133)
LID_UPPER_LEFT: Group = (263, 466, 388, 387, 386, 385, 384, 398, 362)
"""Outer to inner corner, as on the right: entry i mirrors entry i of ``LID_UPPER_RIGHT``."""
LID_LOWER_LEFT: Group = (263, 249, 390, 373, 374, 380, 381, 382, 362)
EYE_RIGHT: Group = LID_LOWER_RIGHT + LID_UPPER_RIGHT[-2:0:-1]
"""Closed loop: the mesh's hole at the right eye."""
EYE_LEFT: Group = LID_LOWER_LEFT + LID_UPPER_LEFT[-2:0:-1]
"""The mirror image of ``EYE_RIGHT``, hence clockwise as the viewer sees it."""
IRIS_RIGHT: Group = (468, 469, 470, 471, 472)
"""Center, then four points of the limbus at the viewer's right, top, left and bottom."""
IRIS_LEFT: Group = (473, 474, 475, 476, 477)

BROW_RIGHT: Group = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
"""Closed loop: upper edge from the temple to the nose, lower edge back."""
BROW_LEFT: Group = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)

OVAL: Group = (
    10, 109, 67, 103, 54, 21, 162, 127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148,
    152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 454, 356, 389, 251, 284, 332, 297, 338,
)  # fmt: skip
"""Closed loop around the face: the mesh's outer border, from the top."""
CHIN: Group = (176, 148, 152, 377, 400, 171, 175, 396, 199, 200)

NOSE_BRIDGE: Group = (168, 6, 197, 195, 5)
"""From between the eyes down to the tip."""
NOSE_TIP = 4
NOSE_WING_RIGHT: Group = (129, 102, 64, 48, 98)
NOSE_WING_LEFT: Group = (358, 331, 294, 278, 327)
NOSE: Group = (*NOSE_BRIDGE, 4, 1, 19, 94, 2, *NOSE_WING_RIGHT, *NOSE_WING_LEFT)

STABLE: Group = (
    10, 9, 8, 168, 6, 197, 195, 5, 4, 1, 109, 338, 67, 297, 103, 332, 54, 284, 151, 108, 337,
    33, 263, 133, 362, 127, 356, 234, 454, 245, 465, 122, 351,
)  # fmt: skip
"""Points that expressions hardly move: forehead, nose ridge, corners of the eyes, sides of the face."""
