"""The skeleton of an avatar: what carries its Gaussians, and where a drive puts it.

Bones are affine maps from the neutral head to camera space: one a triangle of face and mouth (its deformation
gradient), a few rigid ones for skull, torso, what lies between them, and the irises.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor, from_numpy

from avatarkit.heads import landmarks as marks
from avatarkit.heads.model import MESH_LANDMARKS, HeadModel
from avatarkit.methods.registry import Drive
from avatarkit.ops.anchors import deform
from avatarkit.ops.splat import blend

Float = NDArray[np.float32]

NECK_STEPS = 17
"""Rigid bones from the cranium (share of the torso 0) to the torso (1)."""
SKULL = NECK_STEPS
"""Rigid bone that follows the face's pose: the whites of the eyes."""
IRIS_LEFT, IRIS_RIGHT = NECK_STEPS + 1, NECK_STEPS + 2
RIGID = NECK_STEPS + 3
_SHARES = np.linspace(0, 1, NECK_STEPS, dtype=np.float32)

FACE = ("skin", "lips", "brows", "eyelids")
MOUTH = ("teeth", "gums", "tongue", "mouth")
EYES = ("sclera", "iris", "pupil")

HINGE = np.array([0.0, -0.03, -0.08], np.float32)
"""About which the cranium's correction turns, head space."""
NAPE = np.array([0.0, -0.17, -0.09], np.float32)
"""About which the torso's correction turns."""
CONTOURS = (
    (marks.LID_UPPER_LEFT, marks.LID_LOWER_LEFT),
    (marks.LID_UPPER_RIGHT, marks.LID_LOWER_RIGHT),
    (marks.LIPS_UPPER_INNER, marks.LIPS_LOWER_INNER),
)
"""What opens before the left eye, the right eye and the inside of the mouth."""
SOFTNESS = (0.0006, 0.0006, 0.0012)
"""Meters over which a contour covers what is behind it."""
KNOTS = max(len(part) for pair in CONTOURS for part in pair)
"""Most points of a border."""
SLACK = (0.0003, 0.0003, 0.0015)
"""Meters by which a contour is opened further: landmarks are not exact."""


@dataclass(frozen=True, eq=False)
class Rig:
    """Geometry of a person, without motion. U vertices, F triangles, E expressions."""

    neutral: Float
    """[U, 3] head space"""
    triangles: NDArray[np.int32]
    """[F, 3]"""
    shapes: NDArray[np.int8]
    """[E, U, 3] displacement of each expression, in units of ``unit``"""
    unit: Float
    """[E] meters"""
    landmarks: NDArray[np.int32]
    """[468] vertex of each landmark"""
    eyes: Float
    """[2, 3] centers of the (left, right) eyeballs"""
    rotation: Float
    """[3, 3] and ``translation`` [3]: the pose of the rest frame, in which the torso stands"""
    translation: Float

    @classmethod
    def of(
        cls,
        head: HeadModel,
        neutral: Float,
        shapes: NDArray[np.floating],
        rotation: Float,
        translation: Float,
    ) -> tuple[Rig, NDArray[np.int64]]:
        """The rig of a person's ``neutral`` head [V, 3] with ``shapes`` [E, V, 3]; and the [U] vertices it keeps."""
        kept_triangles = head.region_mask(*FACE, *MOUTH)[head.triangles].all(1)
        used = np.union1d(np.unique(head.triangles[kept_triangles]), head.landmarks[:MESH_LANDMARKS])
        place = np.full(len(head), -1)
        place[used] = np.arange(len(used))
        own = np.asarray(shapes, np.float32)[:, used]
        unit = np.maximum(np.abs(own).max((1, 2)), 1e-6).astype(np.float32) / 127
        rig = cls(
            neutral=np.ascontiguousarray(neutral[used], np.float32),
            triangles=place[head.triangles[kept_triangles]].astype(np.int32),
            shapes=np.rint(own / unit[:, None, None]).astype(np.int8),
            unit=unit,
            landmarks=place[head.landmarks[:MESH_LANDMARKS]].astype(np.int32),
            eyes=head.joints_of(neutral)[2:4].astype(np.float32),
            rotation=np.asarray(rotation, np.float32),
            translation=np.asarray(translation, np.float32),
        )
        return rig, used

    @property
    def bones(self) -> int:
        """Number of bones: the rigid ones, then one a triangle."""
        return RIGID + len(self.triangles)

    @cached_property
    def _shapes(self) -> tuple[Tensor, Tensor, Tensor]:
        """Neutral [1, 3U], shapes [E, 1, 3U] and their units [E, 1] as ``blend`` takes them: a quarter of floats."""
        flat = from_numpy(np.ascontiguousarray(self.shapes).reshape(len(self.shapes), 1, -1))
        return from_numpy(self.neutral.reshape(1, -1)), flat, from_numpy(self.unit[:, None])

    def posed(self, expression: Float) -> Float:
        """[U, 3] vertices in head space."""
        neutral, shapes, unit = self._shapes
        found = blend(neutral, shapes, from_numpy(np.ascontiguousarray(expression, np.float32)), unit)
        return np.asarray(found.numpy().reshape(-1, 3))

    def transforms(self, drive: Drive, vertices: Float, cranium: Float, torso: Float) -> Float:
        """[12, B] bones of ``drive`` whose ``vertices`` [U, 3] are posed already.

        ``cranium`` and ``torso`` [3, 4] are corrections in camera space, applied after the head's pose and after
        the rest pose respectively.
        """
        rotation, translation = np.asarray(drive.rotation), np.asarray(drive.translation)
        result = np.empty((3, 4, self.bones), np.float32)
        pose = np.column_stack([rotation, translation]).astype(np.float32)
        skull, body = _after(cranium, pose), _after(torso, np.column_stack([self.rotation, self.translation]))
        result[..., :NECK_STEPS] = skull[..., None] + _SHARES * (body - skull)[..., None]
        result[..., SKULL] = pose
        for side, bone in enumerate((IRIS_LEFT, IRIS_RIGHT)):
            turn = turned(drive.eyes[side])
            result[:, :3, bone] = rotation @ turn
            result[:, 3, bone] = rotation @ (self.eyes[side] - turn @ self.eyes[side]) + translation
        triangles, inverse, first = self._frames
        bones = result.reshape(12, -1)
        deform(from_numpy(vertices), triangles, inverse, first, from_numpy(pose), from_numpy(bones), RIGID)
        return bones

    @cached_property
    def _frames(self) -> tuple[Tensor, Tensor, Tensor]:
        """Triangles [F, 3], the inverse [3, 3, F] of their frames at rest, and their first corners [3, F] there."""
        a, b, c = (self.neutral[self.triangles[:, i]].astype(np.float64) for i in range(3))
        normal = np.cross(b - a, c - a)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
        # needles have no frame to speak of: what is nearly flat is taken to be flat
        inverse = np.linalg.pinv(np.stack([b - a, c - a, normal], -1), rcond=1e-4)
        back = np.ascontiguousarray(np.moveaxis(inverse, 0, -1), np.float32)
        return from_numpy(self.triangles), from_numpy(back), from_numpy(np.ascontiguousarray(a.T, np.float32))

    def openings(self, drive: Drive, vertices: Float) -> list[Opening]:
        """The contours of ``CONTOURS`` as the camera sees them."""
        loops = vertices[self._loops] @ np.asarray(drive.rotation).T + np.asarray(drive.translation)
        flat = loops[:, :2] / loops[:, 2:]
        result, at = [], 0
        for i, (upper, lower) in enumerate(CONTOURS):
            middle, end = at + len(upper), at + len(upper) + len(lower)
            depth = float(loops[at:end, 2].sum()) / (end - at)
            result.append(
                Opening.of(flat[at:middle], flat[middle:end], SOFTNESS[i] / depth, SLACK[i] / depth)
            )
            at = end
        return result

    @cached_property
    def _loops(self) -> NDArray[np.int32]:
        """Vertices of all ``CONTOURS``, one after the other, upper before lower."""
        return self.landmarks[[mark for pair in CONTOURS for part in pair for mark in part]]


