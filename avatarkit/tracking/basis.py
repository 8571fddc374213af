"""What the solver knows of a head model: the skin landmarks, how they move, and how far each is to be trusted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatarkit.heads.landmarks import EYE_LEFT, EYE_RIGHT, IRIS_LEFT, IRIS_RIGHT, LIPS_INNER, LIPS_OUTER, OVAL
from avatarkit.heads.model import JOINTS, MESH_LANDMARKS, HeadModel

Float = NDArray[np.float32]

UNITS = 100.0
"""The solver's unit of length is 1/UNITS of the distance between the eyes: residuals do not depend on the image."""


FAINT = 3.0
"""Ridge on expressions where two people are compared, squared solver units."""


@dataclass(frozen=True)
class Basis:
    """A head reduced to its P = 468 skin landmarks: E expressions as linear displacements of a neutral face."""

    neutral: Float
    """[P, 3] meters, head space."""
    shapes: Float
    """[E, P, 3] meters."""
    names: tuple[str, ...]
    triangles: NDArray[np.int32]
    """[F, 3] faces among the landmarks."""
    eyes: Float
    """[2, 3] centers of the (left, right) eyeball."""
    eye_radius: float
    """meters from an eyeball's center to its iris."""

    @classmethod
    def of(cls, head: HeadModel) -> Basis:
        """The landmarks of ``head``; triangles are those of its faces that join landmarks only."""
        from avatarkit.heads.template import face_topology

        rows = head.landmarks[:MESH_LANDMARKS]
        eyes = head.joints[[JOINTS.index("eyeLeft"), JOINTS.index("eyeRight")]]
        iris = head.vertices[head.landmarks[[IRIS_LEFT[0], IRIS_RIGHT[0]]]]
        return cls(
            head.vertices[rows], head.shapes[:, rows], head.expression_names, face_topology().astype(np.int32),
            eyes, float(np.linalg.norm(iris - eyes, axis=-1).mean()),
        )  # fmt: skip

    @cached_property
    def unit(self) -> float:
        """Meters of one solver unit."""
        return float(eye_distance(self.neutral)) / UNITS

    def with_person(self, neutral: Float, shapes: Float) -> Basis:
        """The same head with a person's ``neutral`` [P, 3] and ``shapes`` [E, P, 3]; eyeballs follow their lids."""
        shift = [(neutral - self.neutral)[list(lids)].mean(0) for lids in (EYE_LEFT, EYE_RIGHT)]
        return replace(self, neutral=neutral, shapes=shapes, eyes=(self.eyes + shift).astype(np.float32))

    def moved(self, w: Float) -> Float:
        """The face [N, P, 3] with coefficients ``w`` [N, E]."""
        return (self.neutral + (w @ self.flat).reshape(len(w), -1, 3)).astype(np.float32)

    @cached_property
    def flat(self) -> Float:
        """[E, 3 P] the shapes, each in one piece."""
        return np.ascontiguousarray(self.shapes.reshape(len(self.shapes), -1), np.float32)

    def distance_from(self, other: Basis) -> float:
        """RMS distance of the two neutral faces in solver units, without what the other's expressions explain.

        A clip of somebody who frowns all the time has the frown in its neutral face: that makes nobody a stranger.
        """
        away = ((self.neutral - other.neutral) / other.unit).reshape(-1).astype(np.float64)
        shapes = (other.shapes / other.unit).reshape(len(other.shapes), -1).astype(np.float64)
        share = np.linalg.solve(shapes @ shapes.T + FAINT * np.eye(len(shapes)), shapes @ away)
        return float(np.sqrt(np.square((away - share @ shapes).reshape(-1, 3)).sum(1).mean()))

    @cached_property
    def detail(self) -> Float:
        """[P] weights of landmarks for expressions: lids and lips carry most of the meaning, the oval the least.

        The oval is where the silhouette happens to be: its landmarks slide over the skin as the head turns.
        """
        weight = np.ones(MESH_LANDMARKS, np.float32)
        weight[list(OVAL)] = 0.6
        weight[list({*LIPS_INNER, *LIPS_OUTER, *EYE_LEFT, *EYE_RIGHT})] = 2.0
        return weight

    @cached_property
    def stability(self) -> Float:
        """[P] weights of landmarks for the head's pose, small where an expression could have moved them.

        With a prior deviation of 0.3 per coefficient a landmark's unmodeled motion has the deviation
        0.3 |B_p|; against it stands the detector's noise of about one unit. Pose estimated with the
        detail weights takes up part of the expression (and costs avatars 1.7 dB).
        """
        motion = 0.3 * np.sqrt(np.square(self.shapes / self.unit).sum((0, 2)))
        weight = 1.0 / (1.0 + np.square(motion / 1.5))
        weight[list(OVAL)] *= 0.35
        return (weight / weight.mean()).astype(np.float32)

    @cached_property
    def laplacian(self) -> object:
        """Umbrella Laplacian (scipy CSR [P, P]), rows scaled by valence."""
        from scipy.sparse import coo_matrix, diags, eye

        a, b, c = self.triangles.T
        rows, columns = np.r_[a, b, c, b, c, a], np.r_[b, c, a, a, b, c]
        size = len(self.neutral)
        joined = coo_matrix((np.ones(len(rows)), (rows, columns)), (size, size)).tocsr()
        joined.data[:] = 1.0
        valence = np.maximum(np.asarray(joined.sum(1)).ravel(), 1.0)
        return (eye(size) - diags(1.0 / valence) @ joined).tocsr()

    @cached_property
    def bending(self) -> Bending:
        """What smoothness costs: depends on the triangles alone."""
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import reverse_cuthill_mckee

        squared = (self.laplacian.T @ self.laplacian).tocsr()  # type: ignore[attr-defined]
        order = np.asarray(reverse_cuthill_mckee(squared, symmetric_mode=True), np.int64)
        ordered = coo_matrix(squared[order][:, order])
        apart = ordered.col - ordered.row
        bands = np.zeros((int(apart.max()) + 1, len(order)))
        upper = apart >= 0
        bands[apart[upper], ordered.col[upper]] = ordered.data[upper]
        return Bending(squared, order, bands)


@dataclass(frozen=True)
class Bending:
    """The squared Laplacian L of a mesh of P vertices, L^T L, as a linear solver wants it."""

    squared: Any
    """scipy CSR [P, P]."""
    order: NDArray[np.int64]
    """[P] the vertices in an order that keeps neighbors close (reverse Cuthill-McKee)."""
    bands: NDArray[np.float64]
    """[W, P] in that order: row d holds the entries (j - d, j) at column j."""


def eye_distance(points: Float) -> np.floating:
    """Distance [...] between the middles of the two eyes' corners of landmarks [..., >= 468, 2 or 3]."""
    right = 0.5 * (points[..., 33, :] + points[..., 133, :])
    left = 0.5 * (points[..., 263, :] + points[..., 362, :])
    distance: np.floating = np.linalg.norm(left - right, axis=-1)
    return distance
