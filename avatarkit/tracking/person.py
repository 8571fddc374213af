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
    from scipy.linalg import solveh_banded

    bending = template.bending
    unit, order = basis.unit, bending.order
    share = unit * unit / frames
    sideways, deep = min(frames, INDEPENDENT), min(frames, DEPTH_WITNESSES)
    ridge = np.array(RIDGE) / (sideways, sideways, deep)
    rough = SMOOTHNESS * np.array([1.0, 1.0, 4.0]) / (sideways, sideways, deep)
    # Vertices in the order that keeps neighbors close, x, y and z of each together: three diagonals for each of theirs.
    width = 3 * len(bending.bands) - 1
    bands = np.zeros((width + 1, 3 * len(order)))
    bands[width::-3] = (bending.bands[..., None] * rough).reshape(len(bending.bands), -1)
    bands[width] += np.tile(ridge, len(order))
    for k, (a, b) in enumerate(PAIRS):
        bands[width - (b - a), b::3] += moment[k, order].astype(np.float64) * share
    offset = ((basis.neutral - template.neutral) / unit).astype(np.float64)
    right = pull.astype(np.float64) * unit / frames - (rough * (bending.squared @ offset) + ridge * offset)
    step = solveh_banded(bands, right[order].ravel(), overwrite_ab=True, overwrite_b=True, check_finite=False)
    neutral = basis.neutral.copy()
    neutral[order] += (unit * step.reshape(-1, 3)).astype(np.float32)
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
