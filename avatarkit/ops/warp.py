"""Points of a deformed space taken back to where they came from, by the moves of scattered anchors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from avatarkit.ops import reference
from avatarkit.ops.checks import native_for, offsets, plain, shaped


@dataclass(frozen=True)
class WarpCube:
    """Where a displacement volume lies: ``nodes`` a side, the first at ``low``, the last ``side`` further on."""

    low: tuple[float, float, float]
    side: float
    nodes: int

    def __post_init__(self) -> None:
        if self.nodes < 2 or not self.side > 0:
            raise ValueError(f"not a displacement volume: {self}")


def warp_volume(places: Tensor, moves: Tensor, cube: WarpCube, softening: float, still: float) -> Tensor:
    """The displacement field between anchors, by inverse distances (Shepard 1968).

    Args:
        places: [A, 3] where the anchors are now.
        moves: [A, 3] how far they have come.
        cube: the nodes at which the field is wanted.
        softening: added to squared distances, so that an anchor does not pin a node.
        still: weight of not moving; far from all anchors it wins.

    Returns:
        [nodes, nodes, nodes, 4], indexed z, y, x: sum of w move / (sum of w + still), w = 1 / (distance^2 +
        softening)^2, and a zero. Not differentiable.
    """
    places = shaped("places", places, None, 3)
    moves = shaped("moves", moves, places.shape[0], 3)
    if not (softening > 0 and still > 0):
        raise ValueError("softening and still must be positive")
    native = native_for(places, moves)
    with torch.no_grad():
        if native is None:
            low = torch.tensor(cube.low, dtype=places.dtype)
            return reference.warp_volume(places, moves, low, cube.side, cube.nodes, softening, still)
        volume = torch.empty(cube.nodes, cube.nodes, cube.nodes, 4)
        native.warp_volume(plain(places), plain(moves), softening, still, *cube.low, cube.side, volume)
        return volume


def warp_points(points: Tensor, volumes: Tensor, image_offsets: Tensor, cube: WarpCube) -> Tensor:
    """Points minus their image's displacement there, inside the unit cube.

    Args:
        points: [N, 3] in the unit cube.
        volumes: [B, nodes, nodes, nodes, 4] of ``warp_volume``; beyond the cube they go on as on its faces.
        image_offsets: [B + 1] int64, as in ``hash_encode``.
        cube: where the volumes lie.

    Returns:
        [N, 3]. Not differentiable.
    """
    points = shaped("points", points, None, 3)
    volumes = shaped("volumes", volumes, None, cube.nodes, cube.nodes, cube.nodes, 4)
    image_offsets = offsets("image_offsets", image_offsets, points.shape[0])
    if image_offsets.numel() != volumes.shape[0] + 1:
        raise ValueError(f"{volumes.shape[0]} volumes need {volumes.shape[0] + 1} image_offsets")
    native = native_for(points, volumes)
    with torch.no_grad():
        if native is None:
            low = torch.tensor(cube.low, dtype=points.dtype)
            return reference.warp_points(points, volumes, image_offsets, low, cube.side)
        result = torch.empty_like(points)
        for image, volume in enumerate(volumes):
            begin, end = int(image_offsets[image]), int(image_offsets[image + 1])
            native.warp_points(plain(points), *cube.low, cube.side, plain(volume), begin, end, result)
        return result
