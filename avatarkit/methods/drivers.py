"""What drives the bases: expression coefficients or their principal components, rotation, the clip's own residual."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from avatarkit.files.track import Track
from avatarkit.methods.driving import soft_clamp
from avatarkit.methods.registry import Drive

Float = NDArray[np.float32]

# Coefficients that never move by more than this during the training frames teach nothing.
INACTIVE = 0.02
# Radians of rotation that count as much as a coefficient of one.
TURN_UNIT = 0.35
# Deviations of the first residual component that count as much as a coefficient of one.
RESIDUAL_UNIT = 4.0
# How far beyond the training range a coefficient can go before it saturates, as a share of that range.
BEYOND = 0.15


@dataclass(frozen=True)
class Turns:
    """Head rotation as drivers: axis-angle from ``mean`` [3, 3], kept within ``low`` and ``high`` [3]."""

    mean: Float
    low: Float
    high: Float

    @classmethod
    def of(cls, rotation: Float) -> Turns:
        """The turns of a clip's training frames [N, 3, 3]."""
        mean = Rotation.from_matrix(rotation).mean().as_matrix().astype(np.float32)
        low, high = np.percentile(_turns(rotation, mean), [1, 99], axis=0).astype(np.float32)
        return cls(mean, low, high)

    def weights(self, rotation: Float) -> Float:
        """[T, 3] of rotations [T, 3, 3], in units of ``TURN_UNIT``."""
        return np.clip(_turns(rotation, self.mean), self.low, self.high) / np.float32(TURN_UNIT)


@dataclass(frozen=True)
class Components:
    """Principal components of the coefficients: ``matrix`` [C, K] applied to the deviation from ``mean`` [C]."""

    mean: Float
    matrix: Float

    @classmethod
    def of(cls, expression: Float, most: int) -> Components:
        """Of training coefficients [N, C]: at most ``most``, all scaled by the first one's deviation.

        One scale for all keeps the weaker ones weak: a basis that hardly ever moves learns little.
        """
        mean = expression.mean(0)
        _, spread, axes = np.linalg.svd((expression - mean).astype(np.float64), full_matrices=False)
        count = min(most, int((spread > 1e-3 * spread[0]).sum())) if len(spread) else 0
        deviation = spread[0] / np.sqrt(len(expression)) if count else 1.0
        # The sign of a component is arbitrary: its largest entry is positive.
        axes = axes[:count] * np.sign(axes[np.arange(count), np.abs(axes[:count]).argmax(1)])[:, None]
        return cls(mean.astype(np.float32), np.ascontiguousarray(axes.T / deviation, np.float32))


@dataclass(frozen=True)
class Residual:
    """The track's ``extra`` components as drivers, kept within the training frames' reach, ``low`` to ``high`` [P].

    They say what coefficients leave unexplained, on this clip only: whoever has none is driven without them.
    """

    low: Float
    high: Float

    @classmethod
    def of(cls, extra: Float) -> Residual:
        """Of the training frames [N, P]."""
        low, high = np.percentile(extra, [1, 99], axis=0).astype(np.float32)
        return cls(low, high)

    def weights(self, extra: Float) -> Float:
        """[T, P] of components [T, P], in units of ``RESIDUAL_UNIT`` deviations."""
        margin = BEYOND * (self.high - self.low) + 0.02
        return np.asarray(soft_clamp(extra, self.low, self.high, margin), np.float32) / np.float32(
            RESIDUAL_UNIT
        )


