"""What drives the residuals: principal components of expression, pose and of what the landmarks show beyond both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor, from_numpy

from avatarkit.heads import turns
from avatarkit.heads.model import MESH_LANDMARKS
from avatarkit.methods.gaussians.rig import Rig
from avatarkit.methods.registry import Drive

Float = NDArray[np.float32]

LEVER = 0.1
"""Meters: a turn of one radian counts in the pose as much as a movement by this."""
FOREIGN = 2.5
"""How many times the training clip's 99th percentile a landmark residual may measure before it is another person's."""
TYPICAL = 0.8
"""Share of the training frames whose coefficients, taken together, are as far from the mean as any may be."""
_ARRAYS = ("mean", "axes", "low", "high", "bounds")


@dataclass(frozen=True, eq=False)
class Group:
    """Principal components of one kind of input, D numbers to K coefficients, in units of the first deviation."""

    mean: Float
    """[D]"""
    axes: Float
    """[K, D], divided by the deviation of the first component"""
    low: Float
    """[K] range of the coefficients over the training frames"""
    high: Float
    bounds: Float
    """[K] half axes of the ellipsoid that holds ``TYPICAL`` of the training frames"""

    @classmethod
    def of(cls, values: Float, most: int) -> Group:
        """At most ``most`` components of ``values`` [T, D]; none that do not move."""
        mean = values.mean(0)
        _, deviations, axes = np.linalg.svd(values - mean, full_matrices=False)
        deviations = deviations / np.sqrt(max(len(values), 1))
        kept = axes[: min(most, int((deviations > 1e-3 * max(float(deviations[0]), 1e-9)).sum()))]
        # The sign of a singular vector is arbitrary: fix it, so that every machine has the same.
        kept = kept * np.sign(kept[np.arange(len(kept)), np.abs(kept).argmax(1)])[:, None]
        axes = (kept / max(float(deviations[0]), 1e-9)).astype(np.float32)
        mean, nothing = mean.astype(np.float32), np.zeros(0, np.float32)
        coefficients = (values - mean) @ axes.T
        if not len(coefficients) or not len(axes):
            return cls(mean, axes, nothing, nothing, nothing)
        low, high = np.percentile(coefficients, [0.5, 99.5], axis=0).astype(np.float32)
        deviation = np.maximum(np.clip(coefficients, low, high).std(0), 1e-6)
        reached = np.linalg.norm(np.clip(coefficients, low, high) / deviation, axis=1)
        bounds = np.maximum(np.percentile(reached, 100 * TYPICAL), 1e-6) * deviation
        return cls(mean, axes, low, high, bounds.astype(np.float32))

    def __len__(self) -> int:
        return len(self.axes)

    def coefficients(self, values: Float) -> Float:
        """[..., K] of ``values`` [..., D], kept within the training range."""
        return self._kept((values - self.mean) @ self.axes.T)

    def typical(self, values: Float) -> Float:
        """The same of one D, drawn back into the ellipsoid of ``bounds``.

        Each of them may lie in its range, and all together be nothing that the clip ever showed: residuals added up
        there tear hair and lips apart.
        """
        kept = self.coefficients(values)
        return np.asarray(kept / max(float(np.linalg.norm(kept / self.bounds)), 1.0), np.float32)

    def faded(self, values: Float) -> Float:
        """The same, less and less beyond that range, and nothing a whole width of it away.

        What a clip's farthest poses show is no guide to poses far beyond them: who always made a face when they
        turned would make it, at its strongest, whenever the head is turned farther.
        """
        found = (values - self.mean) @ self.axes.T
        beyond = np.maximum(np.maximum(self.low - found, found - self.high), 0)
        left = np.maximum(1 - beyond / np.maximum(self.high - self.low, 1e-9), 0)
        return np.asarray(self._kept(found) * left, np.float32)

    def _kept(self, found: Float) -> Float:
        return np.asarray(np.minimum(np.maximum(found, self.low), self.high), np.float32)


@dataclass(frozen=True, eq=False)
class Drivers:
    """Maps a drive to the coefficients c [K] of the residuals; the last of K + 1 ``inputs`` is a constant one."""

    expression: Group
    pose: Group
    landmarks: Group
    rotation: Float
    """[3, 3] mean head rotation of the training frames"""
    limit: float
    """root mean square (meters) of landmark residuals beyond which they are taken to be another person's"""
    intrinsics: Float
    """[3, 3] of the training clip, in whose pixels landmarks are"""

    @classmethod
    def of(
        cls, drives: list[Drive], rig: Rig, intrinsics: Float, expressions: int, landmarks: int, pose: bool
    ) -> Drivers:
        """The drivers of a clip's training ``drives``."""
        rotations = Rotation.from_matrix(np.stack([drive.rotation for drive in drives]))
        mean = rotations.mean().as_matrix().astype(np.float32)
        residuals = [residual(drive, rig.posed(drive.expression), rig, intrinsics) for drive in drives]
        known = np.stack(
            [r for r in residuals if r is not None] or [np.zeros(2 * MESH_LANDMARKS, np.float32)]
        )
        measured = np.sqrt(np.square(known - known.mean(0)).mean(1))
        return cls(
            expression=Group.of(np.stack([drive.expression for drive in drives]), expressions),
            pose=Group.of(np.stack([_place(drive, mean) for drive in drives]), 6 if pose else 0),
            landmarks=Group.of(known, landmarks),
            rotation=mean,
            limit=FOREIGN * float(np.percentile(measured, 99)),
            intrinsics=np.asarray(intrinsics, np.float32),
        )

    def __len__(self) -> int:
        return len(self.expression) + len(self.pose) + len(self.landmarks)

    def placed(self, drive: Drive) -> Float:
        """[P] coefficients of the pose, within the training range: what the torso follows."""
        return self.pose.coefficients(_place(drive, self.rotation))

    def coefficients(self, drive: Drive, vertices: Float, rig: Rig) -> Float:
        """[K] of a drive whose rig's ``vertices`` are posed.

        Landmarks count where there are any and they are this person's; otherwise they say nothing, which is zero.
        """
        beyond = np.zeros(len(self.landmarks), np.float32)
        if len(self.landmarks):
            values = residual(drive, vertices, rig, self.intrinsics)
            if values is not None and self._own(values):
                beyond = self.landmarks.typical(values)
        expression = self.expression.typical(drive.expression)
        return np.concatenate([expression, self.pose.faded(_place(drive, self.rotation)), beyond])

    def _own(self, values: Float) -> bool:
        return float(np.sqrt(np.square(values - self.landmarks.mean).mean())) < self.limit

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and header entry from which ``from_state`` makes the drivers again."""
        tensors = {"drivers.rotation": self.rotation, "drivers.intrinsics": self.intrinsics}
        for name in ("expression", "pose", "landmarks"):
            group: Group = getattr(self, name)
            for key in _ARRAYS:
                tensors[f"drivers.{name}.{key}"] = getattr(group, key)
        return {k: from_numpy(np.ascontiguousarray(v)) for k, v in tensors.items()}, {"limit": self.limit}

    @classmethod
    def from_state(cls, tensors: dict[str, Tensor], entry: dict[str, Any]) -> Drivers:
        """The inverse of ``state``; raises KeyError for tensors that are missing."""

        def array(name: str) -> Float:
            if name.endswith(".bounds") and f"drivers.{name}" not in tensors:  # an older file
                return np.full_like(array(name.replace("bounds", "low")), np.inf)
            return tensors[f"drivers.{name}"].float().numpy()

        groups = {
            name: Group(*(array(f"{name}.{key}") for key in _ARRAYS))
            for name in ("expression", "pose", "landmarks")
        }
        return cls(
            **groups,
            rotation=array("rotation"),
            limit=float(entry["limit"]),
            intrinsics=array("intrinsics"),
        )


def residual(drive: Drive, vertices: Float, rig: Rig, intrinsics: Float) -> Float | None:
    """[2 * 468] meters across the line of sight from the rig's landmarks to the detected ones; None without any."""
    if drive.landmarks is None or len(drive.landmarks) < MESH_LANDMARKS:
        return None
    seen = np.asarray(drive.landmarks[:MESH_LANDMARKS, :2], np.float32)
    if not np.isfinite(seen).all():
        return None
    points = vertices[rig.landmarks] @ np.asarray(drive.rotation).T + np.asarray(drive.translation)
    focal = np.array([intrinsics[0, 0], intrinsics[1, 1]], np.float32)
    expected = points[:, :2] / points[:, 2:] * focal + intrinsics[:2, 2]
    return np.asarray((seen - expected) / focal * points[:, 2:], np.float32).reshape(-1)


def _place(drive: Drive, mean: Float) -> Float:
    """[6] meters: turn from the mean rotation times ``LEVER``, and position."""
    turn = turns.vector_of(mean.T.astype(np.float64) @ drive.rotation)
    return np.concatenate([turn * LEVER, drive.translation]).astype(np.float32)
