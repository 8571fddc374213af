"""How well the training frames showed each part of a head, and plain colors for what they did not.

What the texture network says of places and views it was never asked for is noise: streaks at the back of the head, the
background's gray behind the ears. There the avatar shows what was seen nearby, evenly spread over the mesh, instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix, diags
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree
from torch import Tensor

from avatarkit.data.clip import ClipFrames
from avatarkit.methods.nha.figure import MARGIN, SOFT, Figure, Moment
from avatarkit.methods.nha.template import EYES, INSIDE, Template

Float = NDArray[np.float32]

UNSEEN = -(MARGIN + SOFT)
EDGE = 2
"""Pixels of a 256-pixel crop at the rim of the matte that show background, too."""
ENOUGH = 0.05
"""Pixels a frame from which on a vertex' color is half believed."""
SMOOTH, ACROSS = 3.0, 0.001
"""Of neighbors' plain colors, in units of a vertex that was seen well: within skin or hair, and between the two."""
MIRRORED = 0.3
"""What the other side of the head says of one that was not seen."""
RIDGE = 2e-3
"""What the mean of all skin, or of all hair, says everywhere: far from what was seen it is all that is left."""
EYE, LIP = 0.02, 0.015
"""Meters around the eyes' centers and the lips in which everything was seen: lids in blinks, lips in speech."""
LIPS = (13, 14, 78, 308, 0, 17)
"""Landmarks"""
ROUNDS = 3
"""Of softening: about so many rings of vertices wide."""


@dataclass(frozen=True, eq=False)
class Coverage:
    """Of a template's V vertices."""

    facing: Float
    """[V] the largest cosine between normal and view in any two training frames; ``UNSEEN`` if there were none"""
    plain: Float
    """[V, 3] sRGB, evenly spread"""

    def state(self) -> dict[str, Tensor]:
        """Tensors of the avatar file, 8 bits a number."""
        facing, plain = np.rint(self.facing * 127), np.rint(np.clip(self.plain, 0, 1) * 255)
        return {
            "coverage.facing": torch.from_numpy(facing.astype(np.int8)),
            "coverage.plain": torch.from_numpy(plain.astype(np.uint8)),
        }

    @classmethod
    def from_state(cls, tensors: dict[str, Tensor], vertices: int) -> Coverage:
        """The inverse of ``state``. Raises KeyError or ValueError where something is missing or does not fit."""
        facing, plain = (tensors[f"coverage.{name}"].numpy() for name in ("facing", "plain"))
        if facing.shape != (vertices,) or plain.shape != (vertices, 3):
            raise ValueError(f"the coverage is of {len(facing)} vertices, not {vertices}")
        return cls(facing.astype(np.float32) / 127, plain.astype(np.float32) / 255)

    def tensor(self) -> Tensor:
        """[V, 4] plain colors and facing, as ``Figure.coverage`` holds them."""
        return torch.from_numpy(np.column_stack([self.plain, self.facing]))


def survey(
    figure: Figure, clip: ClipFrames, frames: Iterable[tuple[int, Moment]], fields: Tensor
) -> Coverage:
    """The coverage of a fitted ``figure`` by training ``frames``: positions of the ``clip``, and what moves the head.

    ``fields`` are those of the geometry network.
    """
    count, resolution = len(figure.template), clip.resolution
    best = np.full((2, count), UNSEEN, np.float32)
    total, weight, seen = np.zeros((count, 3)), np.zeros(count), 0
    reach = 2 * max(round(EDGE * resolution / 256), 1) + 1
    for position, moment in frames:
        with torch.no_grad():
            surface = figure.surface(figure.shape(moment, fields).vertices, clip.camera)
        inside = cv2.erode(clip.head(position), np.ones((reach, reach), np.uint8)) > 127
        clear = inside & (surface.opacity[..., 0] > 0.9).numpy() & (surface.face >= 0).numpy()
        corners = figure.template.triangles[surface.face.numpy()[clear]].reshape(-1)  # [3 N]
        facing = -surface.normals.numpy()[clear][:, 2]
        found = np.full(count, UNSEEN, np.float32)
        np.maximum.at(found, corners, np.repeat(facing, 3))
        best[1] = np.maximum(best[1], np.minimum(best[0], found))
        best[0] = np.maximum(best[0], found)
        share = surface.barycentric.numpy()[clear] * np.square(np.maximum(facing, 0))[:, None]
        colors = clip.rgb(position)[clear] / 255.0
        weight += np.bincount(corners, share.reshape(-1), count)
        for channel in range(3):
            total[:, channel] += np.bincount(corners, (share * colors[:, channel, None]).reshape(-1), count)
        seen += 1
    color = total / np.maximum(weight, 1e-9)[:, None]
    belief = weight / (weight + ENOUGH * max(seen, 1))
    result = Coverage(
        _facing(figure.template, best[min(seen, 2) - 1]), spread(figure.template, color, belief)
    )
    return Coverage.from_state(result.state(), count)  # to the bit what the avatar's file will say