@dataclass(frozen=True)
class Opening:
    """A hole of the face on the plane z = 1, between an upper and a lower border along the line of its corners."""

    origin: Float
    axes: Float
    """[2, 2] rows: along the line of the corners, and down across it"""
    upper: Float
    """[2, M] place along (rising) and across of the border"""
    lower: Float
    softness: float

    @classmethod
    def of(cls, upper: Float, lower: Float, softness: float, slack: float) -> Opening:
        """``upper`` and ``lower`` [M, 2] run from one corner to the other."""
        origin, along = upper[0], upper[-1] - upper[0]
        along = along / max(float(np.hypot(*along)), 1e-9)
        across = np.array([-along[1], along[0]], np.float32)
        if across[1] < 0:
            across = -across
        axes = np.stack([along, across])

        def border(points: Float, shift: float) -> Float:
            local = (points - origin) @ axes.T
            order = np.argsort(local[:, 0], kind="stable")
            local[:, 1] += shift
            return np.ascontiguousarray(local[order].T, np.float32)

        return cls(origin, axes, border(upper, -slack), border(lower, slack), softness)

    @property
    def frame(self) -> Float:
        """[7] see ``ops.anchors.reveal``, and so ``borders`` [2, 2, KNOTS], whose last points repeat."""
        return np.concatenate([self.origin, self.axes.reshape(-1), [self.softness]]).astype(np.float32)

    @property
    def borders(self) -> Float:
        """[2, 2, KNOTS] upper and lower, along and across."""
        return np.stack(
            [side[:, np.minimum(np.arange(KNOTS), side.shape[1] - 1)] for side in (self.upper, self.lower)]
        )

    def seen(self, points: Float) -> Float:
        """[N] how much of what lies at camera-space ``points`` [3, N] the hole leaves to be seen, 0 to 1."""
        local = self.axes @ (points[:2] / points[2] - self.origin[:, None])
        below = local[1] - np.interp(local[0], *self.upper)
        above = np.interp(local[0], *self.lower) - local[1]
        beyond = np.maximum(self.upper[0, 0] - local[0], local[0] - self.upper[0, -1])
        gap = (np.minimum(below, above) - np.maximum(beyond, 0)) / self.softness
        return np.asarray(1 / (1 + np.exp(-np.clip(2 * gap, -30, 30))), np.float32)


def _after(correction: Float, pose: Float) -> Float:
    """[3, 4] ``pose`` followed by ``correction``."""
    result = correction[:, :3] @ pose
    result[:, 3] += correction[:, 3]
    return np.asarray(result, np.float32)


def turned(vector: Float) -> NDArray[np.float64]:
    """[3, 3] rotation by an axis-angle [3]."""
    return np.asarray(cv2.Rodrigues(np.asarray(vector, np.float64))[0])


def twist(vector: Float, pivot: Float) -> Float:
    """[3, 4] rigid motion: turned by ``vector`` [3:6] (axis-angle) about ``pivot`` [3], then moved by [0:3]."""
    turn = turned(vector[3:])
    return np.column_stack([turn, pivot - turn @ pivot + vector[:3]]).astype(np.float32)
