"""A moved mesh to a frame: the photo's layers over each other, in one call."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from avatarkit.heads import landmarks as marks
from avatarkit.methods.photo import beyond
from avatarkit.methods.photo.mesh import Mesh
from avatarkit.methods.photo.prepare import Layers
from avatarkit.ops import layers
from avatarkit.ops.layers import Composed, Laid, Layer

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

FOLD = 2.5
"""Pixels of the photo between two neighbors from which they lie on different surfaces."""


class Canvas:
    """Draws the photo's mesh at new places, with other layers beneath and above."""

    def __init__(self, mesh: Mesh, parts: Layers) -> None:
        """A ``mesh`` of the photo that is ``parts``; eyes and mouth are closed by triangles."""
        triangles = np.concatenate([mesh.triangles, hole_triangles()])
        texture, triangles, places, self.twice = beyond.added(
            parts.premultiplied(), triangles, mesh.points, mesh.face, (parts.photo != parts.plate).any(-1)
        )
        self.person = Layer(texture, triangles, places.astype(np.float32), fold=FOLD)
        self.plate = layers.premultiplied(parts.plate)
        self.color = layers.premultiplied(parts.color)

    def before(self, plate: Image) -> Canvas:
        """The same canvas with another background [H, W, 3]."""
        other = copy.copy(self)
        other.plate = layers.premultiplied(plate)
        return other

    def drawn(
        self, points: Array, beneath: Sequence[Laid] = (), shifts: Array | None = None, alone: bool = False
    ) -> Composed:
        """A frame in which the mesh lies at ``points`` [N, 3], above the layers ``beneath``.

        ``shifts`` [468, 2]: from where else the face's texture is read, pixels (see ``outline``).
        ``alone``: the person, before its own colors instead of the background, and with its alpha.
        """
        person = self.person
        if shifts is not None and shifts.any():
            places = person.places.copy()
            places[: marks.MESH] += shifts
            person = replace(person, places=places)
        laid = [*beneath, person.at(np.concatenate([points, points[self.twice]]))]
        return layers.compose(self.color if alone else self.plate, laid, len(beneath), alone)


def hole_triangles() -> NDArray[np.int32]:
    """Triangles over the eyes and the mouth, between facing landmarks of their borders."""
    strips = []
    for upper, lower in (
        (marks.LID_UPPER_RIGHT, marks.LID_LOWER_RIGHT),
        (marks.LID_UPPER_LEFT, marks.LID_LOWER_LEFT),
        (marks.LIPS_UPPER_INNER, marks.LIPS_LOWER_INNER),
    ):
        for i in range(len(upper) - 1):
            quad = (upper[i], upper[i + 1], lower[i], lower[i + 1])
            strips += [(quad[0], quad[2], quad[1]), (quad[1], quad[2], quad[3])]
    return np.array([t for t in strips if len(set(t)) == 3], np.int32)
