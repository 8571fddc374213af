"""Pinhole cameras in the OpenCV convention (x right, y down, z forward; pixel centers at integer + 0.5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without distortion.

    ``intrinsics`` is the 3x3 matrix K in pixels of a ``width`` x ``height`` image. Extrinsics are not
    part of the camera: a head's pose maps head space to camera space.
    """

    intrinsics: NDArray[np.float32]
    width: int
    height: int

    def cropped(self, x: float, y: float, size: float, resolution: int) -> Camera:
        """The camera of the square (x, y, size, size) of this image, resampled to ``resolution`` pixels."""
        scale = resolution / size
        k = np.array(self.intrinsics, np.float64)
        k[0, 2] -= x
        k[1, 2] -= y
        k[:2] *= scale
        return Camera(k.astype(np.float32), resolution, resolution)

    def scaled(self, width: int, height: int) -> Camera:
        """The same view resampled to ``width`` x ``height`` pixels."""
        k = np.array(self.intrinsics, np.float64)
        k[0] *= width / self.width
        k[1] *= height / self.height
        return Camera(k.astype(np.float32), width, height)

    def project(self, points: NDArray[np.floating]) -> NDArray[np.floating]:
        """Pixels [..., 2] of camera-space ``points`` [..., 3]."""
        k = np.asarray(self.intrinsics, points.dtype)
        return points[..., :2] / points[..., 2:3] * np.stack([k[0, 0], k[1, 1]]) + k[:2, 2]
