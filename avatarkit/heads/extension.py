"""Spreading offsets known at the face over the whole head: linear, smooth, precomputed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from avatarkit.heads.model import HeadModel

Array = NDArray[np.floating]
TENSION = 0.03
"""Meters over which an offset keeps its slope beyond the face; farther out it flattens (membrane)."""
REACH = 0.018
"""Meters: standard deviation of the weights by which loose parts (teeth, ears) follow the landmarks."""
EYE_REACH = 0.008
"""The same for eyeballs, which keep to the lid margins and not to the brows."""
CHIN = (152, 148, 377, 176, 400, 175, 171, 396, 199)
"""Landmarks that follow the mandible most closely."""


def laplacian(vertices: Array, triangles: NDArray[np.integer]) -> tuple[Any, Any]:
    """Cotangent Laplacian [V, V] (positive semi-definite) and inverse lumped mass [V, V] as scipy CSR.

    Cotangents are kept above a small positive value: obtuse triangles must not make weights negative.
    """
    from scipy.sparse import coo_matrix, diags

    count = len(vertices)
    rows, columns, values = [], [], []
    area = np.zeros(count)
    points = np.asarray(vertices, np.float64)
    for k in range(3):
        i, j, o = triangles[:, k], triangles[:, (k + 1) % 3], triangles[:, (k + 2) % 3]
        u, v = points[i] - points[o], points[j] - points[o]
        double_area = np.maximum(np.linalg.norm(np.cross(u, v), axis=1), 1e-12)
        weight = np.clip((u * v).sum(1) / double_area, 0.05, 8.0) / 2
        rows += [i, j]
        columns += [j, i]
        values += [weight, weight]
        np.add.at(area, o, double_area / 6)
    row, column, value = (np.concatenate(part) for part in (rows, columns, values))
    adjacency = coo_matrix((value, (row, column)), shape=(count, count)).tocsr()
    degree = np.asarray(adjacency.sum(1)).ravel()
    return diags(degree) - adjacency, diags(1 / np.maximum(area, 1e-8))


def spread_matrix(
    vertices: Array,
    triangles: NDArray[np.integer],
    known: NDArray[np.integer],
    given: Any,
    tension: float = TENSION,
) -> Array:
    """Matrix [V, N] that extends ``given`` (sparse [K, N]), the rows of the vertices ``known`` [K], over the mesh.

    Minimizes bending plus stretching energy, |L x|^2 + |grad x|^2 / tension^2: tangent-continuous where
    the known region ends, without the runaway slopes of a purely biharmonic extrapolation.
    """
    from scipy.sparse.linalg import splu

    stiffness, inverse_mass = laplacian(vertices, triangles)
    energy = (stiffness @ inverse_mass @ stiffness + stiffness / tension**2).tocsc()
    free = np.setdiff1d(np.unique(triangles), known)
    matrix = np.zeros((len(vertices), given.shape[1]))
    matrix[known] = given.toarray()
    if len(free):
        coupling = energy[free][:, known]
        # Only the known vertices within two edges of the others count: solve for those, then combine.
        touched = np.flatnonzero(np.diff(coupling.tocsc().indptr))
        solved = splu(energy[free][:, free]).solve(-coupling[:, touched].toarray())
        # A product with a sparse matrix: a dense one's bits depend on the number of threads.
        matrix[free] = solved @ given[touched]
    return matrix


def components(triangles: NDArray[np.integer], count: int) -> NDArray[np.int32]:
    """[V] number of the connected part each vertex belongs to."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    a, b = triangles[:, [0, 1, 2]].ravel(), triangles[:, [1, 2, 0]].ravel()
    graph = coo_matrix((np.ones(len(a)), (a, b)), shape=(count, count))
    labels: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return labels


def extension_map(head: HeadModel, anchored: bool, fine: Any = None) -> Any:
    """CSR [V, 468]: offsets at the landmarks of ``head`` to offsets of all its vertices.

    ``anchored`` is for expressions: torso and back of the head stay still, eyeballs and upper teeth too,
    and the lower teeth follow the chin. Otherwise (identity) nothing is held and loose parts move with
    the landmarks around them. ``fine`` [N, 468] gives the offsets of the first N vertices where a
    subdivision fixes them.
    """
    from scipy.sparse import csr_matrix, vstack

    vertices = head.vertices.astype(np.float64)
    count, landmarks = len(vertices), head.landmarks[:468]
    labels = components(head.triangles, count)
    skin = np.isin(labels, np.unique(labels[landmarks]))
    if fine is None:
        known, first = np.unique(landmarks, return_index=True)
        given = csr_matrix((np.ones(len(known)), (np.arange(len(known)), first)), shape=(len(known), 468))
    else:
        known, given = np.arange(fine.shape[0]), fine
    if anchored:
        fixed = np.setdiff1d(np.flatnonzero(skin & (_stillness(head) > 0)), known)
        known = np.concatenate([known, fixed])
        given = vstack([given, csr_matrix((len(fixed), 468))]).tocsr()
    inside = head.triangles[skin[head.triangles[:, 0]]]
    matrix = spread_matrix(vertices, inside, known, given)
    for label in np.unique(labels[~skin]):
        part = labels == label
        if not anchored:
            center = vertices[part].mean(0)
            near = np.square(vertices[landmarks] - center).sum(1)
            reach = EYE_REACH if head.skinning[part, 3:].sum(1).mean() > 0.5 else REACH
            weight = np.exp(-(near - near.min()) / (2 * reach**2))
            matrix[part] = weight / weight.sum()
        elif head.skinning[part, 2].mean() > 0.5:
            matrix[np.ix_(part, CHIN)] = 1 / len(CHIN)
    flip = mirror_of_landmarks(head)
    matrix = (matrix + matrix[np.ix_(head.mirror, flip)]) / 2
    matrix[np.abs(matrix) < 1e-5] = 0
    return csr_matrix(matrix.astype(np.float32))


def mirror_of_landmarks(head: HeadModel) -> NDArray[np.int64]:
    """[468] landmark on the other side of the face."""
    landmark_at = np.full(len(head.vertices), -1)
    landmark_at[head.landmarks[:468]] = np.arange(468)
    flip: NDArray[np.int64] = landmark_at[head.mirror[head.landmarks[:468]]]
    own = np.arange(468)
    return np.where(flip < 0, own, flip)


def _stillness(head: HeadModel) -> Array:
    """[V] above 0 where no expression reaches: the torso and what lies well behind the face."""
    face = head.vertices[head.landmarks[:468]]
    behind = face[:, 2].min() - 0.035 - head.vertices[:, 2]
    above = head.vertices[:, 1] - face[:, 1].max() - 0.035
    still: Array = np.maximum.reduce([behind, above, head.skinning[:, 1] - 0.75])
    return still
