"""Landmarks of a posed head: from pixels with relative depth to head space, and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]


def lifted(points: Float, intrinsics: Float, rotation: Float, translation: Float) -> Float:
    """Landmarks [..., L, 3] (pixels, z relative in pixels) in head space [..., L, 3], meters.

    ``rotation`` [..., 3, 3] and ``translation`` [..., 3] are the head's poses, ``intrinsics`` [3, 3] the camera.
    """
    focal = intrinsics[0, 0]
    distance = translation[..., None, 2]
    z = distance * (1.0 + points[..., 2] / focal)
    flat = (points[..., :2] - intrinsics[:2, 2]) / focal * z[..., None]
    camera = np.concatenate([flat, z[..., None]], -1) - translation[..., None, :]
    return np.asarray(camera @ rotation, np.float32)


def projected(local: Float, intrinsics: Float, rotation: Float, translation: Float) -> Float:
    """The inverse of ``lifted``: head-space points [..., L, 3] as landmarks [..., L, 3] in pixels."""
    focal = intrinsics[0, 0]
    camera = local @ np.swapaxes(rotation, -1, -2) + translation[..., None, :]
    z = np.maximum(camera[..., 2:], 1e-3)
    depth = (z / translation[..., None, 2:] - 1.0) * focal
    return np.concatenate([camera[..., :2] / z * focal + intrinsics[:2, 2], depth], -1).astype(np.float32)
