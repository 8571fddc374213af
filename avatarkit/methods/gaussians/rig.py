"""The skeleton of an avatar: what carries its Gaussians, and where a drive puts it.

Bones are affine maps from the neutral head to camera space: one a triangle of face and mouth (its deformation
gradient), a few rigid ones for skull, torso, what lies between them, and the irises.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, from_numpy, no_grad

from avatarkit.heads import landmarks as marks
from avatarkit.heads import turns
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


_SOFTNESS, _SLACK = np.array(SOFTNESS, np.float32), np.array(SLACK, np.float32)


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
        with no_grad():
            found = blend(neutral, shapes, from_numpy(np.ascontiguousarray(expression, np.float32)), unit)
        return np.asarray(found.numpy().reshape(-1, 3))

    def transforms(self, drive: Drive, vertices: Float, cranium: Float, torso: Float) -> Float:
        """[12, B] bones of ``drive`` whose ``vertices`` [U, 3] are posed already.

        ``cranium`` and ``torso`` [3, 4] are corrections in camera space, applied after the head's pose and after
        the rest pose respectively.
        """
        joints = self.joints(drive)
        bodies = np.stack([_after(cranium, joints.pose), _after(torso, self.rest)])
        return self.carried(joints, from_numpy(vertices), bodies).numpy()

    @cached_property
    def rest(self) -> Float:
        """[3, 4] the pose in which the torso stands."""
        return np.column_stack([self.rotation, self.translation]).astype(np.float32)

    def joints(self, drive: Drive) -> Joints:
        """What of the bones depends on the drive alone, without its expression."""
        rotation, translation = np.asarray(drive.rotation), np.asarray(drive.translation)
        pose = np.column_stack([rotation, translation]).astype(np.float32)
        fixed = np.empty((3, 4, RIGID - SKULL), np.float32)
        fixed[..., 0] = pose
        for side, bone in enumerate((IRIS_LEFT, IRIS_RIGHT)):
            turn = turns.matrix_of(drive.eyes[side])
            fixed[:, :3, bone - SKULL] = rotation @ turn
            fixed[:, 3, bone - SKULL] = rotation @ (self.eyes[side] - turn @ self.eyes[side]) + translation
        return Joints(pose, from_numpy(pose), fixed)

    def carried(self, joints: Joints, vertices: Tensor, bodies: Float) -> Tensor:
        """[12, B] bones of ``joints``, posed ``vertices`` [U, 3], and ``bodies`` [2, 3, 4], head and torso."""
        result = np.empty((3, 4, self.bones), np.float32)
        skull = bodies[0][..., None]
        np.multiply(_SHARES, bodies[1][..., None] - skull, out=result[..., :NECK_STEPS])
        result[..., :NECK_STEPS] += skull
        result[..., SKULL:RIGID] = joints.fixed
        triangles, inverse, first = self._frames
        bones = from_numpy(result.reshape(12, -1))
        deform(vertices, triangles, inverse, first, joints.turned, bones, RIGID)
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

    def openings(self, drive: Drive, vertices: Float) -> tuple[Float, Float]:
        """The contours of ``CONTOURS`` as the camera sees them: frames [H, 7] and borders [H, 2, 2, KNOTS].

        See ``ops.anchors.reveal``; ``Opening`` holds one of them.
        """
        loops, weights = self._loops
        seen = vertices[loops] @ np.asarray(drive.rotation).T + np.asarray(drive.translation)
        depth = (seen[..., 2] * weights).sum((1, 2))
        return opened(seen[..., :2] / seen[..., 2:], _SOFTNESS / depth, _SLACK / depth)

    @cached_property
    def _loops(self) -> tuple[NDArray[np.int32], Float]:
        """[H, 2, KNOTS] vertices of all ``CONTOURS``, upper before lower, whose last ones repeat, and [H, 2, KNOTS]
        weights whose mean over a contour's own vertices is its depth."""
        marks_of = np.empty((len(CONTOURS), 2, KNOTS), np.int64)
        weights = np.zeros((len(CONTOURS), 2, KNOTS), np.float32)
        for i, pair in enumerate(CONTOURS):
            for side, part in enumerate(pair):
                marks_of[i, side] = [part[min(at, len(part) - 1)] for at in range(KNOTS)]
                weights[i, side, : len(part)] = 1 / sum(map(len, pair))
        return self.landmarks[marks_of], weights


