"""Gaze from irises placed by a known gaze."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from avatarkit.heads.arkit import NAMES
from avatarkit.tracking import gaze

CENTERS = np.array([[0.0315, 0, 0], [-0.0315, 0, 0]])
RADIUS = 0.0125
FRONT = np.diag([1.0, -1.0, -1.0])


def seen(angles: np.ndarray, rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """Irises [N, 2, 2] on the plane z = 1 of eyes that look along ``angles`` [N, 2, 2]."""
    axis = (
        Rotation.from_euler("YX", angles.reshape(-1, 2), degrees=True).as_matrix()[:, :, 2].reshape(-1, 2, 3)
    )
    camera = (CENTERS + RADIUS * axis) @ np.swapaxes(rotation, 1, 2) + translation[:, None]
    return (camera[..., :2] / camera[..., 2:]).astype(np.float32)


def test_angles_are_recovered_under_head_motion():
    random = np.random.default_rng(0)
    wanted = random.uniform(-25, 25, (30, 2, 2))
    turn = Rotation.from_euler("YXZ", random.uniform(-15, 15, (30, 3)), degrees=True).as_matrix()
    rotation, translation = FRONT @ turn, random.normal([0.02, 0, 0.6], 0.02, (30, 3))
    found = gaze.angles(seen(wanted, rotation, translation), CENTERS, RADIUS, rotation, translation)
    np.testing.assert_allclose(found, wanted, atol=0.05)


def test_an_iris_beside_the_eyeball_gives_its_edge_and_none_gives_rest():
    rotation, translation = FRONT[None], np.array([[0, 0, 0.6]])
    beside = np.array([[[0.2, 0.0], [np.nan, np.nan]]], np.float32)
    found = gaze.angles(beside, CENTERS, RADIUS, rotation, translation)
    assert found[0, 0, 0] == gaze.LIMIT[0]  # image right is the person's left
    assert (found[0, 1] == 0).all()


def test_look_shapes_agree_with_the_angles():
    angles = np.array([[[15.0, 12.5], [15.0, 12.5]], [[-30.0, -50.0], [-30.0, -50.0]]], np.float32)
    w = gaze.coefficients(angles, NAMES, np.full((2, 52), 0.3, np.float32))
    at = NAMES.index
    # looking to the person's left: the left eye looks out, the right one in; down is positive pitch
    assert w[0, at("eyeLookOutLeft")] == w[0, at("eyeLookInRight")] == 0.5
    assert w[0, at("eyeLookInLeft")] == w[0, at("eyeLookOutRight")] == 0
    assert w[0, at("eyeLookDownLeft")] == 0.5
    assert w[1, at("eyeLookUpRight")] == w[1, at("eyeLookInLeft")] == w[1, at("eyeLookOutRight")] == 1
    assert w[0, at("jawOpen")] == np.float32(0.3)


def test_rotations_turn_the_optical_axis():
    vector = gaze.rotations(np.array([[[20.0, 0.0], [0.0, 10.0]]], np.float32))
    axes = Rotation.from_rotvec(vector.reshape(-1, 3)).as_matrix()[:, :, 2]
    np.testing.assert_allclose(axes[0], [np.sin(np.radians(20)), 0, np.cos(np.radians(20))], atol=1e-6)
    np.testing.assert_allclose(axes[1], [0, -np.sin(np.radians(10)), np.cos(np.radians(10))], atol=1e-6)


def test_eyeballs_are_shifted_until_the_eyes_look_in_parallel():
    rotation, translation = np.repeat(FRONT[None], 9, 0), np.tile([0, 0, 0.6], (9, 1))
    wanted = np.repeat(np.linspace(-8, 8, 9)[:, None, None], 2, 1) * np.array([1.0, 0.5])
    iris = seen(wanted, rotation, translation)
    wrong = CENTERS + np.array([[0.001, 0.0005, 0], [-0.001, -0.0005, 0]])
    squint = gaze.angles(iris, wrong, RADIUS, rotation, translation)
    right = wrong + gaze.parallel(squint, RADIUS)
    mended = gaze.angles(iris, right, RADIUS, rotation, translation)
    assert np.abs(np.median(squint[:, 0] - squint[:, 1], 0)).min() > 3
    assert np.abs(np.median(mended[:, 0] - mended[:, 1], 0)).max() < 0.3


def test_openness_falls_as_lids_meet():
    from tests.tracking.synthetic import make

    truth = make(frames=60, noise=0.0)
    openness = gaze.openness(gaze.apertures(truth.points))
    blink = truth.expression[:, truth.template.names.index("eyeBlinkLeft")]
    assert openness[blink > 0.8].max(initial=0) < 0.3
    assert openness[blink < 0.05].min() > 0.7
