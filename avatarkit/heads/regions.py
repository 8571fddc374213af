"""Semantic regions of the built-in head's skin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatarkit.heads import cranium, landmarks
from avatarkit.heads.parts import Index

REGIONS = (
    "skin", "lips", "brows", "eyelids", "sclera", "iris", "pupil", "teeth", "gums", "tongue", "mouth",
    "sockets", "ears", "scalp", "neck", "torso",
)  # fmt: skip
"""Names in the order of the built-in head's ``region`` numbers."""
LIP_RINGS, LID_RINGS = 6, 3
"""Rings of the subdivided mesh that the lips and the lids are wide."""


def ring_distance(triangles: Index, count: int, sources: Index) -> NDArray[np.float64]:
    """[count] number of edges to the nearest of the ``sources``."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import dijkstra

    a, b = triangles[:, [0, 1, 2]].ravel(), triangles[:, [1, 2, 0]].ravel()
    graph = coo_matrix((np.ones(len(a)), (a, b)), shape=(count, count))
    steps: NDArray[np.float64] = dijkstra(
        graph, directed=False, indices=sources, unweighted=True, min_only=True
    )
    return steps


def face_regions(triangles: Index, count: int, edges: Index) -> NDArray[np.str_]:
    """[count] region names of the subdivided face; ``edges`` [M, 2] are those its last M vertices halve."""
    region = np.full(count, "skin", dtype="<U8")
    brows = np.zeros(count, bool)
    brows[[*landmarks.BROW_LEFT, *landmarks.BROW_RIGHT]] = True
    brows[count - len(edges) :] = brows[edges].all(1)
    region[brows] = "brows"
    eyes = np.array(landmarks.EYE_LEFT + landmarks.EYE_RIGHT)
    region[ring_distance(triangles, count, eyes) <= LID_RINGS] = "eyelids"
    region[ring_distance(triangles, count, np.array(landmarks.LIPS_INNER)) <= LIP_RINGS] = "lips"
    return region


def ring_regions(points: NDArray[np.float64]) -> NDArray[np.str_]:
    """[N] region names of the rings behind the face ``points`` [N, 3] (see ``cranium``), row by row."""
    rows = np.arange(len(points)) // (len(points) // cranium.ROWS)
    y, z = points[:, 1], points[:, 2]
    # The neck begins at a line from under the chin past the corner of the jaw to the hairline of the nape.
    below_jaw = y < -0.055 - 0.25 * (z + 0.14)
    # Temples, and the cheeks back to the ears, carry no hair.
    beside_face = (y < 0.030) & (z > -0.072)
    region = np.select([below_jaw, beside_face], ["neck", "skin"], "scalp").astype("<U8")
    region[rows >= cranium.SCALP_ROWS] = "neck"
    region[rows >= cranium.SCALP_ROWS + cranium.NECK_ROWS] = "torso"
    return region
