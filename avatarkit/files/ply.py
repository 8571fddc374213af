"""Gaussian splats as PLY: the layout of Kerbl et al. (2023), *3D Gaussian Splatting*, which splat viewers open."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Float = NDArray[np.float32]

PROPERTIES = (
    "x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity",
    "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3",
)  # fmt: skip
HARMONIC = 0.28209479177387814
"""The constant spherical harmonic: color = 0.5 + HARMONIC * f_dc."""
THINNEST = 1e-7
"""Meters: the least deviation that is written, so that logarithms stay finite."""
SEEN, FULL = 1 / 255, 0.99
"""Opacity below which renderers skip a splat (it is not written), and the most they take it for."""


def save_splats(mean: Float, covariance: Float, color: Float, opacity: Float, stream: BinaryIO) -> int:
    """Write splats, without those that no renderer shows; returns how many were written.

    Args:
        mean: [N, 3] meters. covariance: [N, 6] square meters: xx, xy, xz, yy, yz, zz.
        color: [N, 3] sRGB, 0 to 1. opacity: [N] alpha at the center.

    Binary little-endian float32: position, an unused normal, color as the constant harmonic, logit of the opacity,
    logarithms of the three deviations, and the quaternion (w, x, y, z) that turns their axes into those of the
    space. Axes and unit stay those of ``mean``. Raises ValueError for values that are not finite.
    """
    shown = opacity >= SEEN
    values = np.concatenate([mean, covariance, color, opacity[:, None]], 1, dtype=np.float64)[shown]
    if not np.isfinite(values).all():
        raise ValueError("splats must be finite")
    place, spread, tint, alpha = values[:, :3], values[:, 3:9], values[:, 9:12], values[:, 12:]
    deviation, quaternion = _axes(spread)
    alpha = np.minimum(alpha, FULL)
    table = np.concatenate(
        [
            place, np.zeros_like(place), (tint - 0.5) / HARMONIC, np.log(alpha / (1 - alpha)), np.log(deviation),
            quaternion,
        ],
        1,
    )  # fmt: skip
    header = [
        "ply", "format binary_little_endian 1.0", f"element vertex {len(table)}",
        *(f"property float {name}" for name in PROPERTIES), "end_header",
    ]  # fmt: skip
    stream.write(("\n".join(header) + "\n").encode("ascii"))
    stream.write(np.ascontiguousarray(table, "<f4").tobytes())
    return len(table)


def _axes(spread: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Deviations [N, 3] and rotations [N, 4] (w, x, y, z) whose covariance is ``spread`` [N, 6]."""
    squares, axes = np.linalg.eigh(spread[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(-1, 3, 3))
    axes[..., 0] *= np.sign(np.linalg.det(axes))[:, None]  # a rotation, not a reflection
    turn = Rotation.from_matrix(axes).as_quat() if len(axes) else np.zeros((0, 4))
    return np.sqrt(np.maximum(squares, THINNEST**2)), turn[:, [3, 0, 1, 2]]
