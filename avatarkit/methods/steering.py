"""What of a driver's motion is taken over: parts of the face, factors, coefficients that are held."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from avatarkit import heads
from avatarkit.files.errors import UsageError
from avatarkit.heads import turns
from avatarkit.heads.landmarks import IRIS_LEFT, IRIS_RIGHT
from avatarkit.heads.lifting import lifted, projected
from avatarkit.heads.model import MESH_LANDMARKS
from avatarkit.methods.registry import Drive

Float = NDArray[np.float32]

PARTS = ("face", "lips", "eyes", "pose")
_OWNERS = {"jaw": "lips", "mouth": "lips", "tongue": "lips", "eye": "eyes"}


def part_of(name: str) -> str:
    """``lips``, ``eyes`` or ``face`` (brows, cheeks, nose): the part that moves with the expression ``name``."""
    return next((part for start, part in _OWNERS.items() if name.startswith(start)), "face")


@dataclass(frozen=True)
class Steering:
    """The part of a driver's motion, seen from its neutral frame, that reaches the avatar."""

    parts: tuple[str, ...] = PARTS
    expression_scale: float = 1.0
    pose_scale: float = 1.0
    held: dict[str, float] = field(default_factory=dict)
    """coefficients that keep one value whatever the driver does."""

    def __post_init__(self) -> None:
        for part in self.parts:
            if part not in PARTS:
                raise UsageError(f"--parts {part}: choose from {','.join(PARTS)}")

    @property
    def idle(self) -> bool:
        """Whether everything is taken over as it is."""
        whole = set(self.parts) == set(PARTS) and not self.held
        return whole and self.expression_scale == 1.0 and self.pose_scale == 1.0

    def steered(self, drive: Drive, neutral: Drive, names: tuple[str, ...], intrinsics: Float) -> Drive:
        """``drive`` with what is not wanted replaced by what the driver's ``neutral`` frame shows.

        ``names`` are those of the coefficients, ``intrinsics`` [3, 3] the driver's camera, in whose pixels the
        landmarks are. Raises UsageError for held coefficients that do not exist.
        """
        if self.idle:
            return drive
        gain = {part: self.expression_scale if part in self.parts else 0.0 for part in PARTS}
        share = np.array([gain[part_of(name)] for name in names], np.float32)
        expression = neutral.expression + share * (drive.expression - neutral.expression)
        for name, value in self.held.items():
            if name not in names:
                raise UsageError(f"--set {name}: the expressions are {', '.join(names)}")
            expression[names.index(name)] = value
        sure = replace(
            drive,
            expression=np.clip(expression, 0, 1).astype(np.float32),
            jaw=neutral.jaw + gain["lips"] * (drive.jaw - neutral.jaw),
            eyes=neutral.eyes + gain["eyes"] * (drive.eyes - neutral.eyes),
        )
        pose = self.pose_scale if "pose" in self.parts else 0.0
        turn = turns.between(neutral.rotation, drive.rotation)
        rotation = turns.matrix_of(pose * turn) @ neutral.rotation
        translation = neutral.translation + pose * (drive.translation - neutral.translation)
        sure = replace(
            sure,
            rotation=rotation.astype(np.float32),
            translation=translation.astype(np.float32),
            neck=neutral.neck + pose * (drive.neck - neutral.neck),
            torso=drive.torso if pose == 1.0 else None,
        )
        if drive.landmarks is None or neutral.landmarks is None:
            return sure
        rest = lifted(neutral.landmarks, intrinsics, neutral.rotation, neutral.translation)
        local = lifted(drive.landmarks, intrinsics, drive.rotation, drive.translation)
        weight = sum(gain[part] * self._shares[part] for part in ("face", "lips", "eyes"))
        local = rest + np.asarray(weight)[:, None] * (local - rest)
        local = local + self._holding(drive, neutral, names, gain)
        return replace(sure, landmarks=projected(local, intrinsics, sure.rotation, sure.translation))

    def _holding(
        self, drive: Drive, neutral: Drive, names: tuple[str, ...], gain: dict[str, float]
    ) -> NDArray[np.float32]:
        """[478, 3] meters by which the held coefficients move the landmarks from where the driver has them."""
        shift = np.zeros((MESH_LANDMARKS + 10, 3), np.float32)
        head, shapes = self._shapes
        for name, value in self.held.items():
            i = names.index(name)
            now = neutral.expression[i] + gain[part_of(name)] * (drive.expression[i] - neutral.expression[i])
            if name in head:
                shift[:MESH_LANDMARKS] += (value - now) * shapes[head.index(name)]
        return shift

    @cached_property
    def _shapes(self) -> tuple[tuple[str, ...], Float]:
        head = heads.load("builtin")
        return head.expression_names, head.shapes[:, head.landmarks[:MESH_LANDMARKS]]

    @cached_property
    def _shares(self) -> dict[str, Float]:
        """Per part [478] how much of a landmark's motion is that part's, from how far its expressions move it."""
        names, shapes = self._shapes
        reach = np.linalg.norm(shapes, axis=-1)
        owners = np.array([part_of(name) for name in names])
        # squared, so that a part has its own region to itself and shares only the borders
        moved = {part: np.square(reach[owners == part]).sum(0) for part in ("face", "lips", "eyes")}
        total = sum(moved.values()) + 1e-12
        shares = {
            part: np.concatenate([values / total, np.zeros(10)]).astype(np.float32)
            for part, values in moved.items()
        }
        unmoved = np.concatenate([np.asarray(total) < 1e-9, np.zeros(10, bool)])
        shares["face"][unmoved] = 1.0
        shares["eyes"][[*IRIS_LEFT, *IRIS_RIGHT]] = 1.0
        return shares


def imitating(neutral: Drive, rest: Drive, names: tuple[str, ...], intrinsics: Float) -> Drive:
    """The driver making the face of an avatar's ``rest``: the start from which its motion is absolute.

    ``neutral`` is a frame of the driver with landmarks; it takes on the coefficients (``names``) and the turn of
    ``rest``, and stays where it is.
    """
    copied = Steering(held=dict(zip(names, rest.expression.tolist(), strict=True)))
    posed = copied.steered(neutral, neutral, names, intrinsics)
    assert posed.landmarks is not None
    local = lifted(posed.landmarks, intrinsics, neutral.rotation, neutral.translation)
    landmarks = projected(local, intrinsics, rest.rotation, neutral.translation)
    return replace(posed, rotation=rest.rotation, neck=rest.neck, eyes=rest.eyes, landmarks=landmarks)
