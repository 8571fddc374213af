"""Points of a deformed space taken back to where they came from, by the moves of scattered anchors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from avatarkit.ops import reference
from avatarkit.ops.checks import native_for, offsets, plain, shaped


@dataclass(frozen=True)
class WarpGrid:
    """Where a displacement volume lies: ``nodes`` along x, y and z, ``spacing`` apart, the first at ``low``."""

    low: tuple[float, float, float]
    spacing: float
    nodes: tuple[int, int, int]

    def __post_init__(self) -> None:
        if min(self.nodes) < 2 or not self.spacing > 0:
            raise ValueError(f"not a displacement volume: {self}")


class Warp(NamedTuple):
    """The displacement of images: ``volumes`` [B, nz, ny, nx, 4] of ``warp_volume``, and where they lie."""

    volumes: Tensor
    grid: WarpGrid


def warp_volume(places: Tensor, moves: Tensor, grid: WarpGrid, softening: float, still: float) -> Tensor:
    """The displacement field between anchors, by inverse distances (Shepard 1968).

    Args:
        places: [A, 3] where the anchors are now.
        moves: [A, 3] how far they have come.
        grid: the nodes at which the field is wanted.
        softening: added to squared distances, so that an anchor does not pin a node.
        still: weight of not moving; far from all anchors it wins.

    Returns:
        [nz, ny, nx, 4]: sum of w move / (sum of w + still), w = 1 / (distance^2 +
        softening)^2, and a zero. Not differentiable.
    """
    places = shaped("places", places, None, 3)
    moves = shaped("moves", moves, places.shape[0], 3)
    if not (softening > 0 and still > 0):
        raise ValueError("softening and still must be positive")
    native = native_for(places, moves)
    with torch.no_grad():
        if native is None:
            low = torch.tensor(grid.low, dtype=places.dtype)
            return reference.warp_volume(places, moves, low, grid.spacing, grid.nodes, softening, still)
        volume = torch.empty(*reversed(grid.nodes), 4)
        native.warp_volume(plain(places), plain(moves), softening, still, *grid.low, grid.spacing, volume)
        return volume


def warp_points(points: Tensor, image_offsets: Tensor, warp: Warp) -> Tensor:
    """Points minus their image's displacement there, inside the unit cube.

    Args:
        points: [N, 3] in the unit cube.
        image_offsets: [B + 1] int64, as in ``hash_encode``.
        warp: one volume an image; beyond their grid they go on as on its faces.

    Returns:
        [N, 3]. Not differentiable.
    """
    grid = warp.grid
    points = shaped("points", points, None, 3)
    volumes = shaped("volumes", warp.volumes, None, *reversed(grid.nodes), 4)
    image_offsets = offsets("image_offsets", image_offsets, points.shape[0])
    if image_offsets.numel() != volumes.shape[0] + 1:
        raise ValueError(f"{volumes.shape[0]} volumes need {volumes.shape[0] + 1} image_offsets")
    native = native_for(points, volumes)
    with torch.no_grad():
        if native is None:
            low = torch.tensor(grid.low, dtype=points.dtype)
            return reference.warp_points(points, volumes, image_offsets, low, grid.spacing)
        result = torch.empty_like(points)
        for image, volume in enumerate(volumes):
            begin, end = int(image_offsets[image]), int(image_offsets[image + 1])
            native.warp_points(plain(points), *grid.low, grid.spacing, plain(volume), begin, end, result)
        return result
