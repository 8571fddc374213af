"""Face frames: where a set of landmarks sits, and what it does in its own coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from avatarkit.heads.landmarks import STABLE
from avatarkit.heads.template import face_template

Array = NDArray[np.float64]
_STABLE = np.array(STABLE)


@dataclass(frozen=True)
class Similarity:
    """x -> scale * rotation x + shift."""

    scale: float
    rotation: Array
    """[3, 3]"""
    shift: Array
    """[3]"""

    def applied(self, points: Array) -> Array:
        """``points`` [..., 3] moved."""
        return np.asarray(self.scale * points @ self.rotation.T + self.shift)

    def undone(self, points: Array) -> Array:
        """``points`` [..., 3] moved back."""
        return np.asarray((points - self.shift) @ self.rotation / self.scale)


def fitted(source: Array, target: Array) -> Similarity:
    """The similarity with least squares that takes ``source`` [P, 3] to ``target`` [P, 3] (Umeyama 1991)."""
    middle, goal = source.sum(0) / len(source), target.sum(0) / len(target)  # .mean takes twice as long
    left, right = source - middle, target - goal
    u, s, vt = np.linalg.svd(right.T @ left)
    flip = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * flip) @ vt
    scale = float((s * flip).sum() / np.square(left).sum())
    return Similarity(scale, rotation, goal - scale * rotation @ middle)


@lru_cache(maxsize=1)
def template() -> Array:
    """[468, 3] the template face in image axes (x right, y down, z away), meters."""
    return face_template() * (1.0, -1.0, -1.0)


def face_frame(landmarks: Array) -> Similarity:
    """From the template's axes to ``landmarks`` [>= 468, 3], by the points that expressions hardly move."""
    return fitted(template()[_STABLE], landmarks[_STABLE])


def motion_of(neutral: Array, now: Array) -> Similarity:
    """The head's own motion from landmarks ``neutral`` to ``now``, both [>= 468, 3]."""
    return fitted(neutral[_STABLE], now[_STABLE])


def sizes(canonical: Array) -> Array:
    """[3] width, height and depth of a face [>= 468, 3] in template axes."""
    across = np.linalg.norm(canonical[454] - canonical[234])
    along = np.linalg.norm(canonical[10] - canonical[152])
    return np.array([across, along, (across + along) / 2])
