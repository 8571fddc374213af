"""A person as Gaussians on a rig: what a fit changes, what a file holds, and how a drive moves it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatarkit.methods.gaussians import rig as rigs
from avatarkit.methods.gaussians.drivers import Drivers
from avatarkit.methods.gaussians.rig import Rig
from avatarkit.methods.registry import Drive
from avatarkit.ops.anchors import carry, reveal
from avatarkit.ops.figure import Exposure, Figure, Pinhole
from avatarkit.rendering.camera import Camera

Float = NDArray[np.float32]

DILATION = 0.3
"""Square pixels at the resolution of the fit; a picture of other size scales it."""
TURN_UNIT = 10.0
"""Radians a meter: corrections learn turns and movements at rates this far apart."""

_UNITS = np.array([1, 1, 1, TURN_UNIT, TURN_UNIT, TURN_UNIT], np.float32)

UNSURE = 0.2
"""Confidence up to which a tracked torso is not believed."""
RIDGE = 0.02
"""Weight that keeps the torso from following small motions of the head."""


@dataclass(frozen=True, eq=False)
class Pose:
    """A rig moved by a drive, before the corrections of cranium and torso."""

    drive: Drive
    vertices: Tensor
    """[U, 3]"""
    inputs: Float
    """[K + 1] the coefficients and a constant one"""
    joints: rigs.Joints
    bodies: Float
    """[2, 3, 4] head, and torso as tracked or as the head's pose suggests, in camera space"""
    pivots: Float
    """[2, 3] camera space: about which the corrections of cranium and torso turn"""
    holes: tuple[Tensor, Tensor]
    """frames and borders of the rig's openings, see ``ops.anchors.reveal``"""

    @property
    def coefficients(self) -> Float:
        """[K]"""
        return self.inputs[:-1]