@dataclass(frozen=True)
class Drivers:
    """Maps a drive to the weights w of the bases (eq. 2 of Gao et al. 2022).

    ``columns`` are the coefficients kept, most active first, as indices into ``names``; ``low`` and ``high`` [C] are
    what the training frames reached, beyond which a coefficient softly saturates. The weights are the coefficients
    themselves, or their principal ``components``; with ``turns`` three more follow, then those of the ``residual``.
    """

    names: tuple[str, ...]
    columns: tuple[int, ...]
    low: Float
    high: Float
    components: Components | None = None
    turns: Turns | None = None
    residual: Residual | None = None

    @classmethod
    def of(
        cls,
        track: Track,
        positions: NDArray[np.int64],
        most: int,
        pose: bool,
        components: int = 0,
        residual: bool = False,
    ) -> Drivers:
        """The drivers of a clip's training ``positions``: at most ``most`` coefficients, or ``components`` of them."""
        expression = np.clip(track.expression[positions], 0, 1)
        activity = np.percentile(expression, 99, axis=0) - np.percentile(expression, 1, axis=0)
        order = [int(i) for i in np.argsort(-activity, kind="stable")[:most] if activity[i] > INACTIVE]
        kept = expression[:, order]
        reach = (kept.min(0), kept.max(0)) if order else (np.zeros(0), np.zeros(0))
        low, high = (np.asarray(values, np.float32) for values in reach)
        parts = Components.of(kept, components) if components and order else None
        turns = Turns.of(track.rotation[positions]) if pose else None
        rest = Residual.of(track.extra[positions]) if residual and track.extra is not None else None
        return cls(track.expression_names, tuple(order), low, high, parts, turns, rest)

    def __len__(self) -> int:
        own = len(self.columns) if self.components is None else self.components.matrix.shape[1]
        own += 0 if self.turns is None else 3
        return own + (0 if self.residual is None else len(self.residual.low))

    def clamped(self, expression: Float) -> Float:
        """Coefficients [..., E] with those that are kept softly limited to the training range, the others as given."""
        result = np.clip(np.asarray(expression, np.float32), 0, 1)
        columns = list(self.columns)
        margin = BEYOND * (self.high - self.low) + 0.02
        result[..., columns] = soft_clamp(result[..., columns], self.low, self.high, margin)
        return result

    def weights(self, expression: Float, rotation: Float, extra: Float | None = None) -> Float:
        """[T, K] of coefficients [T, E], head rotations [T, 3, 3] and the clip's own components [T, P] (None: zero)."""
        own = self.clamped(expression)[:, list(self.columns)]
        if self.components is not None:
            own = (own - self.components.mean) @ self.components.matrix
        parts = [own] if self.turns is None else [own, self.turns.weights(rotation)]
        if self.residual is not None:
            known = extra is not None and extra.shape[1:] == self.residual.low.shape
            none = np.zeros((len(own), len(self.residual.low)), np.float32)
            parts.append(self.residual.weights(extra) if known and extra is not None else none)
        return np.ascontiguousarray(np.concatenate(parts, 1), np.float32)

    def of_drive(self, drive: Drive) -> Float:
        """[1, K]"""
        extra = None if drive.extra is None else drive.extra[None]
        return self.weights(drive.expression[None], drive.rotation[None], extra)

    def header(self) -> dict[str, Any]:
        """The entry of the avatar file from which ``from_header`` makes the drivers again."""
        entry: dict[str, Any] = {
            "columns": list(self.columns),
            "low": self.low.tolist(),
            "high": self.high.tolist(),
        }
        parts, turns = self.components, self.turns
        if parts is not None:
            entry["components"] = {"mean": parts.mean.tolist(), "matrix": parts.matrix.tolist()}
        if turns is not None:
            entry["pose"] = {
                "rotation": turns.mean.tolist(),
                "low": turns.low.tolist(),
                "high": turns.high.tolist(),
            }
        if self.residual is not None:
            entry["residual"] = {"low": self.residual.low.tolist(), "high": self.residual.high.tolist()}
        return entry

    @classmethod
    def from_header(cls, names: list[str], entry: dict[str, Any]) -> Drivers:
        """The inverse of ``header``. Files of the first version know neither ranges nor components."""
        columns = tuple(int(i) for i in entry["columns"])
        low = np.asarray(entry.get("low", [0.0] * len(columns)), np.float32)
        high = np.asarray(entry.get("high", [1.0] * len(columns)), np.float32)
        parts, pose = entry.get("components"), entry.get("pose")
        components = (
            None
            if parts is None
            else Components(*(np.asarray(parts[k], np.float32) for k in ("mean", "matrix")))
        )
        turns = (
            None
            if pose is None
            else Turns(*(np.asarray(pose[k], np.float32) for k in ("rotation", "low", "high")))
        )
        if components is not None and components.matrix.shape[0] != len(columns):
            raise ValueError("the components do not fit the coefficients")
        rest = entry.get("residual")
        residual = (
            None if rest is None else Residual(*(np.asarray(rest[k], np.float32) for k in ("low", "high")))
        )
        return cls(tuple(names), columns, low, high, components, turns, residual)


def _turns(rotation: Float, mean: Float) -> Float:
    """[T, 3] axis-angle in head space from ``mean`` to ``rotation`` [T, 3, 3], radians."""
    relative = Rotation.from_matrix(mean).inv() * Rotation.from_matrix(rotation)
    return np.asarray(relative.as_rotvec(), np.float32)
