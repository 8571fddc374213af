"""Where the face's texture is read along its outline, on the side that a turn brings into view."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatarkit.heads.landmarks import MESH
from avatarkit.heads.template import face_topology

Array = NDArray[np.float64]
GRAZING = 0.3
"""Cosine between skin and view up to which the photo shows skin too obliquely to be pulled open."""
OPENED = 0.12
"""Growth of that cosine at which the texture is read from further inside altogether."""
REACH = 0.13
"""How far inside it is read then, in face widths, per unit of missing cosine."""


class Outline:
    """Skin that the photo shows edge on.

    A few pixels at the photo's outline are a whole cheek when it turns to the viewer, and half of them are of what
    lies behind: drawn as they are they make ghosts of ear, collar and background on the cheek. As far as such skin
    opens, it is drawn with what lies further inside on the same cheek.
    """

    def __init__(self, landmarks: Array) -> None:
        """``landmarks`` [>= 468, 3] of the photo, pixels and depth."""
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
        missing = np.clip(GRAZING + normals[:, 2], 0, None) * outer * np.clip((down - 0.1) / 0.5, 0, 1)
        self.normals = normals
        self.inwards = -REACH * width * missing[:, None] * flat

    def shifts(self, rotation: Array) -> Array:
        """[468, 2] by how much the texture is read elsewhere when the head is turned by ``rotation`` [3, 3], pixels."""
        opened = self.normals[:, 2] - self.normals @ rotation[2]
        share = np.clip(opened / OPENED, 0, 1)
        return np.asarray(share[:, None] * self.inwards)
