"""Smooth deformations of the face mesh from a few handles: biharmonic fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatarkit.heads.extension import laplacian
from avatarkit.heads.landmarks import EYE_LEFT, EYE_RIGHT, Group
from avatarkit.heads.template import CORNEA, face_template

Array = NDArray[np.float64]
Index = NDArray[np.int64]

TENSION = 0.04
"""Meters (on a face of template size) beyond which stretching rather than bending shapes a field."""


@dataclass(frozen=True, eq=False)
class Face:
    """A neutral face to deform: ``vertices`` [468, 3] in head space and its ``triangles`` [852, 3].

    Everything authored is in millimeters on a face whose eyes are as far apart as the template's.
    """

    vertices: Array
    triangles: Index

    @cached_property
    def millimeter(self) -> float:
        """Meters of one authored millimeter on this face."""
        return _eye_distance(self.vertices) / _eye_distance(face_template()) / 1000

    @cached_property
    def energy(self) -> Any:
        """[468, 468] CSC: bending plus stretching energy of a field on the mesh (thin plate under tension)."""
        stiffness, inverse_mass = laplacian(self.vertices, self.triangles)
        tension = TENSION * 1000 * self.millimeter
        return (stiffness @ inverse_mass @ stiffness + stiffness / tension**2).tocsc()

    @cached_property
    def distances(self) -> Array:
        """[468, 468] straight-line distances in authored millimeters."""
        gap = self.vertices[:, None] - self.vertices[None]
        distance: Array = np.linalg.norm(gap, axis=-1) / self.millimeter
        return distance

    def extended(
        self, values: Mapping[int, Iterable[float]], hold: Group = (), reach: float = np.inf
    ) -> Array:
        """Field [468, C] through ``values`` at landmarks, 0 at ``hold`` and beyond ``reach`` mm of all handles.

        Minimizes the biharmonic energy of each component; where nothing is prescribed at the border, the
        border is free.
        """
        from scipy.sparse.linalg import splu

        at = np.array(list(values), np.int64)
        prescribed = np.array([tuple(value) for value in values.values()], np.float64)
        far = np.flatnonzero(self.distances[at].min(0) > reach)
        still = np.setdiff1d(np.union1d(far, np.array(hold, np.int64)), at)
        known = np.concatenate([at, still])
        field = np.zeros((len(self.vertices), prescribed.shape[1]))
        field[at] = prescribed
        free = np.setdiff1d(np.arange(len(field)), known)
        # Sparse, and not only for speed: a dense solver's bits depend on its number of threads.
        energy = self.energy[free]
        field[free] = splu(energy[:, free]).solve(-(energy[:, at] @ prescribed))
        return field

    def weight(self, values: Mapping[int, float], hold: Group = (), reach: float = np.inf) -> Array:
        """Scalar field [468] as ``extended``."""
        return self.extended({at: (value,) for at, value in values.items()}, hold, reach)[:, 0]

    def eyeball(self, lids: Group) -> Array:
        """Center [3] of the eyeball behind the closed loop ``lids``."""
        loop = self.vertices[list(lids)]
        front = np.sort(loop[:, 2])[-len(lids) // 2 :].mean()  # the margins around the pupil
        depth = CORNEA * 1000 * self.millimeter
        return np.array([*((loop.max(0) + loop.min(0))[:2] / 2), front - depth])

    def mirrored(self, mirror: Index) -> Face:
        """The face in a looking glass, its vertices renumbered so that it is a face of the same mesh."""
        return Face(self.vertices[mirror] * (-1, 1, 1), self.triangles)


def _eye_distance(vertices: Array) -> float:
    """Meters between the middles of both eyes' lid margins."""
    left, right = (vertices[list(loop)].mean(0) for loop in (EYE_LEFT, EYE_RIGHT))
    return float(np.linalg.norm(left - right))


def turned(points: Array, center: Array, axis: tuple[float, float, float], degrees: Array | float) -> Array:
    """Displacement [..., 3] of ``points`` [..., 3] turned about the line through ``center`` along ``axis``.

    ``degrees`` [...] may differ from point to point (right-hand rule).
    """
    unit = np.asarray(axis, np.float64) / np.linalg.norm(axis)
    arm = points - center
    angle = np.deg2rad(np.asarray(degrees, np.float64))[..., None]
    along = (arm @ unit)[..., None] * unit
    moved: Array = (arm - along) * (np.cos(angle) - 1) + np.cross(unit, arm) * np.sin(angle)
    return moved
