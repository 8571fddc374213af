"""Residuals of projected landmarks and their derivatives, for many frames at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Linearized:
    """Residuals of N frames x P landmarks in solver units, and what they do when points or pose move a little."""

    residual: Float
    """[N, P, 2] observed minus projected; 0 where not observed."""
    error: Float
    """[N, P] length of the residual."""
    seen: NDArray[np.bool_]
    """[N, P] whether the landmark was observed."""
    camera: Float
    """[N, P, 3] points in camera space, meters."""
    scale: Float
    """[N, 1] solver units per meter at depth 1: residual = scale * (difference on the plane z = 1)."""

    def by_point(self, rotation: Float) -> tuple[Float, Float]:
        """Two [N, P, 3] rows: the derivative of either residual's projection by the head-space point."""
        inverse = self.scale / self.camera[..., 2]
        u = self.camera[..., 0, None] / self.camera[..., 2, None]
        v = self.camera[..., 1, None] / self.camera[..., 2, None]
        row = rotation[:, None]
        first = (row[..., 0, :] - u * row[..., 2, :]) * inverse[..., None]
        second = (row[..., 1, :] - v * row[..., 2, :]) * inverse[..., None]
        return first, second

    def by_pose(self, translation: Float) -> Float:
        """[N, 2 P, 6]: derivative by a camera-space rotation about the head's origin, then by translation."""
        x, y, z = np.moveaxis(self.camera, -1, 0)
        arm = self.camera - translation[:, None]
        inverse = self.scale / z
        u, v, zero = x / z * inverse, y / z * inverse, np.zeros_like(x)
        rows = np.stack([np.stack([inverse, zero, -u], -1), np.stack([zero, inverse, -v], -1)], 1)
        jacobian = np.concatenate([np.cross(arm[:, None], rows), rows], -1)
        return jacobian.reshape(len(x), -1, 6).astype(np.float32)


def linearize(points: Float, rotation: Float, translation: Float, observed: Float, unit: float) -> Linearized:
    """Compare head-space ``points`` [N, P, 3] under a pose with ``observed`` [N, P, 2] on the plane z = 1.

    ``observed`` may hold NaN. ``unit``: meters of a solver unit; residuals are measured at the head's depth.
    """
    camera = points @ np.swapaxes(rotation, -1, -2) + translation[:, None]
    camera[..., 2] = np.maximum(camera[..., 2], 1e-3)
    scale = (translation[:, 2:3] / unit).astype(np.float32)
    residual = (observed - camera[..., :2] / camera[..., 2:3]) * scale[..., None]
    seen = np.isfinite(residual[..., 0])
    residual = np.where(seen[..., None], residual, np.float32(0))
    error = np.sqrt(np.square(residual).sum(-1))
    return Linearized(residual, error, seen, camera, scale)


def robust(linear: Linearized, sigma: float) -> Float:
    """[N, P] Cauchy weights 1 / (1 + e^2/sigma^2) of the errors in solver units; 0 where unseen.

    A face mesh has no gross outliers, only regions that err together: weights that fall faster (Geman-McClure)
    give up the mouth in frames where it moves most.
    """
    weight = 1.0 / (1.0 + np.square(linear.error / np.float32(sigma)))
    return np.where(linear.seen, weight, 0.0).astype(np.float32)


def pixels_per_unit(translation: Float, focal: float, unit: float) -> Float:
    """[N] pixels of one solver unit at the head's depth."""
    return np.asarray(focal * unit / translation[:, 2], np.float32)
