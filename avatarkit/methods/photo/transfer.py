"""A driver's landmarks to the photo's: relative to the driver's neutral frame, in the photo's own proportions."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.heads import landmarks as marks
from avatarkit.methods.driving import soft_clamp
from avatarkit.methods.photo import rules
from avatarkit.methods.photo.frames import Similarity, face_frame, motion_of, sizes

Array = NDArray[np.float64]

LIMITS = np.radians([[-20.0, -30.0, -25.0], [20.0, 30.0, 25.0]])
"""Lowest and highest turn (pitch, yaw, roll) of the photo's head that looks right; beyond it saturates."""
MARGIN = np.radians(6.0)
PARTS = ("face", "lips", "eyes", "pose")


@dataclass(frozen=True)
class Options:
    """How much of a driver's motion is taken over."""

    expression_scale: float = 1.0
    pose_scale: float = 1.0
    parts: tuple[str, ...] = PARTS


@dataclass(frozen=True)
class Motion:
    """What a driver's frames are compared with: its neutral frame."""

    neutral: Array
    """[478, 3] its landmarks, pixels."""
    frame: Similarity
    """from template axes to ``neutral``."""
    face: rules.Face
    """measures of ``neutral`` in its own axes (template units)."""
    own: Array
    """[478, 3] ``neutral`` in its own axes."""
    sizes: Array
    """[3] width, height and depth of ``own``."""
    center: Array
    """[3] the middle of its stable points, pixels."""
    options: Options = field(default_factory=Options)
    synthetic: bool = False
    """whether the driver has no landmarks and is drawn from the photo's own head model."""

    @classmethod
    def of(cls, neutral: Array, options: Options, synthetic: bool = False) -> Motion:
        """From landmarks ``neutral`` [478, 3] in pixels."""
        points = np.asarray(neutral, np.float64)
        frame = face_frame(points)
        own = frame.undone(points)
        center = points[list(marks.STABLE)].mean(0)
        return cls(points, frame, rules.measured(own), own, sizes(own), center, options, synthetic)


@dataclass(frozen=True)
class Posed:
    """The photo's face in one frame."""

    landmarks: Array
    """[478, 3] pixels."""
    head: Similarity
    """of the rigid head, photo pixels to photo pixels."""
    turn: float
    """angle of the head's turn, radians."""
    held: float = 0.0
    """of what was asked for, radians that the head is held back because more would not look right."""


class Rig:
    """The photo's face as something to be moved."""

    def __init__(self, landmarks: Array, jaw: Array, stiffness: Array | None = None) -> None:
        """``landmarks`` [478, 3] of the photo in pixels; ``jaw`` [468, 3] what jawOpen does to it, in template axes.

        ``stiffness`` [478]: share of its own motion each landmark keeps (see ``glasses``).
        """
        self.landmarks = np.asarray(landmarks, np.float64)
        self.frame = face_frame(self.landmarks)
        self.own = self.frame.undone(self.landmarks)
        self.face = rules.measured(self.own)
        self.jaw = jaw
        self.stiffness = stiffness
        self.center = self.landmarks[list(marks.STABLE)].mean(0)
        self.width = float(np.linalg.norm(self.landmarks[454, :2] - self.landmarks[234, :2]))
        self.sizes = sizes(self.own)
        self.widening = rules.widening(self.own)

    def posed(self, now: Array, motion: Motion) -> Posed:
        """The photo's landmarks when the driver's are ``now`` [478, 3]."""
        now = np.asarray(now, np.float64)
        moved = motion_of(motion.neutral, now)
        still = moved.undone(now)
        own = motion.frame.undone(still)
        points = self.expressed(own, motion)
        head, held = self._head(moved, motion)
        turn = math.acos(min(max((float(np.trace(head.rotation)) - 1) / 2, -1.0), 1.0))
        return Posed(head.applied(self.frame.applied(points)), head, turn, held)

    def expressed(self, own: Array, motion: Motion) -> Array:
        """[478, 3] the photo's face in its own axes with the expression of the driver's ``own`` [478, 3]."""
        options = motion.options
        scale = self.sizes / motion.sizes
        change = options.expression_scale * scale * (own - motion.own)
        change = change * self._taken(options.parts)[:, None]
        if self.stiffness is not None:
            change = change * self.stiffness[:, None]
        points = self.own + change
        points[marks.MESH :] = self.own[marks.MESH :]
        measured = rules.measured(own)
        if "lips" in options.parts:
            points = rules.widened(points, self.own, self.widening)
            points = rules.lips(
                points, self.face, motion.face, measured, self.jaw, float(scale[1]), options.expression_scale
            )
        if "eyes" in options.parts:
            points = rules.blink(points, self.face, motion.face, measured)
            gaze = measured.gaze - motion.face.gaze
            points = rules.irises(points, self.face, gaze)
        return points

    def size_against(self, motion: Motion) -> float:
        """The photo's face over the driver's, in pixels."""
        return self.frame.scale / motion.frame.scale

    def _head(self, moved: Similarity, motion: Motion) -> tuple[Similarity, float]:
        """The photo's head in the driver's pose, and by how many radians its turn is held back."""
        options = motion.options
        if "pose" not in options.parts:
            return Similarity(1.0, np.eye(3), np.zeros(3)), 0.0
        asked = options.pose_scale * cv2.Rodrigues(moved.rotation)[0][:, 0]  # scipy's takes ten times as long
        turn = soft_clamp(asked, LIMITS[0], LIMITS[1], np.full(3, MARGIN))
        rotation = np.asarray(cv2.Rodrigues(turn)[0])
        scale = min(max(moved.scale**options.pose_scale, 0.6), 1.6)
        size = self.size_against(motion)
        travel = options.pose_scale * size * (moved.applied(motion.center) - motion.center)
        held = float(np.linalg.norm(asked - turn))
        return Similarity(scale, rotation, self.center + travel - scale * rotation @ self.center), held

    @staticmethod
    @cache
    def _taken(parts: tuple[str, ...]) -> Array:
        """[478] 1 on the landmarks whose motion is taken over."""
        taken = np.ones(marks.COUNT) if "face" in parts else np.zeros(marks.COUNT)
        if "lips" in parts or "face" in parts:
            rows = np.unique(np.concatenate([*rules.UPPER_ROWS, *rules.LOWER_ROWS]).astype(int))
            corners = [61, 291, 76, 306, 62, 292, 78, 308]
            taken[np.concatenate([rows, corners])] = float("lips" in parts)
        return taken
