"""What drives the bases: the clip's active expression coefficients and, on demand, the head's rotation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from avatarkit.files.track import Track
from avatarkit.methods.registry import Drive

Float = NDArray[np.float32]

# Coefficients that never move by more than this during the training frames teach nothing.
INACTIVE = 0.02
# Radians of rotation that count as much as a coefficient of one.
TURN_UNIT = 0.35


@dataclass(frozen=True)
class Drivers:
    """Maps a drive to the weights w of the bases (eq. 2 of Gao et al. 2022).

    ``columns`` are the coefficients kept, most active first, as indices into ``names``. With ``rotation`` (the
    clip's mean head rotation [3, 3]) three more weights follow: axis-angle from it, in units of ``TURN_UNIT``,
    kept within ``turn_low`` and ``turn_high`` [3].
    """

    names: tuple[str, ...]
    columns: tuple[int, ...]
    rotation: Float | None = None
    turn_low: Float | None = None
    turn_high: Float | None = None

    @classmethod
    def of(cls, track: Track, positions: NDArray[np.int64], most: int, pose: bool) -> Drivers:
        """The drivers of a clip's training ``positions``: at most ``most`` coefficients."""
        expression = track.expression[positions]
        activity = np.percentile(expression, 99, axis=0) - np.percentile(expression, 1, axis=0)
        order = [int(i) for i in np.argsort(-activity, kind="stable")[:most] if activity[i] > INACTIVE]
        if not pose:
            return cls(track.expression_names, tuple(order))
        mean = Rotation.from_matrix(track.rotation[positions]).mean().as_matrix().astype(np.float32)
        turns = _turns(track.rotation[positions], mean)
        low, high = np.percentile(turns, [1, 99], axis=0).astype(np.float32)
        return cls(track.expression_names, tuple(order), mean, low, high)

    def __len__(self) -> int:
        return len(self.columns) + (0 if self.rotation is None else 3)

    def weights(self, expression: Float, rotation: Float) -> Float:
        """[T, K] of coefficients [T, E] and head rotations [T, 3, 3]."""
        parts = [np.clip(expression[:, list(self.columns)], 0, 1)]
        if self.rotation is not None:
            turns = np.clip(_turns(rotation, self.rotation), self.turn_low, self.turn_high)
            parts.append(turns / TURN_UNIT)
        return np.ascontiguousarray(np.concatenate(parts, 1), np.float32)

    def of_drive(self, drive: Drive) -> Float:
        """[1, K]"""
        return self.weights(drive.expression[None], drive.rotation[None])

    def header(self) -> dict[str, Any]:
        """The entry of the avatar file from which ``from_header`` makes the drivers again."""
        pose = None
        if self.rotation is not None and self.turn_low is not None and self.turn_high is not None:
            pose = {
                "rotation": self.rotation.tolist(),
                "low": self.turn_low.tolist(),
                "high": self.turn_high.tolist(),
            }
        return {"columns": list(self.columns), "pose": pose}

    @classmethod
    def from_header(cls, names: list[str], entry: dict[str, Any]) -> Drivers:
        """The inverse of ``header``."""
        columns = tuple(int(i) for i in entry["columns"])
        pose = entry.get("pose")
        if pose is None:
            return cls(tuple(names), columns)
        rotation, low, high = (np.asarray(pose[key], np.float32) for key in ("rotation", "low", "high"))
        return cls(tuple(names), columns, rotation, low, high)


def _turns(rotation: Float, mean: Float) -> Float:
    """[T, 3] axis-angle in head space from ``mean`` to ``rotation`` [T, 3, 3], radians."""
    relative = Rotation.from_matrix(mean).inv() * Rotation.from_matrix(rotation)
    return np.asarray(relative.as_rotvec(), np.float32)
