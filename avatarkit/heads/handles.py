"""How an expression is written down: pulls at landmarks, what is held, how far it reaches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from avatarkit.heads.deform import Face
from avatarkit.heads.landmarks import Group
from avatarkit.heads.template import face_mirror

Array = NDArray[np.float64]
Pull = tuple[float, float, float]
"""Outwards (to the person's left), up, forwards: millimeters on a face of average size."""


@dataclass(frozen=True)
class Shape:
    """An expression of the person's left side, or of both."""

    pulls: Mapping[int, Pull] = field(default_factory=dict)
    hold: Group = ()
    """Landmarks that stay."""
    reach: float = np.inf
    """Millimeters from the nearest pull beyond which everything stays."""
    both: bool = False
    """The same happens on the right side: pulls and held landmarks count for their mirror images too."""


def bent(face: Face, shape: Shape) -> Array:
    """Displacements [468, 3] in meters of ``shape`` on ``face``."""
    pulls, hold = dict(shape.pulls), shape.hold
    if shape.both:
        mirror = face_mirror()
        pulls = {int(mirror[at]): (-out, up, forward) for at, (out, up, forward) in pulls.items()} | pulls
        hold = (*hold, *(int(mirror[at]) for at in hold))
    hold = tuple(at for at in hold if at not in pulls)
    return face.extended(pulls, hold, shape.reach) * face.millimeter


def both_sides(values: Mapping[int, float]) -> dict[int, float]:
    """``values`` at landmarks, the same at their mirror images."""
    mirror = face_mirror()
    return {int(mirror[at]): value for at, value in values.items()} | dict(values)
