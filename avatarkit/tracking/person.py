"""What stays the same in a clip: the person's neutral face and how its expressions look on them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from avatarkit.tracking.basis import Basis
from avatarkit.tracking.coefficients import PAIRS
from avatarkit.tracking.pose import Array, procrustes

Float = NDArray[np.float32]

SMOOTHNESS = 0.3
"""Weight of the squared Laplacian of the identity offset, in solver units, against one frame's landmarks."""
RIDGE = (0.02, 0.02, 0.2)
"""The same for the squared offset itself: a head that turns by 8 degrees hardly shows its depth, and a depth
left free ends farther from the truth than the template's."""
INDEPENDENT = 20
"""Frames of a clip that count as independent witnesses: the detector errs alike in frames that look alike."""
DEPTH_WITNESSES = 4
SHAPE_RIDGE = 1.0
"""Frames at full coefficient that the model's own shapes count for against the clip's."""

OVERSHOOT = 1.7
"""Factor on a refinement's step: coefficients and shapes are solved in turn, which alone converges slowly."""


def identity_step(basis: Basis, template: Basis, moment: Float, pull: Float, frames: int) -> Float:
    """The neutral [P, 3] that explains what ``frames`` frames leave unexplained.

    ``moment`` [6, P] and ``pull`` [P, 3] are the sums over frames of A^T W A and A^T W r (see
    ``coefficients.moments``). The offset from ``template`` is smooth and small, most of all in depth.
    """
    from scipy.sparse import bmat, diags, kron
    from scipy.sparse.linalg import splu

    unit, count = basis.unit, len(basis.neutral)
    # Vertices are ordered coordinate by coordinate: x of all, then y, then z.
    share = unit * unit / frames
    sideways, deep = min(frames, INDEPENDENT), min(frames, DEPTH_WITNESSES)
    ridge = np.array(RIDGE) / (sideways, sideways, deep)
    rough = SMOOTHNESS * np.array([1.0, 1.0, 4.0]) / (sideways, sideways, deep)
    blocks: list[list[object]] = [[None] * 3 for _ in range(3)]
    for k, (a, b) in enumerate(PAIRS):
        blocks[a][b] = blocks[b][a] = diags(moment[k].astype(np.float64) * share)
    data = bmat(blocks)
    laplacian = basis.laplacian
    squared = laplacian.T @ laplacian  # type: ignore[attr-defined]
    prior = kron(diags(rough), squared) + kron(diags(ridge), diags(np.ones(count)))
    offset = ((basis.neutral - template.neutral) / unit).astype(np.float64).T.ravel()
    right = pull.astype(np.float64).T.ravel() * unit / frames - prior @ offset
    # positive definite: no pivoting, and an order that keeps both triangles thin
    factors = splu(
        (data + prior).tocsc(),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0,
        options={"SymmetricMode": True},
    )
    step = factors.solve(right)
    neutral: Float = (basis.neutral + unit * step.reshape(3, -1).T).astype(np.float32)
    return neutral


def normalized(
    neutral: Float, template: Basis, rotation: Float, translation: Float
) -> tuple[Float, Float, Float]:
    """Take out of ``neutral`` [P, 3] the similarity that poses can hold; nothing moves in the image.

    Size, place and direction of a head are free between its shape and its pose seen by one camera: the shape
    keeps those of ``template``. Returns the neutral, rotation [N, 3, 3] and translation [N, 3] of all frames.
    """
    scale, turn, shift = procrustes(template.neutral, neutral, template.stability)
    kept = (neutral - shift) @ turn / scale
    return (
        kept.astype(np.float32),
        (rotation @ turn).astype(np.float32),
        ((rotation @ shift + translation) / scale).astype(np.float32),
    )


class ShapeRefiner:
    """Gathers what the shapes leave unexplained, frame by frame, and moves the shapes towards it.

    Ridge regression of the residuals, lifted to the model's depth, on the coefficients: the shapes keep their
    meaning, since coefficients stay what they are, and learn how this person does them.
    """

    def __init__(self, basis: Basis, smoother: Callable[[Array], Array]) -> None:
        """``smoother``: of the mesh (see ``smoother_of``)."""
        count = len(basis.shapes)
        self.basis, self.smoother = basis, smoother
        self.gram = np.zeros((count, count))
        self.cross = np.zeros((count, basis.neutral.size))

    def add(self, w: Float, lifted: Float) -> None:
        """Frames with coefficients ``w`` [N, E] and residuals ``lifted`` [N, P, 3] in meters, head space."""
        self.gram += (w.T @ w).astype(np.float64)
        self.cross += (w.T @ lifted.reshape(len(w), -1)).astype(np.float64)

    def shapes(self) -> Float:
        """The refined shapes [E, P, 3]."""
        count, points = len(self.gram), len(self.basis.neutral)
        step = np.linalg.solve(self.gram + SHAPE_RIDGE * np.eye(count), self.cross)
        columns = step.reshape(count, points, 3).transpose(1, 0, 2).reshape(points, -1)
        smooth = self.smoother(columns).reshape(points, count, 3).transpose(1, 0, 2)
        refined: Float = (self.basis.shapes + OVERSHOOT * smooth).astype(np.float32)
        return refined


def smoother_of(basis: Basis) -> Callable[[Array], Array]:
    """What smooths columns [P, C] over the mesh of ``basis``."""
    from scipy.sparse import eye
    from scipy.sparse.linalg import splu

    laplacian = basis.laplacian
    factors = splu((eye(len(basis.neutral)) + 0.15 * (laplacian.T @ laplacian)).tocsc())  # type: ignore[attr-defined]
    solve: Callable[[Array], Array] = factors.solve
    return solve
