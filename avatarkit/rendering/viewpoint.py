"""A camera that has left the place of the clip's own: what it makes of the head, the torso and the background."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.rendering.camera import Camera
from avatarkit.rendering.composite import Scene

Float = NDArray[np.float32]
Double = NDArray[np.float64]


@dataclass(frozen=True)
class Viewpoint:
    """``camera`` at the pose that takes points of the clip's camera to it: x' = ``rotation`` x + ``translation``."""

    camera: Camera
    rotation: Double
    """[3, 3]"""
    translation: Double
    """[3] meters."""

    def pose(self, rotation: Float, translation: Float) -> tuple[Float, Float]:
        """A head's pose in the clip's camera, as this camera has it."""
        moved = self.rotation @ rotation
        return moved.astype(np.float32), (self.rotation @ translation + self.translation).astype(np.float32)

    def homography(self, own: Camera, depth: float = np.inf) -> Double:
        """[3, 3] pixels of ``own`` to pixels of this camera, for what lies in the plane z = ``depth`` of the former.

        The homography K' (R + t n'/d) K^-1 of a plane with normal n = z (Hartley and Zisserman, eq. 13.2); at
        infinity only the rotation counts.
        """
        between = self.rotation + np.outer(self.translation, [0.0, 0.0, 1.0 / depth])
        before, now = (np.asarray(k, np.float64) for k in (own.intrinsics, self.camera.intrinsics))
        # intrinsics count pixel centers at integer + 0.5, OpenCV's warps at integers
        half = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])
        matrix: Double = np.linalg.inv(half) @ now @ between @ np.linalg.inv(before) @ half
        return matrix

    def behind(self, scene: Scene, own: Camera, torso_motion: Float, depth: float) -> Float:
        """[H, W, 3] the plate far away and the torso in the plane at ``depth`` (meters), edges replicated."""
        size = (self.camera.width, self.camera.height)
        plate = cv2.warpPerspective(
            scene.plate, self.homography(own), size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        ).astype(np.float32)
        if scene.torso is None:
            return plate / 255
        motion = np.vstack([np.asarray(torso_motion, np.float64), [0.0, 0.0, 1.0]])
        torso = cv2.warpPerspective(
            scene.torso,
            self.homography(own, depth) @ motion,
            size,
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ).astype(np.float32)
        return np.asarray((plate + torso[..., 3:] / 255 * (torso[..., :3] - plate)) / 255, np.float32)
