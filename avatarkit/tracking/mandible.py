"""The jaw joint's rotation that the jaw coefficients imply."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatarkit.heads.model import JOINTS, HeadModel
from avatarkit.tracking.pose import procrustes

Float = NDArray[np.float32]

MOVERS = ("jawOpen", "jawLeft", "jawRight", "jawForward")


def jaw_rotations(head: HeadModel, expression: Float) -> Float:
    """Axis-angle [N, 3] of the mandible about its joint for coefficients [N, E].

    Each jaw shape turns what is rigidly fixed to the mandible (the lower teeth) by the rotation that fits its
    displacement best; coefficients scale these rotations.
    """
    from scipy.spatial.transform import Rotation

    column = 1 + JOINTS.index("jaw")
    fixed = head.skinning[:, column] > 0.99
    if fixed.sum() < 3:  # a head without teeth: whatever the jaw turns most
        fixed = head.skinning[:, column] >= np.partition(head.skinning[:, column], -50)[-50]
    result = np.zeros((len(expression), 3))
    rest = head.vertices[fixed].astype(np.float64)
    for name in MOVERS:
        if name in head.expression_names:
            index = head.expression_names.index(name)
            moved = rest + head.shapes[index, fixed]
            _, rotation, _ = procrustes(rest, moved, np.ones(len(rest)))
            result += expression[:, index, None] * Rotation.from_matrix(rotation).as_rotvec()
    return result.astype(np.float32)
