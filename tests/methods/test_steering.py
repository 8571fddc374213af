"""What is taken over of a driver's motion: measured on the landmarks and coefficients that come out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from avatarkit import heads
from avatarkit.files.errors import UsageError
from avatarkit.heads.lifting import lifted, projected
from avatarkit.methods.registry import Drive
from avatarkit.methods.steering import PARTS, Steering, imitating, part_of

K = np.array([[768, 0, 240], [0, 768, 240], [0, 0, 1]], np.float32)
FRONT = np.diag([1.0, -1.0, -1.0]).astype(np.float32)
HEAD = heads.load("builtin")
NAMES = HEAD.expression_names
LIPS = (13, 14)
LIDS = (159, 145)


def drive(expression: dict[str, float], yaw: float = 0.0, x: float = 0.0) -> Drive:
    """The built-in head as a detector would see it."""
    w = np.zeros(len(NAMES), np.float32)
    for name, value in expression.items():
        w[NAMES.index(name)] = value
    rotation = (Rotation.from_euler("Y", yaw, degrees=True).as_matrix() @ FRONT).astype(np.float32)
    translation = np.array([x, 0, 0.5], np.float32)
    points = (HEAD.vertices + np.tensordot(w, HEAD.shapes, 1))[HEAD.landmarks]
    still = np.zeros(3, np.float32)
    return Drive(
        rotation, translation, w, still, still, np.zeros((2, 3), np.float32),
        landmarks=projected(points.astype(np.float32), K, rotation, translation),
    )  # fmt: skip


def gap(d: Drive, pair: tuple[int, int]) -> float:
    """Millimeters between two landmarks in the head's own space."""
    assert d.landmarks is not None
    local = lifted(d.landmarks, K, d.rotation, d.translation)
    return 1000 * float(np.linalg.norm(local[pair[0]] - local[pair[1]]))


NEUTRAL = drive({})
ACTING = drive(
    {"jawOpen": 0.6, "eyeBlinkRight": 1.0, "eyeBlinkLeft": 1.0, "browInnerUp": 0.8}, yaw=12, x=0.02
)


def steered(**options: object) -> Drive:
    return Steering(**options).steered(ACTING, NEUTRAL, NAMES, K)  # type: ignore[arg-type]


def test_everything_is_the_drive_itself() -> None:
    assert steered() is ACTING
    assert gap(ACTING, LIPS) > gap(NEUTRAL, LIPS) + 10


@pytest.mark.parametrize("part", PARTS)
def test_a_part_alone_moves_its_own_place_only(part: str) -> None:
    result = steered(parts=(part,))
    lips = (gap(result, LIPS) - gap(NEUTRAL, LIPS)) / (gap(ACTING, LIPS) - gap(NEUTRAL, LIPS))
    lids = (gap(result, LIDS) - gap(NEUTRAL, LIDS)) / (gap(ACTING, LIDS) - gap(NEUTRAL, LIDS))
    turn = np.degrees(Rotation.from_matrix(result.rotation @ FRONT).magnitude())
    assert lips == pytest.approx(float(part == "lips"), abs=0.12)
    assert lids == pytest.approx(float(part == "eyes"), abs=0.12)
    assert turn == pytest.approx(12.0 if part == "pose" else 0.0, abs=0.1)
    assert result.expression[NAMES.index("jawOpen")] == pytest.approx(0.6 if part == "lips" else 0)
    assert result.expression[NAMES.index("browInnerUp")] == pytest.approx(0.8 if part == "face" else 0)


def test_scales_are_factors() -> None:
    half = steered(expression_scale=0.5, pose_scale=0.5)
    assert gap(half, LIPS) - gap(NEUTRAL, LIPS) == pytest.approx(
        0.5 * (gap(ACTING, LIPS) - gap(NEUTRAL, LIPS)), rel=0.1
    )
    assert np.degrees(Rotation.from_matrix(half.rotation @ FRONT).magnitude()) == pytest.approx(6, abs=0.1)
    assert half.translation[0] == pytest.approx(0.01)


def test_held_coefficients_reach_landmarks_too() -> None:
    shut = steered(held={"jawOpen": 0.0})
    assert shut.expression[NAMES.index("jawOpen")] == 0
    assert gap(shut, LIPS) == pytest.approx(gap(NEUTRAL, LIPS), abs=0.5)
    assert gap(shut, LIDS) == pytest.approx(gap(ACTING, LIDS), abs=0.3)
    with pytest.raises(UsageError, match="noSuchShape"):
        steered(held={"noSuchShape": 1.0})


def test_imitating_an_avatars_rest_makes_motion_absolute() -> None:
    rest = replace(drive({"jawOpen": 0.6, "browInnerUp": 0.8}, yaw=12), landmarks=None)
    start = imitating(NEUTRAL, rest, NAMES, K)
    same = drive({"jawOpen": 0.6, "browInnerUp": 0.8}, yaw=12)
    assert start.landmarks is not None and same.landmarks is not None
    np.testing.assert_allclose(start.landmarks[:468, :2], same.landmarks[:468, :2], atol=0.6)


def test_parts_are_known() -> None:
    assert {part_of(name) for name in NAMES} == {"face", "lips", "eyes"}
    with pytest.raises(UsageError, match="nose"):
        Steering(parts=("nose",))
