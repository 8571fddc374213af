"""A head as other programs take it: textured triangles, morph targets, a skeleton, and how both move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Joint:
    """A bone's pivot."""

    name: str
    parent: int
    """index of the joint it hangs from; -1: the root"""
    place: Float
    """[3] at rest, meters"""


@dataclass(frozen=True, eq=False)
class Motion:
    """T moments of a rigged head."""

    times: Float
    """[T] seconds, rising"""
    weights: Float
    """[T, E] of the morph targets"""
    turns: Float
    """[T, J, 4] quaternions (x, y, z, w) of the joints against their parents"""
    travel: Float
    """[T, 3] place of the root joint, meters"""


@dataclass(frozen=True, eq=False)
class RiggedHead:
    """V vertices (one for every place and texture coordinate), F triangles, E morph targets, J joints.

    Meters, right-handed, +y up, +z out of the face, +x to the person's left: the axes of head space are glTF's.
    """

    name: str
    vertices: Float
    """[V, 3] at rest, no target applied"""
    normals: Float
    """[V, 3] unit"""
    uv: Float
    """[V, 2] v up"""
    triangles: NDArray[np.int32]
    """[F, 3] counter-clockwise from outside"""
    texture: NDArray[np.uint8]
    """[S, S, 3] sRGB"""
    targets: Float
    """[E, V, 3] displacements at weight 1"""
    target_names: tuple[str, ...]
    joints: tuple[Joint, ...]
    skinning: Float
    """[V, J] weights of the joints; rows sum to 1"""
    rest: Float
    """[E] weights of the targets at which the person is shown when nothing moves"""
    motion: Motion | None = None
