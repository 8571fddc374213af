"""Gaze from the irises: where the optical axis of each eyeball must point for its iris to be seen where it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatarkit.heads.landmarks import (
    IRIS_LEFT,
    IRIS_RIGHT,
    LID_LOWER_LEFT,
    LID_LOWER_RIGHT,
    LID_UPPER_LEFT,
    LID_UPPER_RIGHT,
)
from avatarkit.rendering.performance import GAZE_RANGE
from avatarkit.tracking.pose import runs, whittaker

Float = NDArray[np.float32]

LIMIT = (50.0, 40.0)
"""Degrees of yaw and pitch that no eye goes beyond: what asks for more is a misplaced iris."""
SHAPES = (
    ("eyeLookOutLeft", "eyeLookInLeft", "eyeLookDownLeft", "eyeLookUpLeft"),
    ("eyeLookInRight", "eyeLookOutRight", "eyeLookDownRight", "eyeLookUpRight"),
)
"""Of the left and the right eye: expressions of positive and negative yaw, of positive and negative pitch."""


def iris_centers(points: Float) -> Float:
    """[N, 2, 2] centers of the (left, right) iris of landmarks [N, 478, >= 2]."""
    return np.stack([points[:, list(g), :2].mean(1) for g in (IRIS_LEFT, IRIS_RIGHT)], 1)


def apertures(points: Float) -> Float:
    """[N, 2] how far the (left, right) lids of landmarks [N, >= 468, >= 2] are apart, over the eye's width."""
    ratios = []
    for upper, lower in ((LID_UPPER_LEFT, LID_LOWER_LEFT), (LID_UPPER_RIGHT, LID_LOWER_RIGHT)):
        top, bottom = points[:, list(upper[2:-2]), :2], points[:, list(lower[2:-2]), :2]
        width = np.linalg.norm(points[:, upper[0], :2] - points[:, upper[-1], :2], axis=-1)
        ratios.append(np.linalg.norm(top - bottom, axis=-1).mean(-1) / np.maximum(width, 1e-9))
    return np.stack(ratios, 1)


def openness(ratios: Float) -> Float:
    """[N] from 0 (closed) to 1: how open the more closed eye is for this clip, of ``apertures`` [N, 2].

    They are compared with the clip's wide-open frames: an iris under a closing lid is a guess of the detector, and
    moves down with the lid.
    """
    seen = ratios[np.isfinite(ratios).all(1)]
    wide = np.maximum(np.percentile(seen, 80, axis=0), 1e-6) if len(seen) else 1.0
    eyes = np.clip((ratios / wide - 0.4) / 0.4, 0.0, 1.0)
    return np.nan_to_num(np.fmin(*np.moveaxis(eyes, 1, 0)), nan=1.0).astype(np.float32)


def settled(gaze: Float, open_eyes: Float) -> Float:
    """``gaze`` [N, 2, 2] that goes to the clip's median as the eyes close (``open_eyes`` [N])."""
    trust = open_eyes[:, None, None]
    return np.asarray(trust * gaze + (1 - trust) * np.median(gaze, 0), np.float32)


def angles(
    iris: Float, centers: NDArray[np.floating], radius: float, rotation: Float, translation: Float
) -> Float:
    """Yaw (to the person's left) and pitch (down) [N, 2, 2] in degrees of the (left, right) eye.

    ``iris`` [N, 2, 2] on the plane z = 1, ``centers`` [2, 3] of the eyeballs in head space, ``radius`` in
    meters from there to the iris. The line of sight through the iris meets the sphere on its near side; one
    that passes the sphere by gives the point of the sphere closest to it. 0 where the iris was not seen.
    """
    ray = np.concatenate([iris, np.ones_like(iris[..., :1])], -1).astype(np.float64)
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    center = centers @ np.swapaxes(rotation, 1, 2).astype(np.float64) + translation[:, None]
    along = (ray * center).sum(-1, keepdims=True)
    beside = along * ray - center
    sine = np.linalg.norm(beside, axis=-1, keepdims=True)
    axis = np.where(sine < radius, beside - np.sqrt(np.maximum(radius**2 - sine**2, 0.0)) * ray, beside)
    axis = axis @ rotation  # to head space
    yaw = np.degrees(np.arctan2(axis[..., 0], axis[..., 2]))
    pitch = np.degrees(np.arctan2(-axis[..., 1], np.hypot(axis[..., 0], axis[..., 2])))
    gaze = np.stack([np.clip(yaw, -LIMIT[0], LIMIT[0]), np.clip(pitch, -LIMIT[1], LIMIT[1])], -1)
    return np.nan_to_num(gaze).astype(np.float32)


def parallel(gaze: Float, radius: float) -> Float:
    """Shifts [2, 3] of the (left, right) eyeball's center that make the median ``gaze`` [N, 2, 2] parallel.

    People look in the same direction with both eyes: what differs in the long run is how far the generic
    eyeballs lie beside the person's own.
    """
    half = np.radians(np.median(gaze[:, 0] - gaze[:, 1], 0) / 2)
    shift = radius * np.array([np.sin(half[0]), -np.sin(half[1]), 0.0])
    return np.stack([shift, -shift]).astype(np.float32)


def smoothed(gaze: Float, open_eyes: Float, linked: NDArray[np.bool_], strength: float) -> Float:
    """``gaze`` [N, 2, 2] without jitter; saccades stay sharp, and closed eyes (``open_eyes`` [N] near 0) follow."""
    if strength <= 0:
        return gaze
    flat = gaze.reshape(len(gaze), -1).copy()
    for start, stop in runs(linked):
        if stop - start >= 3:
            flat[start:stop] = whittaker(
                flat[start:stop], strength, 3.0, certainty=np.clip(open_eyes[start:stop], 0.02, 1.0)
            )
    return flat.reshape(gaze.shape).astype(np.float32)


def coefficients(gaze: Float, names: tuple[str, ...], w: Float) -> Float:
    """``w`` [N, E] with the eyeLook coefficients that ``gaze`` [N, 2, 2] implies (1 at ``GAZE_RANGE``)."""
    w = w.copy()
    for eye, shapes in enumerate(SHAPES):
        share = gaze[:, eye] / np.array(GAZE_RANGE, np.float32)
        values = (share[:, 0], -share[:, 0], share[:, 1], -share[:, 1])
        for name, value in zip(shapes, values, strict=True):
            if name in names:
                w[:, names.index(name)] = np.clip(value, 0.0, 1.0)
    return w


def rotations(gaze: Float) -> Float:
    """Axis-angle [N, 2, 3] of the (left, right) eyeball for ``gaze`` [N, 2, 2] degrees."""
    from scipy.spatial.transform import Rotation

    turned = Rotation.from_euler("YX", gaze.reshape(-1, 2), degrees=True).as_rotvec()
    return turned.reshape(-1, 2, 3).astype(np.float32)
