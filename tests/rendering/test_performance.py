"""Built-in performances: their length, ranges, timing, loops and consistency of pose and gaze."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from avatarkit.files.errors import UsageError
from avatarkit.heads import arkit
from avatarkit.rendering.performance import GAZE_RANGE, HIPS, NAMES, NECK_PIVOT, Score, performance


@pytest.mark.parametrize("name", NAMES)
def test_every_performance_is_well_formed(name):
    p = performance(name)
    assert p.expression.shape == (len(p), 52)
    assert p.expression.min() >= 0
    assert p.expression.max() <= 1
    unit = p.rotation @ p.rotation.transpose(0, 2, 1)
    np.testing.assert_allclose(unit, np.broadcast_to(np.eye(3), unit.shape), atol=1e-5)
    assert np.abs(p.translation).max() < 0.08
    # nothing jumps: less than 9 degrees of head turn and 0.75 of a coefficient between frames
    turns = Rotation.from_matrix(p.rotation[1:] @ p.rotation[:-1].transpose(0, 2, 1)).magnitude()
    assert np.degrees(turns).max() < 9
    assert np.abs(np.diff(p.expression, axis=0)).max() < 0.75


def test_length_and_rate():
    assert len(performance("demo")) == 400
    assert len(performance("talk", fps=30, seconds=2.0)) == 60


def test_idle_loops_without_a_seam():
    p = performance("idle", fps=25)
    steps = np.abs(np.diff(np.concatenate([p.expression, p.expression[:1]]), axis=0)).max(1)
    quiet = p.expression[:, arkit.INDEX["eyeBlinkLeft"]] < 1e-6
    assert quiet[0] and quiet[-1]
    assert steps[-1] <= np.percentile(steps[:-1], 60) + 1e-3
    seam = np.abs(p.rotation[0] - p.rotation[-1]).max()
    assert seam <= np.abs(np.diff(p.rotation, axis=0)).max() + 1e-6


def test_demo_covers_what_a_tracker_must_see():
    p = performance("demo")
    yaw = np.degrees(np.arctan2(p.rotation[:, 0, 2], p.rotation[:, 2, 2]))
    assert 13 < yaw.max() < 19
    assert -19 < yaw.min() < -13
    value = {name: p.expression[:, arkit.INDEX[name]] for name in arkit.NAMES}
    assert value["jawOpen"].max() > 0.45
    assert value["eyeBlinkLeft"].max() == 1
    for name in ("mouthSmileLeft", "browInnerUp", "browOuterUpRight", "mouthPucker", "mouthFunnel"):
        assert value[name].max() > 0.35, name
    rising = np.flatnonzero((value["eyeBlinkLeft"][1:] > 0.5) & (value["eyeBlinkLeft"][:-1] <= 0.5))
    assert len(rising) == 10
    jaw = value["jawOpen"]
    peaks = np.flatnonzero((jaw[1:-1] > jaw[:-2]) & (jaw[1:-1] >= jaw[2:]) & (jaw[1:-1] > 0.2))
    assert 12 <= len(peaks) <= 60  # syllables


def test_eyelook_follows_the_eyeballs():
    p = performance("turn")
    yaw = np.degrees(Rotation.from_rotvec(p.eyes[:, 0]).as_euler("YXZ")[:, 0])
    expected = np.clip(yaw / GAZE_RANGE[0], 0, 1)
    np.testing.assert_allclose(p.expression[:, arkit.INDEX["eyeLookOutLeft"]], expected, atol=1e-4)
    np.testing.assert_allclose(p.expression[:, arkit.INDEX["eyeLookInRight"]], expected, atol=1e-4)


def test_lips_meet_on_m():
    score = Score(100, 1.0)
    score.say(0.1, "aa:.2 mm:.12 aa:.2")
    p = score.performance("test")
    jaw = p.expression[:, arkit.INDEX["jawOpen"]]
    assert jaw[18] > 0.45
    assert jaw[36] < 0.12
    assert p.expression[36, arkit.INDEX["mouthPressLeft"]] > 0.25


def test_neck_leaves_the_torso_where_it_sways():
    """The torso's transform (head pose times inverse neck about its joint) is a turn about the hips alone."""
    p = performance("demo")
    joint, hips = np.array(NECK_PIVOT), np.array(HIPS)
    torso = p.rotation @ Rotation.from_rotvec(-p.neck).as_matrix()
    moved = np.einsum("tij,tj->ti", torso, np.broadcast_to(hips - joint, (len(p), 3)))
    moved += np.einsum("tij,j->ti", p.rotation, joint) + p.translation
    np.testing.assert_allclose(moved, np.broadcast_to(hips, moved.shape), atol=1e-5)


def test_to_camera_faces_the_camera():
    p = performance("blink")
    rotation, translation = p.to_camera(0.8, offset=(0.01, 0.02))
    nose = rotation[0] @ np.array([0, -0.04, 0.06]) + translation[0]
    back = rotation[0] @ np.array([0, 0, -0.1]) + translation[0]
    assert nose[2] < back[2]
    assert 0.6 < nose[2] < 0.8
    assert np.linalg.det(rotation[0]) == pytest.approx(1, abs=1e-5)


def test_wrong_arguments_are_refused():
    with pytest.raises(UsageError, match="unknown performance 'dance'"):
        performance("dance")
    with pytest.raises(UsageError, match="positive"):
        performance("talk", fps=0)
