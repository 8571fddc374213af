"""How everything around the face follows it: a thin plate held at the face's oval, solved once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_matrix

from avatarkit.heads.landmarks import MESH, OVAL
from avatarkit.methods.photo.mesh import Mesh

Array = NDArray[np.float64]
STIFFNESS = 0.02
"""Weight of the targets against bending, at a face of 256 pixels and a grid of 16."""
FLANK, FLANK_LENGTH = 0.4, 0.3
"""Half depth of the head's flank, and the distance from the oval over which it opens, in face widths."""


@dataclass(frozen=True)
class Warp:
    """Displacements of the N - 468 outer points, linear in what moves them."""

    from_oval: Array
    """[M, 36]"""
    from_head: Array
    """[M, 4] times the head's map minus identity."""
    from_body: Array
    """[M, 3] times the torso's similarity minus identity."""
    from_rim: Array
    """[M, 2] times what a turn does to the outline: see ``rim``."""

    def displaced(self, oval: Array, head: Array, body: Array) -> Array:
        """[M, 2] displacement, pixels.

        ``oval`` [36, 2] displacement of the oval; ``head`` [2, 4] takes (x, y, z, 1) to the displacement of the
        rigid head; ``body`` [2, 3] takes (x, y, 1) to that of the torso.
        """
        moved: Array = self.from_oval @ oval + self.from_head @ head.T + self.from_body @ body.T
        deep = head[:, 2]  # what one pixel of depth does
        size = float(np.linalg.norm(deep))
        if size > 1e-9:
            moved += self.from_rim @ np.outer(deep / size, deep)
        return moved


def solve(mesh: Mesh, depth: Array, step: float, rigid: Array | None = None) -> Warp:
    """Minimize |L u|^2 + lambda |u - w_head u_head - w_body u_body|^2 with u given on the oval (findings E, 4).

    L is the umbrella Laplacian of rings and grid; ``depth`` [M] is that of the outer points, ``step`` the
    grid's. The head's share ends below the chin, far to the sides and far above; the torso's begins where the
    head's ends below. ``rigid`` [M]: share of each outer point that goes with the head wherever it lies (hands).
    """
    points = mesh.points
    outer = np.arange(MESH, len(points))
    oval = np.array(OVAL)
    order = np.full(len(points), -1)
    order[outer] = np.arange(len(outer))
    order[oval] = len(outer) + np.arange(len(oval))
    faces = order[mesh.triangles]
    faces = faces[(faces >= 0).all(1) & (mesh.triangles >= MESH).any(1)]
    count = len(outer) + len(oval)
    near = np.zeros((count, count))
    for i, j in ((0, 1), (1, 2), (2, 0)):
        near[faces[:, i], faces[:, j]] = near[faces[:, j], faces[:, i]] = 1
    laplacian = near / np.maximum(near.sum(1, keepdims=True), 1) - np.eye(count)
    laplacian = laplacian[: len(outer)]
    free, held = laplacian[:, : len(outer)], laplacian[:, len(outer) :]
    face = mesh.face
    width = float(np.linalg.norm(face[454] - face[234]))
    weight = STIFFNESS * (256 / width) ** 2 * (step / 16) ** 4
    sparse = csr_matrix(free)
    system = (sparse.T @ sparse).toarray() + weight * np.eye(len(outer))
    places = points[outer]
    head, body = shares(places, face)
    free_of = np.ones(len(outer))
    if rigid is not None:
        free_of = 1 - rigid
        head, body = rigid + free_of * head, free_of * body
    ones = np.ones((len(outer), 1))
    columns = [
        -(sparse.T @ held),
        weight * head[:, None] * np.hstack([places, depth[:, None], ones]),
        weight * body[:, None] * np.hstack([places, ones]),
        weight * (free_of * head)[:, None] * rim(places, face),
    ]
    solved = cho_solve(cho_factor(system, lower=True), np.hstack(columns))
    return Warp(*np.split(solved, np.cumsum([c.shape[1] for c in columns[:-1]]), axis=1))


def rim(places: Array, face: Array) -> Array:
    """[M, 2] half the depth of the head's flank behind ``places`` [M, 2], pixels, along the outline's normal.

    Seen from the front a head's outline is not one line in space: flank and crown run back from it almost
    along the view. A turn that lifts what lies deeper outwards makes the outline out of that, the opposite turn
    makes it out of what lies in front. A place with outline normal n and half depth h acts as if its depth were
    larger by h (n . r), r the direction in which the turn moves what lies deep.
    """
    width = float(np.linalg.norm(face[454] - face[234]))
    oval = face[list(OVAL)]
    apart = places[:, None] - oval[None]
    gap = np.linalg.norm(apart, axis=-1)
    share = 1 / (gap + 0.02 * width) ** 3
    share /= share.sum(1, keepdims=True)
    normal = (share[..., None] * apart).sum(1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    distance = gap.min(1)
    half = FLANK * width * -np.expm1(-distance / (FLANK_LENGTH * width))
    return np.asarray(half[:, None] * normal)


def shares(places: Array, face: Array) -> tuple[Array, Array]:
    """([M] share of the head's motion, [M] of the torso's) at ``places`` [M, 2] around the landmarks ``face``."""
    up = face[10] - face[152]
    height = float(np.linalg.norm(up))
    up = up / height
    side = np.array([-up[1], up[0]])
    width = float(np.linalg.norm(face[454] - face[234]))
    middle = (face[234] + face[454]) / 2
    below = (face[152] - places) @ up / height
    across = np.abs((places - middle) @ side) / width
    above = (places - face[152]) @ up / height
    vertical = 1 - smoothstep(below / 0.5)
    head = vertical * (1 - smoothstep((across - 0.95) / 0.8)) * (1 - smoothstep((above - 1.75) / 0.8))
    return head, 1 - vertical


def eased(x: float) -> float:
    """``smoothstep`` of a single number."""
    t = min(max(x, 0.0), 1.0)
    return t * t * (3 - 2 * t)


def smoothstep(x: Array) -> Array:
    """3 x^2 - 2 x^3, clamped to [0, 1]."""
    t = np.clip(x, 0, 1)
    return np.asarray(t * t * (3 - 2 * t))
