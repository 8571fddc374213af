"""Tracks to face capture and back as performances."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from avatarkit.files.facecap import COLUMNS, FaceCapture, save_capture
from avatarkit.files.track import Track
from avatarkit.heads import arkit
from avatarkit.rendering.captured import acted, capture_of, captured
from avatarkit.rendering.performance import performance


@pytest.fixture
def track(make_track: Callable[..., Track], moving_clip: Path) -> Track:
    track = make_track(moving_clip)
    rng = np.random.default_rng(3)
    turns = Rotation.from_rotvec(rng.normal(0, 0.2, (len(track), 3))).as_matrix()
    track.rotation[:] = np.diag([1.0, -1.0, -1.0]) @ turns
    track.eyes[:] = rng.normal(0, 0.1, track.eyes.shape)
    track.expression[:] = rng.random(track.expression.shape)
    track.valid[:] = True
    return track


def test_a_track_comes_back_from_its_file(track: Track, tmp_path: Path) -> None:
    path = tmp_path / "face.csv"
    with open(path, "wb") as file:
        save_capture(capture_of(track), ".csv", 12.0, file)
    made, lost = acted(str(path))
    assert not lost.any() and made.fps == pytest.approx(12.0) and len(made) == len(track)
    np.testing.assert_allclose(made.expression, track.expression, atol=1e-5)
    np.testing.assert_allclose(made.to_camera(0.7)[0], track.rotation, atol=1e-5)
    np.testing.assert_allclose(made.eyes, track.eyes, atol=1e-5)


def test_lost_frames_hold_the_last_good_one_and_are_counted(track: Track) -> None:
    track.valid[[0, 5, 6]] = False
    made, lost = captured(capture_of(track), "x")
    assert np.flatnonzero(lost).tolist() == [0, 5, 6]
    np.testing.assert_allclose(made.expression[[5, 6]], track.expression[[4, 4]], atol=1e-6)
    np.testing.assert_allclose(made.expression[0], track.expression[1], atol=1e-6)


def test_gaze_follows_from_coefficients_where_angles_are_missing() -> None:
    talk = performance("talk", 25.0)
    columns = np.zeros((len(talk), len(COLUMNS)))
    for i, name in enumerate(arkit.NAMES):
        columns[:, COLUMNS.index(name)] = talk.expression[:, i]
    whole = FaceCapture(np.arange(len(talk)) / 25.0, np.ones(len(talk), bool), columns, present=arkit.NAMES)
    made, _ = captured(whole, "talk")
    small = (
        np.abs(talk.expression[:, [i for i, n in enumerate(arkit.NAMES) if n.startswith("eyeLook")]]).max(1)
        < 1
    )
    np.testing.assert_allclose(made.eyes[small], talk.eyes[small], atol=2e-3)


def test_another_rate_keeps_the_duration(track: Track) -> None:
    made, _ = captured(capture_of(track), "x", fps=30.0)
    assert len(made) / made.fps == pytest.approx(len(track) / 12.0, abs=0.1)
    np.testing.assert_allclose(made.expression[0], track.expression[0], atol=1e-6)
