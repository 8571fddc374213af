"""The tracked head's vertices, dense enough to carry codes, and where expressions move them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from avatarkit.data.rays import SceneBox
from avatarkit.files.errors import AvatarkitError
from avatarkit.files.track import Track
from avatarkit.methods.shapes import person_shapes

Float = NDArray[np.float32]
# Vertices that a head of the papers has; a coarser one is subdivided once (MA-NeRF, seed 000, eq. 3: 34,650).
ENOUGH = 20_000
# A mesh whose vertices span less than this (meters) is none.
LEAST_SPAN = 0.05


class HeadVertices(nn.Module):
    """V vertices in the unit cube: ``neutral`` [V, 3], and what E coefficients move them by, ``shapes`` [E, V, 3]."""

    neutral: Tensor
    shapes: Tensor

    def __init__(self, neutral: Tensor, shapes: Tensor) -> None:
        super().__init__()
        self.register_buffer("neutral", neutral)
        self.register_buffer("shapes", shapes.half())

    @classmethod
    def of(cls, track: Track, box: SceneBox) -> HeadVertices:
        """Of the person in a track, as far as they lie inside the box.

        Raises AvatarkitError where the track has no mesh, or no shapes for it.
        """
        shapes = person_shapes(track)
        neutral = track.neutral
        if shapes is None or not len(neutral) or float(np.ptp(neutral, axis=0).min()) < LEAST_SPAN:
            raise AvatarkitError("the track has no head mesh with expressions: track the clip again")
        if len(neutral) < ENOUGH:
            ends = _edges(track)
            if len(ends):
                neutral = np.concatenate([neutral, neutral[ends].mean(1)])
                shapes = np.concatenate([shapes, shapes[:, ends].mean(2)], 1)
        places = box.to_unit(neutral.astype(np.float32))
        inside = ((places > 0) & (places < 1)).all(1)
        moves = shapes[:, inside] / np.float32(box.side)
        return cls(torch.from_numpy(places[inside]), torch.from_numpy(np.ascontiguousarray(moves)))

    @classmethod
    def empty(cls, count: int, expressions: int) -> HeadVertices:
        """One to be filled by ``load_state_dict``."""
        return cls(torch.zeros(count, 3), torch.zeros(expressions, count, 3))

    def __len__(self) -> int:
        return len(self.neutral)

    def moves(self, expression: Tensor) -> Tensor:
        """[V, 3] how far coefficients [E] move the vertices from the neutral face."""
        active = expression.nonzero()[:, 0]
        moved: Tensor = torch.einsum("e,evc->vc", expression[active], self.shapes[active].float())
        return moved


def _edges(track: Track) -> NDArray[np.int64]:
    """[M, 2] ends of the edges of the track's mesh; none where its triangles are not known."""
    from avatarkit import heads

    name = track.meta.get("head", {}).get("name", "builtin")
    try:
        head = heads.load(name if name in ("builtin", "ict") else Path(name))
    except AvatarkitError:
        return np.empty((0, 2), np.int64)
    if len(head) != len(track.neutral):
        return np.empty((0, 2), np.int64)
    sides = head.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64)
    return np.unique(np.sort(sides, 1), axis=0)
