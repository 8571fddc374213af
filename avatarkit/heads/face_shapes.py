"""The 52 ARKit expressions as displacements of the 468-vertex face, authored by rules.

Each expression is written for the person's left side as pulls of muscles at a few landmarks (or a rotation
of the mandible, the lids), in millimeters on a face of average size, and spread biharmonically over the
mesh. The right side is the mirror image. Meanings follow ARKit's ``ARFaceAnchor.BlendShapeLocation``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatarkit.heads import face_shapes_eyes, face_shapes_jaw, face_shapes_mouth
from avatarkit.heads.arkit import NAMES, mirrored
from avatarkit.heads.deform import Face
from avatarkit.heads.template import face_mirror

Array = NDArray[np.float64]


def face_shapes(vertices: NDArray[np.floating], triangles: NDArray[np.integer]) -> Array:
    """Displacements [52, 468, 3] in meters at coefficient 1, in the order of ``arkit.NAMES``.

    ``vertices`` [468, 3] is any neutral face of the mesh ``triangles`` [852, 3] in head space. On a
    symmetric face Left and Right shapes are exact mirror images and the others exactly symmetric.
    """
    mirror = face_mirror()
    face = Face(np.asarray(vertices, np.float64), np.asarray(triangles, np.int64))
    reflected = face.mirrored(mirror)
    same = np.allclose(face.vertices, reflected.vertices, rtol=0, atol=1e-9)
    left = _authored(face)
    right = left if same else _authored(reflected)
    shapes = np.empty((len(NAMES), *face.vertices.shape))
    for i, name in enumerate(NAMES):
        if name in left:
            shapes[i] = left[name]
        if mirrored(name) in right and (name not in left or mirrored(name) == name):
            other = right[mirrored(name)][mirror] * (-1, 1, 1)
            shapes[i] = (left[name] + other) / 2 if name in left else other
    return shapes


def _authored(face: Face) -> dict[str, Array]:
    """Displacements [468, 3] of the expressions without a side and of those of the person's left."""
    return face_shapes_eyes.shapes(face) | face_shapes_jaw.shapes(face) | face_shapes_mouth.shapes(face)
