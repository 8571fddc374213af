"""Where the face's texture is read along its outline, on the side that a turn brings into view."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.heads.landmarks import MESH
from avatarkit.heads.template import face_topology
from avatarkit.methods.photo.hands import shares

Array = NDArray[np.float64]
Image = NDArray[np.uint8]
INSIDE = 0.3
"""Share of the way to the face's middle at which the photo surely shows the face."""
GRAZING = 0.3
"""Cosine between skin and view up to which the photo shows skin too obliquely to be pulled open."""
OPENED = 0.12
"""Growth of that cosine at which the texture is read from further inside altogether."""
REACH = 0.13
"""How far inside it is read then, in face widths, per unit of missing cosine."""
DOUBTED = (0.45, 0.2)
"""``GRAZING`` and ``REACH`` where what the photo shows there is not the face's: the background, or a hand."""


class Outline:
    """Skin that the photo shows edge on.

    A few pixels at the photo's outline are a whole cheek when it turns to the viewer, and half of them are of what
    lies behind: drawn as they are they make ghosts of ear, collar and background on the cheek. As far as such skin
    opens, it is drawn with what lies further inside on the same cheek.
    """

    def __init__(self, landmarks: Array, doubt: Array | None = None) -> None:
        """``landmarks`` [>= 468, 3] of the photo, pixels and depth; ``doubt`` [468] see ``strange``, default none."""
        points = np.asarray(landmarks[:MESH], np.float64)
        triangles = face_topology()
        a, b, c = (points[triangles[:, i]] for i in range(3))
        across = np.cross(b - a, c - a)
        normals = np.zeros((MESH, 3))
        for i in range(3):
            np.add.at(normals, triangles[:, i], across)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        normals *= -np.sign(normals[:, 2].sum())  # to the viewer
        width = float(np.linalg.norm(points[454, :2] - points[234, :2]))
        flat = normals[:, :2] / np.maximum(np.linalg.norm(normals[:, :2], axis=1, keepdims=True), 1e-9)
        # Holes of nose, eyes and mouth are steep, too, but they are no outline; brows would be drawn out to the hair.
        center = (points[454, :2] + points[234, :2] + points[10, :2] + points[152, :2]) / 4
        away = np.linalg.norm(points[:, :2] - center, axis=1)
        outer = np.clip((away / (0.5 * width) - 0.7) / 0.2, 0, 1)
        eyes, nose = points[[33, 263]].mean(0), points[2]
        down = (points[:, :2] - eyes[:2]) @ (nose - eyes)[:2] / float(np.sum((nose - eyes)[:2] ** 2))
        share = np.zeros(MESH) if doubt is None else doubt
        grazing, reach = (
            least + share * (most - least) for least, most in zip((GRAZING, REACH), DOUBTED, strict=True)
        )
        missing = np.clip(grazing + normals[:, 2], 0, None) * outer * np.clip((down - 0.1) / 0.5, 0, 1)
        self.normals = normals
        self.inwards = -(reach * width * missing)[:, None] * flat

    def shifts(self, rotation: Array) -> Array:
        """[468, 2] by how much the texture is read elsewhere when the head is turned by ``rotation`` [3, 3], pixels."""
        opened = self.normals[:, 2] - self.normals @ rotation[2]
        share = np.clip(opened / OPENED, 0, 1)
        return np.asarray(share[:, None] * self.inwards)


def strange(photo: Image, plate: Image, landmarks: Array, hands: Array) -> Array:
    """[468] share to which the ``photo`` at the face's landmarks does not show the face.

    Where it looks more like the background ``plate`` [H, W, 3] than like the cheek further inside, and where one of
    the ``hands`` [N, 21, 2] lies. What is strange about a landmark is so about its neighbors, too.
    """
    face = landmarks[:MESH, :2]
    center = (face[454] + face[234] + face[10] + face[152]) / 4
    height, width = photo.shape[:2]
    size = max(float(np.linalg.norm(face[454] - face[234])), 1.0)
    seen, behind = (cv2.GaussianBlur(p, (0, 0), 0.01 * size).astype(np.float32) for p in (photo, plate))

    def at(picture: NDArray[np.float32], share: float) -> NDArray[np.float32]:
        places = np.clip((face + share * (center - face)).astype(int), 0, (width - 1, height - 1))
        return picture[places[:, 1], places[:, 0]]

    skin = at(seen, INSIDE)
    found = shares(face, hands, face)
    for share in (0.0, 0.5 * INSIDE):
        here = at(seen, share)
        to_skin, to_plate = (np.linalg.norm(here - other, axis=1) for other in (skin, at(behind, share)))
        found = np.maximum(found, np.clip((to_skin - to_plate) / 30, 0, 1))
    triangles, around = face_topology(), found.copy()
    for i in range(3):
        np.maximum.at(around, triangles[:, i], found[triangles].max(1))
    return np.asarray(around)
