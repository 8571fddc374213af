"""Head models: a mesh with identity, expression shapes, joints and semantic regions, and its file format."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

JOINTS = ("neck", "jaw", "eyeLeft", "eyeRight")
"""Joint order of ``HeadModel.joints``; the columns of ``skinning`` are (cranium, *JOINTS)."""

Float = NDArray[np.float32]


@dataclass(frozen=True)
class HeadModel:
    """A head in head space (meters, +x to the person's left, +y up, +z out of the face).

    The cranium is the root: a vertex weighted wholly to column 0 of ``skinning`` moves only with the
    head's pose. The torso hangs from the neck joint by the *inverse* neck rotation, so ``neck`` is the
    rotation of the head against the torso.

    Shapes: V vertices, F triangles, E expressions, U texture vertices, L landmarks, R regions.
    """

    name: str
    version: str
    vertices: Float
    """[V, 3] the neutral head."""
    triangles: NDArray[np.int32]
    """[F, 3] counter-clockwise seen from outside."""
    shapes: Float
    """[E, V, 3] displacement of each expression at coefficient 1 (jaw shapes move teeth and tongue too)."""
    expression_names: tuple[str, ...]
    joints: Float
    """[4, 3] rest positions of JOINTS."""
    skinning: Float
    """[V, 5] linear-blend weights over (cranium, neck i.e. torso, jaw, eyeLeft, eyeRight); rows sum to 1."""
    uv: Float
    """[U, 2] in [0, 1], v up."""
    uv_triangles: NDArray[np.int32]
    """[F, 3] indices into ``uv``."""
    region: NDArray[np.uint8]
    """[V] index into ``region_names``."""
    region_names: tuple[str, ...]
    mirror: NDArray[np.int32]
    """[V] index of the vertex at (-x, y, z); an involution."""
    landmarks: NDArray[np.int32]
    """[478] vertex index of each mediapipe face-mesh landmark (468 and 473: iris centers, right and left)."""

    def hash(self) -> str:
        """SHA-256 of the arrays, to tell whether two files speak of the same head."""
        raise RuntimeError("written by the heads room")