@dataclass(frozen=True, eq=False)
class Joints:
    """Rigid parts of a posed rig."""

    pose: Float
    """[3, 4] head to camera"""
    turned: Tensor
    """the same"""
    fixed: Float
    """[3, 4, 3] skull, left and right iris"""


@dataclass(frozen=True, eq=False)
class Opening:
    """A hole of the face on the plane z = 1, between an upper and a lower border along the line of its corners."""

    frame: Float
    """[7] origin, unit vectors along the line of the corners and down across it, softness"""
    borders: Float
    """[2, 2, M] upper and lower: place along (rising) and across"""

    def seen(self, points: Float) -> Float:
        """[N] how much of what lies at camera-space ``points`` [3, N] the hole leaves to be seen, 0 to 1."""
        upper, lower = self.borders
        local = self.frame[2:6].reshape(2, 2) @ (points[:2] / points[2] - self.frame[:2, None])
        below = local[1] - np.interp(local[0], *upper)
        above = np.interp(local[0], *lower) - local[1]
        beyond = np.maximum(upper[0, 0] - local[0], local[0] - upper[0, -1])
        gap = (np.minimum(below, above) - np.maximum(beyond, 0)) / self.frame[6]
        return np.asarray(1 / (1 + np.exp(-np.clip(2 * gap, -30, 30))), np.float32)


def opened(loops: Float, softness: Float, slack: Float) -> tuple[Float, Float]:
    """Frames [H, 7] and borders [H, 2, 2, M] of the holes between upper and lower ``loops`` [H, 2, M, 2] on the plane
    z = 1, which run from one corner to the other, opened further by ``slack`` [H]."""
    origin = loops[:, 0, 0]
    line = loops[:, 0, -1] - origin
    line = line / np.maximum(np.hypot(line[:, 0], line[:, 1]), 1e-9)[:, None]
    down = np.where(line[:, 0] < 0, -1, 1)
    axes = np.empty((len(loops), 2, 2), np.float32)
    axes[:, 0] = line
    axes[:, 1, 0], axes[:, 1, 1] = -line[:, 1] * down, line[:, 0] * down
    local = axes[:, None] @ np.swapaxes(loops - origin[:, None, None], 2, 3)  # [H, 2, 2, M]
    order = np.argsort(local[:, :, 0], axis=-1, kind="stable")
    borders = np.take_along_axis(local, order[:, :, None], -1).astype(np.float32)
    borders[:, 0, 1] -= slack[:, None]
    borders[:, 1, 1] += slack[:, None]
    frames = np.empty((len(loops), 7), np.float32)
    frames[:, :2], frames[:, 2:6], frames[:, 6] = origin, axes.reshape(-1, 4), softness
    return frames, borders


def _after(correction: Float, pose: Float) -> Float:
    """[3, 4] ``pose`` followed by ``correction``."""
    result = correction[:, :3] @ pose
    result[:, 3] += correction[:, 3]
    return np.asarray(result, np.float32)


def twist(vector: Float, pivot: Float) -> Float:
    """[3, 4] rigid motion: turned by ``vector`` [3:6] (axis-angle) about ``pivot`` [3], then moved by [0:3].

    In plain numbers, as a training step needs it twice: Rodrigues' formula I + a [v] + b [v]^2.
    """
    mx, my, mz, x, y, z = vector.tolist()
    px, py, pz = pivot.tolist()
    square = x * x + y * y + z * z
    angle = math.sqrt(square)
    if angle > 1e-4:
        a, b = math.sin(angle) / angle, (1 - math.cos(angle)) / square
    else:
        a, b = 1 - square / 6, 0.5 - square / 24
    bx, by, bz = b * x, b * y, b * z
    row0 = (1 - by * y - bz * z, bx * y - a * z, bx * z + a * y)
    row1 = (bx * y + a * z, 1 - bx * x - bz * z, by * z - a * x)
    row2 = (bx * z - a * y, by * z + a * x, 1 - bx * x - by * y)
    moved = (
        p + m - (r[0] * px + r[1] * py + r[2] * pz)
        for r, p, m in zip((row0, row1, row2), (px, py, pz), (mx, my, mz), strict=True)
    )
    return np.array([(*r, t) for r, t in zip((row0, row1, row2), moved, strict=True)], np.float32)
