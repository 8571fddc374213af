"""Where a tracked head is in a frame: its own flat coordinate system, its outlines, its cut line."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit import heads
from avatarkit.files.errors import AvatarkitError
from avatarkit.files.track import Track
from avatarkit.segmentation.window import GRID, compose, inverse

Float = NDArray[np.float32]

CHIN, JAW_CORNERS = 152, (58, 288)
"""Face-mesh landmarks."""
NECK_DROP = 0.05
"""Meters from the neutral chin down to the middle of the cut line: about the larynx."""
NECK_BEHIND = 0.03
"""Meters from the chin back to the front of the neck."""
CUT_RISE = 5.0
"""1/m: the cut line is the parabola y = CUT_RISE x^2, which climbs above the shoulders at its sides."""
CUT_SOFT = 0.012
"""Half the width of the cut's soft edge, meters."""
CLOTH_RISE = 0.07
"""Meters above the cut line up to which clothes are believed in: collars and raised shoulders."""
HAIR_DROP = 0.035, 0.075
"""Long hair is kept fully down to the first, not at all below the second of these meters under the cut's middle."""
MAP_CENTER = (0.0, -0.04, -0.06)
"""Head-space point at the middle of the person's location maps: inside the skull, behind the nose."""


@dataclass(frozen=True)
class Face:
    """The head of one frame. ``upright``: u to the image's right, v up along the head, meters at the head's depth."""

    to_head: NDArray[np.float64]
    """[2, 3] frame pixels to (u, v) around the projected MAP_CENTER."""
    to_neck: NDArray[np.float64]
    """[2, 3] frame pixels to (u, v) around the middle of the cut line."""
    landmarks: Float
    """[478, 2] frame pixels."""

    @property
    def meter(self) -> float:
        """Frame pixels of one meter at the head."""
        return float(1 / np.hypot(*self.to_head[0, :2]))


class Geometry:
    """Gives the ``Face`` of each tracked frame."""

    def __init__(self, track: Track) -> None:
        chin = _chin(track)
        self.neck = chin - np.array([0.0, NECK_DROP, NECK_BEHIND])
        self.track = track

    def face(self, t: int) -> Face | None:
        """The head in the t-th tracked frame; None where none was tracked."""
        track = self.track
        landmarks = np.asarray(track.landmarks[t, :, :2], np.float32)
        if not track.valid[t] or not np.isfinite(landmarks).all():
            return None
        rotation = track.rotation[t].astype(np.float64)
        translation = track.translation[t].astype(np.float64)
        k = track.intrinsics.astype(np.float64)

        def pixel(point: NDArray[np.float64]) -> NDArray[np.float64]:
            seen = k @ (rotation @ point + translation)
            return seen[:2] / seen[2]

        center = np.array(MAP_CENTER)
        depth = (rotation @ center + translation)[2]
        if depth <= 0:
            return None
        up = rotation[:2, 1] / max(float(np.hypot(*rotation[:2, 1])), 1e-6)
        right = np.array([-up[1], up[0]])  # pixels: y down, so this is up turned clockwise
        axes = np.stack([right, up]) * depth / k[0, 0]
        return Face(_around(axes, pixel(center)), _around(axes, pixel(self.neck)), landmarks)


def _chin(track: Track) -> NDArray[np.float64]:
    """[3] the chin of the person's neutral head."""
    name = str(track.meta.get("head", {}).get("name", "builtin"))
    vertex = CHIN  # the built-in head begins with the face mesh
    if name != "builtin":
        vertex = int(heads.load(name).landmarks[CHIN])
    if vertex >= len(track.neutral):
        raise AvatarkitError("the track's head has no chin where its head model says: track the clip again")
    return np.asarray(track.neutral[vertex], np.float64)


def _around(axes: NDArray[np.float64], origin: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.hstack([axes, -(axes @ origin)[:, None]])


def coordinates(affine: NDArray[np.float64], height: int, width: int) -> Float:
    """[2, height, width] float32: ``affine`` [2, 3] applied to every pixel center of an image."""
    x = (np.arange(width) + 0.5).astype(np.float32)
    y = (np.arange(height) + 0.5).astype(np.float32)
    a = affine.astype(np.float32)
    return np.stack([a[i, 0] * x + (a[i, 1] * y + a[i, 2])[:, None] for i in range(2)])


def ramp(values: Float, low: float, high: float) -> Float:
    """Smoothstep from 0 at ``low`` to 1 at ``high`` (``low`` may be the larger)."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def cut_height(u: Float, v: Float) -> Float:
    """Meters by which neck coordinates (u, v) lie above the cut line."""
    return np.asarray(v - CUT_RISE * u * u, np.float32)


def head_share(
    face: Face, frame_to_image: NDArray[np.float64], hair: Float, cloth: Float
) -> tuple[Float, Float]:
    """(share, cut): how much of each person pixel belongs to the head, and the bare cut, both [S, S] in 0..1.

    Everything above the cut line belongs to it but clothes close to the line (collars, raised shoulders);
    below the line only long hair, down to HAIR_DROP. ``hair`` and ``cloth`` [S, S] are class probabilities.
    """
    size = hair.shape[0]
    u, v = coordinates(compose(face.to_neck, inverse(frame_to_image)), size, size)
    height = cut_height(u, v)
    cut = ramp(height, -CUT_SOFT, CUT_SOFT)
    clothed = ramp(cloth, 0.35, 0.75) * ramp(height, CLOTH_RISE + 0.02, CLOTH_RISE)
    hanging = ramp(hair, 0.3, 0.7) * ramp(v, -HAIR_DROP[1], -HAIR_DROP[0])
    return np.maximum(cut * (1 - clothed), hanging), cut


def polygon(
    face: Face,
    ring: tuple[int, ...],
    frame_to_image: NDArray[np.float64],
    size: int = GRID,
    grow: float = 1.0,
) -> NDArray[np.uint8]:
    """[size, size] uint8 mask (0, 1) of a landmark ring, scaled about its center by ``grow``."""
    points = face.landmarks[list(ring)].astype(np.float64)
    middle = points.mean(0)
    points = middle + grow * (points - middle)
    points = points @ frame_to_image[:, :2].T + frame_to_image[:, 2]
    mask = np.zeros((size, size), np.uint8)
    # fillPoly knows integers with fractional bits and pixel centers at integers.
    fixed = np.round((np.clip(points, -size, 2 * size) - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(mask, [fixed], 1, shift=4)
    return mask