def _facing(template: Template, best: Float) -> Float:
    """``best`` [V], smoothed over the mesh; 1 where everything is shown by any clip."""
    facing = _softened(_neighbors(template), best)
    around = np.concatenate([template.joints[2:4], template.neutral[template.landmarks[list(LIPS)]]])
    away = np.linalg.norm(template.neutral[:, None] - around, axis=-1)
    facing[(away[:, :2].min(1) < EYE) | (away[:, 2:].min(1) < LIP)] = 1
    facing[np.isin(template.group, (EYES, INSIDE))] = 1
    return facing.astype(np.float32)


def spread(template: Template, color: NDArray[np.floating], belief: NDArray[np.floating]) -> Float:
    """[V, 3] colors near ``color`` [V, 3] as far as ``belief`` [V] in [0, 1] goes, and as even as can be elsewhere.

    The x that minimizes sum b_v |x_v - c_v|^2 + sum b'_v |x_v - c_v'|^2 + sum r |x_v - m_v|^2 + sum over edges s_vw
    |x_v - x_w|^2: v' is the vertex on the other side of the head, b' what it knows more, m the mean of the vertex'
    group. Skin and hair hardly mix.
    """
    neighbors = _neighbors(template).tocoo()
    group = template.group
    same = group[neighbors.row] == group[neighbors.col]
    edges = csr_matrix(
        (SMOOTH * np.where(same, 1.0, ACROSS), (neighbors.row, neighbors.col)), neighbors.shape
    )
    away, mirror = cKDTree(template.neutral).query(template.neutral * np.array((-1, 1, 1), np.float32))
    twin = (away < 0.01) & (group[mirror] == group)
    borrowed = MIRRORED * belief[mirror] * (1 - belief) * twin
    mean = np.stack([_mean(color, belief * (group == kind)) for kind in range(int(group.max()) + 1)])
    known = belief + borrowed + RIDGE
    right = belief[:, None] * color + borrowed[:, None] * color[mirror] + RIDGE * mean[group]
    matrix = diags(known + np.asarray(edges.sum(1))[:, 0]) - edges
    # a hairline is no row of triangles
    plain = _softened(neighbors.tocsr(), splu(matrix.tocsc()).solve(right))
    return np.clip(plain, 0, 1).astype(np.float32)


def _softened(neighbors: csr_matrix, values: NDArray[np.floating]) -> NDArray[np.floating]:
    """[V, ...] ``values``, ``ROUNDS`` times halfway to the mean of their neighbors'."""
    mean = diags(1 / np.maximum(np.asarray(neighbors.sum(1))[:, 0], 1)) @ neighbors
    for _ in range(ROUNDS):
        values = 0.5 * values + 0.5 * (mean @ values)
    return values


def _neighbors(template: Template) -> csr_matrix:
    """[V, V] 1 where an edge joins two vertices."""
    t = template.triangles.astype(np.int64)
    a, b = t[:, [0, 1, 2, 1, 2, 0]].reshape(-1), t[:, [1, 2, 0, 0, 1, 2]].reshape(-1)
    count = len(template)
    found = coo_matrix((np.ones(len(a)), (a, b)), (count, count)).tocsr()
    found.data[:] = 1
    return found


def _mean(color: NDArray[np.floating], weight: NDArray[np.floating]) -> NDArray[np.floating]:
    total = float(weight.sum())
    return (color * weight[:, None]).sum(0) / total if total > 0 else np.full(3, 0.5)