@dataclass(eq=False)
class Puppet:
    """Rig, drivers and the linear corrections; the Gaussians themselves are handed in, as training blends them."""

    rig: Rig
    drivers: Drivers
    bone: Tensor
    """[N] int32"""
    opening: Tensor
    """[N] int8"""
    corrections: Float
    """[2, 6, K + 1] movement (meters) and turn (times ``TURN_UNIT`` radians) of cranium and torso"""
    torso_map: Float
    """[4, 1 + P] similarity of the torso from the head's pose (see ``torso``); zero columns: none was tracked"""
    torso_rest: Float
    """[2, 3] the tracked similarity of the rest frame"""
    focal: float
    """pixels, of the resolution of the fit"""

    def pose(self, drive: Drive) -> Pose:
        """What depends on the drive alone."""
        rig, vertices = self.rig, self.rig.posed(np.asarray(drive.expression, np.float32))
        coefficients = self.drivers.coefficients(drive, vertices, rig)
        joints, torso = rig.joints(drive), self.torso(drive)
        body = torso[:, :3] @ rig.rest
        body[:, 3] += torso[:, 3]
        cranium = np.asarray(drive.rotation) @ rigs.HINGE + np.asarray(drive.translation)
        pivots = np.stack([cranium, rig.rotation @ rigs.NAPE + rig.translation]).astype(np.float32)
        frames, borders = rig.openings(drive, vertices)
        return Pose(
            drive, torch.from_numpy(vertices), np.append(coefficients, np.float32(1)), joints,
            np.stack([joints.pose, body]), pivots, (torch.from_numpy(frames), torch.from_numpy(borders)),
        )  # fmt: skip

    def torso(self, drive: Drive) -> Float:
        """[3, 4] motion of the torso in camera space from its rest.

        The clip's own track tells it in its picture where it could be followed; otherwise, and for anybody else, the
        torso follows the head as it did in the clip.
        """
        if self.torso_map.shape[1] == 0:
            return np.eye(3, 4, dtype=np.float32)
        sure = drive.torso is not None and drive.torso_confidence > UNSURE
        if drive.torso is not None and sure and np.isfinite(drive.torso).all():
            plane = _compose(drive.torso, _inverse(self.torso_rest))
        else:
            a, b, x, y = self.torso_map @ np.append(self.drivers.placed(drive), 1)
            plane = np.array([[1 + a, -b, x], [b, 1 + a, y]])
        k = np.asarray(self.drivers.intrinsics, np.float64)
        turn, center = np.asarray(plane[:, :2], np.float64), k[:2, 2]
        result = np.eye(3, 4)
        result[:2, :2] = turn
        result[:2, 2] = (turn @ center + plane[:, 2] - center) / (k[0, 0], k[1, 1])
        return result.astype(np.float32)

    def bones(self, pose: Pose) -> Tensor:
        """[12, B] corrected."""
        moves = self.corrections @ pose.inputs * _UNITS  # [2, 6]
        twists = np.stack([rigs.twist(moves[i], pose.pivots[i]) for i in (0, 1)])
        bodies = twists[..., :3] @ pose.bodies
        bodies[..., 3] += twists[..., 3]
        return self.rig.carried(pose.joints, pose.vertices, bodies)

    def visibility(self, positions: Tensor, bones: Tensor, pose: Pose) -> Tensor:
        """[N] what lids and lips leave to be seen of Gaussians whose ``positions`` [3, N] are at rest."""
        return reveal(positions, bones, self.bone, self._behind, self._hole, *pose.holes)

    def __post_init__(self) -> None:
        self._behind = torch.nonzero(self.opening >= 0)[:, 0].int()
        """[M] Gaussians behind one of the contours; ``_hole`` [M] which"""
        self._hole = self.opening[self._behind.long()].int()

    def figure(self, gaussians: Tensor, pose: Pose) -> Figure:
        """Blended ``gaussians`` [14, N] in ``pose``."""
        bones = self.bones(pose)
        return Figure(gaussians, bones, self.bone, self.visibility(gaussians[:3], bones, pose))

    def draw(self, gaussians: Tensor, pose: Pose, camera: Camera) -> Tensor:
        """[H, W, 4] premultiplied picture of blended ``gaussians`` [14, N]."""
        return self.exposed(gaussians, pose, camera).image

    def exposed(self, gaussians: Tensor, pose: Pose, camera: Camera) -> Exposure:
        """The same with what its gradients need."""
        size = camera.height, camera.width
        return self.figure(gaussians, pose).exposed(_pinhole(camera), size, self.dilation(camera))

    def draw_over(
        self, gaussians: Tensor, pose: Pose, camera: Camera, behind: NDArray[np.uint8]
    ) -> NDArray[np.uint8]:
        """[H, W, 3] picture of blended ``gaussians`` [14, N] over ``behind`` [H, W, 3]."""
        figure = self.figure(gaussians, pose)
        return figure.over(torch.from_numpy(behind), _pinhole(camera), self.dilation(camera)).numpy()

    def carried(self, gaussians: Tensor, pose: Pose) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Mean, covariance, color and opacity in camera space; see ``ops.splat``."""
        figure = self.figure(gaussians, pose)
        mean, covariance, color, opacity = carry(gaussians, figure.bones, self.bone, figure.visibility)
        # colors beyond the range could paint the background over, and would not survive another one
        return mean, covariance, color.clamp(0, 1), opacity

    def dilation(self, camera: Camera) -> float:
        """Square pixels by which splats are blurred, the same share of the picture at any resolution."""
        return DILATION * (float(camera.intrinsics[0, 0]) / self.focal) ** 2


def _pinhole(camera: Camera) -> Pinhole:
    k = camera.intrinsics
    return float(k[0, 0]), float(k[1, 1]), float(k[0, 2]), float(k[1, 2])


def torso_model(torso: Float, confidence: Float, rest: Float, poses: Float) -> Float:
    """[4, P + 1] affine map from pose coefficients [T, P] to the similarity (a, b, x, y) of the torso since ``rest``.

    ``torso`` [T, 2, 3] as tracked, ``confidence`` [T] its weights. Ridge regression: what the head's pose does
    not explain stays at its mean.
    """
    back = _inverse(rest)
    moves = np.stack([_compose(plane, back) for plane in torso]).astype(np.float64)
    target = np.stack([moves[:, 0, 0] - 1, moves[:, 1, 0], moves[:, 0, 2], moves[:, 1, 2]], 1)
    inputs = np.column_stack([poses, np.ones(len(poses))]).astype(np.float64)
    weighted = inputs * np.asarray(confidence, np.float64)[:, None]
    ridge = np.diag([*np.full(poses.shape[1], RIDGE * max(float(confidence.sum()), 1.0)), 1e-6])
    return np.linalg.solve(inputs.T @ weighted + ridge, weighted.T @ target).T.astype(np.float32)


def _compose(second: Float, first: Float) -> Float:
    result = second[:, :2] @ first
    result[:, 2] += second[:, 2]
    return np.asarray(result, np.float32)


def _inverse(plane: Float) -> Float:
    turn = np.linalg.inv(plane[:, :2])
    return np.column_stack([turn, -turn @ plane[:, 2]]).astype(np.float32)
