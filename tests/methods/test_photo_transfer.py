"""Transfer rules of the method ``photo`` on a synthetic head, whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from avatarkit import heads
from avatarkit.heads import landmarks as marks
from avatarkit.methods.photo import rules
from avatarkit.methods.photo.transfer import LIMITS, MARGIN, Motion, Options, Rig

Array = NDArray[np.float64]
FLIP = np.array([1.0, -1.0, -1.0])


def face(scale: float = 2000.0, at: tuple[float, float] = (250, 250), **expression: float) -> Array:
    """[478, 3] landmarks in pixels of the built-in head with named expressions, seen from the front."""
    model = heads.load()
    points = model.posed(model.expression_vector(**expression))[model.landmarks].astype(np.float64)
    return np.asarray(points * FLIP * scale + (*at, 0.0))


def jaw() -> Array:
    model = heads.load()
    shape = model.shapes[model.expression_names.index("jawOpen")]
    return np.asarray(shape[model.landmarks[: marks.MESH]] * FLIP, np.float64)


@pytest.fixture(scope="module")
def rig() -> Rig:
    return Rig(face(), jaw())


def gap(points: Array) -> float:
    return float((points[14, 1] - points[13, 1]) / np.linalg.norm(points[10] - points[152]))


def aperture(points: Array) -> float:
    return float(points[145, 1] - points[159, 1])


def test_rest_is_the_photo(rig: Rig) -> None:
    driver = face(900, (700, 300))
    posed = rig.posed(driver, Motion.of(driver, Options()))
    assert np.abs(posed.landmarks - rig.landmarks).max() < 1e-6
    assert posed.turn < 1e-6


def test_rigid_motion_arrives_at_the_photos_size(rig: Rig) -> None:
    driver = face(1000, (700, 300))
    turn = Rotation.from_euler("yx", [12, -7], degrees=True).as_matrix()
    center = driver[list(marks.STABLE)].mean(0)
    moved = 1.1 * (driver - center) @ turn.T + center + (20, -8, 0)
    posed = rig.posed(moved, Motion.of(driver, Options()))
    assert np.abs(posed.head.rotation - turn).max() < 1e-6
    assert posed.head.scale == pytest.approx(1.1)
    shift = posed.head.applied(rig.center) - rig.center
    assert shift[:2] == pytest.approx([40, -16], abs=1e-6)
    # No expression leaks out of the turn.
    still = posed.head.undone(posed.landmarks)
    assert np.abs(still - rig.landmarks).max() < 0.05


def test_a_blink_closes_any_eye(rig: Rig) -> None:
    driver = face(1000)
    now = driver.copy()
    for upper, lower, _, _ in rules.LIDS:
        up, low = np.array(upper[1:-1]), np.array(lower[1:-1])
        now[up, 1] = now[low, 1] - rules.CLOSED * (now[low, 1] - now[up, 1])
    posed = rig.posed(now, Motion.of(driver, Options()))
    assert abs(aperture(posed.landmarks)) < 0.02 * aperture(rig.landmarks)
    half = rig.posed((now + driver) / 2, Motion.of(driver, Options()))
    assert 0.35 < aperture(half.landmarks) / aperture(rig.landmarks) < 0.65


def test_lips_follow_and_never_cross(rig: Rig) -> None:
    motion = Motion.of(face(1000), Options())
    for amount in (0.2, 0.5, 0.9):
        now = face(1000, jawOpen=amount)
        assert gap(rig.posed(now, motion).landmarks) == pytest.approx(gap(now), abs=0.006)
    crossed = face(1000)
    crossed[rules.UPPER, 1] += 8
    crossed[rules.LOWER, 1] -= 8
    posed = rig.posed(crossed, motion).landmarks
    assert (posed[rules.LOWER, 1] - posed[rules.UPPER, 1]).min() > -0.05


def test_an_open_mouthed_photo_closes() -> None:
    photo = face(jawOpen=0.5)
    shouting = Rig(photo, jaw())
    driver = face(1000)
    posed = shouting.posed(driver, Motion.of(driver, Options()))
    assert gap(photo) > 0.05
    assert gap(posed.landmarks) < 0.01
    chin = posed.landmarks[152, 1] - photo[152, 1]
    assert chin < -0.3 * (photo[152, 1] - face()[152, 1])  # the jaw takes part
    talking = shouting.posed(face(1000, jawOpen=0.5), Motion.of(driver, Options()))
    assert gap(talking.landmarks) == pytest.approx(gap(photo), abs=0.012)


def test_gaze_moves_relative_to_the_corners(rig: Rig) -> None:
    driver = face(1000)
    now = driver.copy()
    for eye, start in ((0, 468), (1, 473)):
        _, along, _ = rules.eye_axes(now, eye)
        now[start : start + 5, :2] += 0.1 * along
    posed = rig.posed(now, Motion.of(driver, Options()))
    for eye, center in ((0, 468), (1, 473)):
        _, along, _ = rules.eye_axes(rig.landmarks, eye)
        shift = posed.landmarks[center, :2] - rig.landmarks[center, :2]
        assert shift @ along / (along @ along) == pytest.approx(0.1, abs=0.01)


def test_turns_beyond_what_looks_right_saturate(rig: Rig) -> None:
    driver = face(1000)
    angles = []
    for degrees in (20, 40, 60):
        turn = Rotation.from_euler("y", degrees, degrees=True).as_matrix()
        posed = rig.posed(driver @ turn.T, Motion.of(driver, Options()))
        angles.append(posed.turn)
    assert angles[0] == pytest.approx(np.radians(20), abs=1e-6)
    assert angles[0] < angles[1] < angles[2] < LIMITS[1, 1] + MARGIN


def test_scales_and_parts(rig: Rig) -> None:
    driver, now = face(1000), face(1000, (420, 260), jawOpen=0.6)
    whole = rig.posed(now, Motion.of(driver, Options())).landmarks
    still = rig.posed(now, Motion.of(driver, Options(pose_scale=0.0)))
    assert np.abs(still.head.applied(rig.center) - rig.center).max() < 1e-9
    silent = rig.posed(now, Motion.of(driver, Options(parts=("face", "eyes", "pose")))).landmarks
    assert gap(whole) > 0.05
    assert gap(silent) < 0.02
    half = rig.posed(now, Motion.of(driver, Options(expression_scale=0.5))).landmarks
    assert gap(half) == pytest.approx(gap(whole) / 2, abs=0.01)
