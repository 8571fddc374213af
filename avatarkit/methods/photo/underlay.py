"""The side of the head that a turn uncovers: an opaque, textured part of the head mesh beneath the photo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatarkit.heads.model import HeadModel
from avatarkit.methods.photo.frames import Similarity
from avatarkit.methods.photo.prepare import Layers
from avatarkit.methods.photo.warp import eased
from avatarkit.ops.layers import Laid, Layer, premultiplied

Array = NDArray[np.float64]
Float = NDArray[np.float32]

FADE = float(np.radians(4.0)), float(np.radians(12.0))
"""Turn from which the underlay begins to show, and at which it is opaque."""
INSET = 0.985


class Underlay:
    """Skin of the fitted head in the photo's pixels, drawn where the photo's own layers let through."""

    def __init__(self, model: HeadModel, vertices: Array, parts: Layers) -> None:
        """``vertices`` [V, 3] of the head at rest: pixels, and depth in the landmarks' unit."""
        kept = model.region_mask("skin", "eyelids", "brows", "ears", "lips")
        triangles = model.triangles[kept[model.triangles].all(1)]
        used = np.unique(triangles)
        place = np.full(len(vertices), -1)
        place[used] = np.arange(len(used))
        self.points = _inside(vertices[used], parts.alpha)
        flat = self.points[:, :2].astype(np.float32)
        self.layer = Layer(premultiplied(parts.color), place[triangles].astype(np.int32), flat, soft=True)
        self.jaw = model.skinning[used, 2:3].astype(np.float64)

    def laid(self, head: Similarity, turn: float, chin: Array) -> list[Laid]:
        """The layer under ``head``, as opaque as a ``turn`` (radians) asks for; none while it asks for nothing.

        ``chin`` [3]: what the jaw moves the chin before the head turns, pixels.
        """
        share = eased((turn - FADE[0]) / (FADE[1] - FADE[0]))
        if share <= 0:
            return []
        return [self.layer.at(head.applied(self.points + self.jaw * chin), share)]


def _inside(points: Array, alpha: Float) -> Array:
    """``points`` [N, 3] drawn together, row by row, where they stick out of the person's outline at rest."""
    height, width = alpha.shape
    middle = float(np.median(points[:, 0]))
    rows = np.clip(points[:, 1].astype(int), 0, height - 1)
    solid = alpha > 0.9
    result = points.copy()
    for row in np.unique(rows):
        chosen = np.flatnonzero(np.abs(rows - row) <= 2)
        here = rows == row
        for sign in (-1.0, 1.0):
            reach = float(np.max(sign * (points[chosen, 0] - middle), initial=0.0))
            allowed = INSET * _run(solid[row], int(np.clip(middle, 0, width - 1)), int(sign))
            if reach > allowed > 0:
                side = here & (sign * (points[:, 0] - middle) > 0)
                result[side, 0] = middle + (points[side, 0] - middle) * allowed / reach
    return result


def _run(solid: NDArray[np.bool_], start: int, step: int) -> float:
    """How many pixels from ``start`` in direction ``step`` stay ``solid``."""
    ahead = solid[start:] if step > 0 else solid[start::-1]
    gaps = np.flatnonzero(~ahead)
    return float(gaps[0] if len(gaps) else len(ahead))
