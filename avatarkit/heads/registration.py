"""Laying the 468-vertex face over another head's surface, so that shapes can be carried between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]

IBUG51: tuple[int, ...] = (
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,  # brows, from the person's right
    168, 197, 5, 4, 98, 97, 2, 326, 327,  # nose: ridge, then base
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,  # eyes
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,  # outer lips
    78, 81, 13, 311, 308, 402, 14, 178,  # inner lips
)  # fmt: skip
"""Face-mesh landmark of each of the last 51 points (without the jaw line) of the 68-point iBUG scheme."""

STEPS = 15
STIFFNESS = (3.0, 0.02)
"""Weight of the deformation's smoothness against closeness, first and last step (geometric in between)."""
REACH = 0.012
"""Meters beyond which a closest point is not believed."""
FACING = 0.4
"""Least cosine between the normals of a vertex and of its closest point."""
CANDIDATES = 6


@dataclass(frozen=True)
class Registration:
    """Where each vertex of the 468-vertex face lies on a target surface of V vertices."""

    vertices: Array
    """[468, 3] points on the target surface."""
    corners: Index
    """[468, 3] vertices of the target triangle each point lies in."""
    weights: Array
    """[468, 3] its barycentric coordinates."""
    distance: Array
    """[468] meters between the deformed face and the surface before the final projection."""
    rotation: Array
    """[3, 3] of the similarity ``target = scale * rotation @ template + translation``."""
    scale: float
    translation: Array

    def sampled(self, field: NDArray[np.floating]) -> Array:
        """``field`` [..., V, C] of the target's vertices at the face's vertices [..., 468, C]."""
        picked = np.asarray(field)[..., self.corners, :].astype(np.float64)
        return (picked * self.weights[..., None]).sum(-2)

    def nearest(self) -> Index:
        """[468] target vertex with the largest share in each point."""
        rows = np.arange(len(self.corners))
        picked: Index = self.corners[rows, self.weights.argmax(1)]
        return picked


def similarity(source: Array, target: Array) -> tuple[float, Array, Array]:
    """Scale, rotation [3, 3] and translation [3] that bring ``source`` [N, 3] closest to ``target`` [N, 3].

    Umeyama, Least-squares estimation of transformation parameters between two point patterns (1991).
    """
    a, b = source - source.mean(0), target - target.mean(0)
    u, spread, vt = np.linalg.svd(b.T @ a)
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ sign @ vt
    scale = float((spread * np.diag(sign)).sum() / np.square(a).sum())
    return scale, rotation, target.mean(0) - scale * rotation @ source.mean(0)


def thin_plate(source: Array, target: Array, points: Array, stiffness: float = 1e-4) -> Array:
    """``points`` [N, 3] moved by the thin-plate spline (kernel r in space) taking ``source`` to ``target`` [K, 3].

    ``stiffness``: weight of bending, relative to the spread of ``source`` (0: exact at the controls).
    """

    def kernel(x: Array) -> Array:
        return np.linalg.norm(x[:, None] - source[None], axis=-1)

    count = len(source)
    affine = np.hstack([np.ones((count, 1)), source])
    system = np.zeros((count + 4, count + 4))
    system[:count, :count] = kernel(source) - stiffness * count * np.eye(count)
    system[:count, count:] = affine
    system[count:, :count] = affine.T
    right = np.vstack([target, np.zeros((4, 3))])
    solution = np.linalg.solve(system, right)
    moved: Array = (
        kernel(points) @ solution[:count] + np.hstack([np.ones((len(points), 1)), points]) @ solution[count:]
    )
    return moved


def umbrella(triangles: Index, count: int) -> Array:
    """Uniform Laplacian [count, count]: a vertex minus the mean of its neighbors."""
    adjacency = np.zeros((count, count))
    for i in range(3):
        adjacency[triangles[:, i], triangles[:, (i + 1) % 3]] = 1
        adjacency[triangles[:, (i + 1) % 3], triangles[:, i]] = 1
    return np.eye(count) - adjacency / np.maximum(adjacency.sum(1, keepdims=True), 1)


