"""How expressions move the tracked head: the person's own shapes, and which vertices they move."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatarkit.files.errors import AvatarkitError
from avatarkit.files.track import Track

Float = NDArray[np.float32]

# Displacement (all coefficients at 0.3, meters) from which a vertex counts as moving.
MOVING = 0.002


def person_shapes(track: Track) -> Float | None:
    """[E, V, 3] the person's own shapes, or those of the head model the track was made with."""
    if track.shapes is not None:
        return np.asarray(track.shapes, np.float32)
    from avatarkit import heads

    try:
        head: Any = heads.load(track.meta.get("head", {}).get("name", "builtin"))
    except AvatarkitError:
        return None
    if len(head) != len(track.neutral) or tuple(head.expression_names) != tuple(track.expression_names):
        return None
    return np.asarray(head.shapes, np.float32)


def moving_vertices(shapes: Float) -> NDArray[np.bool_]:
    """[V] the vertices that expressions ``shapes`` [E, V, 3] (meters) move: the face."""
    return np.asarray(0.3 * np.sqrt(np.square(shapes).sum((0, 2))) > MOVING)
