"""Where the points of a moving face come from: the tracked mesh's displacement carried into the space around it."""

from __future__ import annotations

import math
import os
import tempfile
import weakref
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatarkit.data.rays import SceneBox
from avatarkit.files.errors import AvatarkitError
from avatarkit.files.track import Track
from avatarkit.methods.shapes import MOVING, moving_vertices, person_shapes
from avatarkit.ops.warp import Warp, WarpGrid, warp_volume

Float = NDArray[np.float32]

# Nodes lie so far apart, meters.
SPACING = 0.006
# How far apart (meters) anchors lie on what moves and on what does not.
CLOSE, FAR = 0.009, 0.035
# Space around the anchors that moves with them, meters.
MARGIN = 0.02
# How close (meters) an anchor pins the field, and from how far away all of them together no longer count.
SOFTENING, REACH = 0.002, 0.035


@dataclass(frozen=True)
class MeshWarp:
    """Anchors on the person's neutral head and how every expression coefficient moves them, in the unit cube.

    A point x of the face as it is comes from x - D(x), D the displacement of the anchors around x at their moved
    places. It depends on the coefficients alone, so any driver moves it.
    """

    anchors: Tensor
    """[A, 3] at rest."""
    shapes: Tensor
    """[E, A, 3] moves at coefficient 1."""
    side: float
    """meters of the unit cube's side, in which the constants above are measured"""

    @classmethod
    def of(cls, track: Track, box: SceneBox) -> MeshWarp | None:
        """The warp of a clip's person; None where the track has no expression shapes for its mesh."""
        shapes = person_shapes(track)
        if shapes is None:
            return None
        moving = moving_vertices(shapes)
        chosen = np.concatenate(
            [
                np.flatnonzero(moving)[_spread(track.neutral[moving], CLOSE)],
                np.flatnonzero(~moving)[_spread(track.neutral[~moving], FAR)],
            ]
        )
        places = box.to_unit(track.neutral[chosen]).astype(np.float32)
        inside = ((places > 0) & (places < 1)).all(1)
        moves = shapes[:, chosen[inside]] / np.float32(box.side)
        return cls(torch.from_numpy(places[inside]), torch.from_numpy(np.ascontiguousarray(moves)), box.side)

    @cached_property
    def grid(self) -> WarpGrid:
        """The nodes around what moves, with a margin."""
        moving = 0.3 * self.shapes.square().sum((0, 2)).sqrt() > MOVING / self.side
        places = self.anchors[moving] if moving.any() else self.anchors
        low, high = places.amin(0) - MARGIN / self.side, places.amax(0) + MARGIN / self.side
        nodes = ((high - low) / (SPACING / self.side)).ceil().int().tolist()
        return WarpGrid(
            (float(low[0]), float(low[1]), float(low[2])),
            SPACING / self.side,
            (nodes[0] + 1, nodes[1] + 1, nodes[2] + 1),
        )

    def volume(self, expression: Tensor) -> Tensor:
        """[nz, ny, nx, 4] of coefficients [E]."""
        moves = (expression @ self.shapes.reshape(len(self.shapes), -1)).reshape(-1, 3)
        # So much weight has a plane of anchors, CLOSE apart, at the distance REACH.
        still = np.pi / (CLOSE * REACH) ** 2 * self.side**4
        volume = warp_volume(self.anchors + moves, moves, self.grid, (SOFTENING / self.side) ** 2, still)
        # Beyond the grid its faces go on: there nothing moves.
        volume[[0, -1]] = 0.0
        volume[:, [0, -1]] = 0.0
        volume[:, :, [0, -1]] = 0.0
        return volume

    def warp(self, expression: Tensor) -> Warp:
        """Of one image's coefficients [E], for rendering."""
        return Warp(self.volume(expression)[None], self.grid)

    def state(self) -> dict[str, Tensor]:
        """What the avatar's file keeps."""
        return {"anchors": self.anchors, "anchor_shapes": self.shapes.half()}

    @classmethod
    def from_state(cls, tensors: dict[str, Tensor], side: float, expressions: int) -> MeshWarp | None:
        """The inverse of ``state``; None where the file has no warp. Raises ValueError for what does not fit."""
        if "anchors" not in tensors:
            return None
        anchors, shapes = tensors["anchors"].float(), tensors["anchor_shapes"].float()
        if anchors.dim() != 2 or shapes.shape != (expressions, *anchors.shape) or anchors.shape[1] != 3:
            raise ValueError("the warp does not fit the header")
        if not (torch.isfinite(anchors).all() and torch.isfinite(shapes).all()):
            raise ValueError("the warp is not finite")
        return cls(anchors, shapes, side)


class FrameWarps:
    """The volumes of a clip's frames, computed when first asked for and kept on disk in half precision."""

    def __init__(self, mesh: MeshWarp, expression: Tensor) -> None:
        """``expression`` [T, E] of every tracked frame. Raises AvatarkitError where no file can be made."""
        self.mesh, self.expression, self.grid = mesh, expression, mesh.grid
        self._shape = (*reversed(self.grid.nodes), 4)
        self._bytes = 2 * math.prod(self._shape)
        self._known: set[int] = set()
        try:
            self._file = tempfile.TemporaryFile(  # noqa: SIM115 (lives as long as the object)
                prefix="avatarkit-", dir=os.environ.get("AVATARKIT_CACHE") or None
            )
        except OSError as error:
            raise AvatarkitError(
                f"the warp cache cannot be written ({error.strerror}): set AVATARKIT_CACHE to another folder"
            ) from error
        weakref.finalize(self, self._file.close)

    def of(self, positions: tuple[int, ...]) -> Warp:
        """The volumes of frames ``positions``."""
        return Warp(torch.stack([self._one(position) for position in positions]), self.grid)

    def _one(self, position: int) -> Tensor:
        if position not in self._known:
            values = self.mesh.volume(self.expression[position]).half()
            os.pwrite(self._file.fileno(), values.numpy().tobytes(), position * self._bytes)
            self._known.add(position)
        data = bytearray(os.pread(self._file.fileno(), self._bytes, position * self._bytes))
        return torch.frombuffer(data, dtype=torch.float16).reshape(self._shape).float()


def _spread(points: Float, spacing: float) -> NDArray[np.int64]:
    """Rows of ``points`` [N, 3], one per cell of a grid of ``spacing``: the first that lies in it."""
    cells = np.floor(points / spacing).astype(np.int64)
    return np.asarray(np.sort(np.unique(cells, axis=0, return_index=True)[1]), np.int64)
