"""Depth of what lies around the face: mostly the fitted head, else a profile that falls away from the oval."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatarkit.heads.landmarks import OVAL
from avatarkit.ops.layers import nearest

Array = NDArray[np.float64]
FALL, LENGTH = 0.75, 0.27
"""How far, and over which length, depth falls behind the oval, in face widths."""
SURFACE = 0.7
"""Share of the fitted head against the profile, where the photo shows it."""
HAIR, SIDES = 0.2, 0.07
"""By how much hair above the brow stands before that, and what is beside and below the face behind it, face widths."""
NEAR = 0.15
"""Distance from the oval from which that is so wholly, in face widths."""


def outer_depth(points: Array, landmarks: Array, front: Array) -> Array:
    """[N] depth in pixels (growing away from the viewer, as landmarks have it) of ``points`` [N, 2].

    ``landmarks`` [478, 3] of the photo. ``front`` [H, W]: depth of the head model's front surface on the same
    scale, NaN where there is none (see ``front_surface``).
    """
    oval = landmarks[list(OVAL)]
    width = float(np.linalg.norm(landmarks[454, :2] - landmarks[234, :2]))
    gap = np.linalg.norm(points[:, None] - oval[None, :, :2], axis=-1)
    share = 1 / (gap + 0.02 * width) ** 3
    share /= share.sum(1, keepdims=True)
    distance = gap.min(1)
    profile = share @ oval[:, 2] + FALL * width * -np.expm1(-distance / (LENGTH * width))
    height, columns = front.shape
    x = np.clip(points[:, 0].astype(int), 0, columns - 1)
    y = np.clip(points[:, 1].astype(int), 0, height - 1)
    inside = (points >= 0).all(1) & (points[:, 0] < columns) & (points[:, 1] < height)
    surface = np.where(inside, front[y, x], np.nan)
    # The landmarks' depth and the model's differ a little at the oval: the model's is shifted to meet it.
    at = np.round(oval[:, :2]).astype(int)
    seen = front[np.clip(at[:, 1], 0, height - 1), np.clip(at[:, 0], 0, columns - 1)]
    shift = oval[:, 2] - seen
    good = np.isfinite(shift)
    if good.any():
        surface = surface + (share[:, good] @ shift[good]) / share[:, good].sum(1)
    depth = np.where(np.isfinite(surface), (1 - SURFACE) * profile + SURFACE * surface, profile)
    # The model is bald, and hair is thick where it rises above the forehead.
    up = landmarks[10, :2] - landmarks[152, :2]
    raised = (points - landmarks[152, :2]) @ up / (up @ up)
    hair = np.clip((raised - 0.6) / 0.6, 0, 1)
    beside = np.clip(distance / (NEAR * width), 0, 1)
    return np.asarray(depth + width * beside * (SIDES * (1 - hair) - HAIR * hair))


def front_surface(vertices: Array, triangles: NDArray[np.int32], height: int, width: int) -> Array:
    """[H, W] depth of the nearest surface of a head with ``vertices`` [V, 3] in pixels and depth; NaN: none."""
    return nearest(vertices, triangles, height, width).astype(np.float64)


def relative_pixels(camera_points: Array, intrinsics: NDArray[np.floating], origin: float) -> Array:
    """[..., 3] pixels and depth as landmarks have it, of ``camera_points`` [..., 3] in meters.

    ``origin``: distance at which depth is 0; its unit is the pixel there (weak perspective).
    """
    k = np.asarray(intrinsics, np.float64)
    z = camera_points[..., 2:]
    flat = camera_points[..., :2] / z * (k[0, 0], k[1, 1]) + k[:2, 2]
    return np.concatenate([flat, (z - origin) * k[0, 0] / origin], -1)