def vertex_normals(vertices: Array, triangles: Index) -> Array:
    """Unit normals [V, 3], area-weighted."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    face = np.cross(b - a, c - a)
    normal = np.zeros_like(vertices)
    for i in range(3):
        np.add.at(normal, triangles[:, i], face)
    return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-20)


class Surface:
    """Closest points on a triangle mesh."""

    def __init__(self, vertices: Array, triangles: Index) -> None:
        from scipy.spatial import cKDTree

        self.vertices, self.triangles = vertices, triangles
        self.corners = vertices[triangles]
        cross = np.cross(self.corners[:, 1] - self.corners[:, 0], self.corners[:, 2] - self.corners[:, 0])
        self.normals = cross / np.maximum(np.linalg.norm(cross, axis=1, keepdims=True), 1e-20)
        self.tree = cKDTree(self.corners.mean(1))

    def closest(self, points: Array, normals: Array) -> tuple[Array, Index, Array, Array]:
        """Closest point [N, 3], its triangle [N], barycentric coordinates [N, 3] and cosine of normals [N].

        Among the nearest triangles those that face the same way as the point come first, so that a lip
        does not land on the other one.
        """
        near = self.tree.query(points, k=CANDIDATES * 4)[1]  # [N, K]
        bary = _closest_in_triangles(points[:, None], self.corners[near])  # [N, K, 3]
        found = (bary[..., None] * self.corners[near]).sum(-2)
        distance = np.linalg.norm(found - points[:, None], axis=-1)
        cosine = (self.normals[near] * normals[:, None]).sum(-1)
        best = (distance + np.where(cosine < FACING, REACH, 0)).argmin(1)
        rows = np.arange(len(points))
        return found[rows, best], near[rows, best], bary[rows, best], cosine[rows, best]


def _closest_in_triangles(points: Array, corners: Array) -> Array:
    """Barycentric coordinates [..., 3] of the point of each triangle [..., 3, 3] closest to ``points`` [..., 3]."""
    a, b, c = corners[..., 0, :], corners[..., 1, :], corners[..., 2, :]
    ab, ac, ap = b - a, c - a, points - a
    d00, d01, d11 = (ab * ab).sum(-1), (ab * ac).sum(-1), (ac * ac).sum(-1)
    d20, d21 = (ap * ab).sum(-1), (ap * ac).sum(-1)
    area = np.maximum(d00 * d11 - d01 * d01, 1e-30)
    v, w = (d11 * d20 - d01 * d21) / area, (d00 * d21 - d01 * d20) / area
    inner = np.stack([1 - v - w, v, w], -1)
    best, error = inner, np.where((inner >= 0).all(-1), 0.0, np.inf)
    for i, j in ((0, 1), (1, 2), (2, 0)):  # otherwise the closest point lies on an edge
        start, along = corners[..., i, :], corners[..., j, :] - corners[..., i, :]
        t = np.clip(((points - start) * along).sum(-1) / np.maximum((along * along).sum(-1), 1e-30), 0, 1)
        gap = np.square(start + t[..., None] * along - points).sum(-1)
        edge = np.zeros_like(inner)
        edge[..., i], edge[..., j] = 1 - t, t
        closer = gap < error
        best = np.where(closer[..., None], edge, best)
        error = np.where(closer, gap, error)
    return best


def register(
    face: Array, face_triangles: Index, vertices: Array, triangles: Index, landmarks: Index
) -> Registration:
    """Register the 468-vertex ``face`` to the surface (``vertices`` [V, 3], ``triangles`` [F, 3]), meters.

    ``landmarks`` [51]: target vertices at ``IBUG51``. A similarity and a thin-plate spline on these, then
    non-rigid ICP (Amberg et al. 2007, with a Laplacian on the displacement): closest points that face the
    same way and lie near enough attract, ever less stiffly.
    """
    chosen = np.array(IBUG51)
    goal = vertices[landmarks]
    scale, rotation, translation = similarity(face[chosen], goal)
    placed = scale * face @ rotation.T + translation
    current = thin_plate(placed[chosen], goal, placed)
    surface = Surface(vertices, triangles)
    smooth = umbrella(face_triangles, len(face))
    bending = smooth.T @ smooth
    distance = np.zeros(len(face))
    for step in range(STEPS):
        stiffness = STIFFNESS[0] * (STIFFNESS[1] / STIFFNESS[0]) ** (step / (STEPS - 1))
        found, _, _, cosine = surface.closest(current, vertex_normals(current, face_triangles))
        distance = np.linalg.norm(found - current, axis=1)
        weight = ((distance < REACH) & (cosine > FACING)).astype(np.float64)
        system = np.diag(weight + 1e-6) + stiffness * bending
        current = current + np.linalg.solve(system, weight[:, None] * (found - current))
    found, inside, bary, _ = surface.closest(current, vertex_normals(current, face_triangles))
    return Registration(
        vertices=found,
        corners=triangles[inside],
        weights=bary,
        distance=np.linalg.norm(found - current, axis=1),
        rotation=rotation,
        scale=scale,
        translation=translation,
    )
