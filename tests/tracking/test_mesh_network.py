"""Our own run of mediapipe's face mesh against mediapipe's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avatarkit.files import tflite
from avatarkit.files.images import read_image
from avatarkit.files.mediapipe import silenced, solution
from avatarkit.tracking import detectors
from avatarkit.tracking.detectors import FaceMesh
from avatarkit.tracking.mesh_network import MODEL, Region, load


@pytest.fixture
def wheel() -> Path:
    return Path(str(solution("face_mesh").__file__)).parents[2]


def test_landmarks_are_mediapipes_own(clip, wheel):
    photo = read_image(clip("photo02"))
    frames = [np.ascontiguousarray(np.roll(photo, (2 * i, 3 * i), (0, 1))) for i in range(4)]
    with silenced():
        graph = solution("face_mesh").FaceMesh(max_num_faces=1, refine_landmarks=True)
        theirs = [detectors._face(graph.process(f).multi_face_landmarks[0], *f.shape[1::-1]) for f in frames]
        graph.close()
    network = load(wheel)
    for before, now, frame in zip(theirs, theirs[1:], frames[1:], strict=False):
        region = Region.around(before.points)
        points, likely = network(region.cut(frame))
        apart = np.abs(region.placed(points) - now.points)
        assert likely > 0.99 and apart[:, :2].max() < 0.06 and apart[:, 2].max() < 0.1
    assert network(Region(40, 40, 60, 0.3).cut(photo))[1] < 0.5  # nobody there


def test_landmarks_of_several_windows_lean_less_on_where_one_looked(clip, wheel):
    photo = read_image(clip("photo02"))
    network = load(wheel)
    around = Region.around(FaceMesh(windows=9).detect(photo)[0].points)
    places = [
        around.window(x, y, 1, turn) for x in (-0.03, 0.03) for y in (-0.03, 0.03) for turn in (0, 0.05)
    ]
    spread = {}
    for windows in (1, 9):
        found = np.stack([network.look(photo, place, windows)[0] for place in places])
        spread[windows] = float(np.linalg.norm((found - found.mean(0))[..., :2], axis=-1).mean())
    assert spread[9] < 0.6 * spread[1]
    one = network(places[0].cut(photo))[0]
    np.testing.assert_allclose(network.look(photo, places[0])[0], places[0].placed(one), atol=1e-3)


def test_a_face_is_followed_lost_and_found_again(clip):
    photo = read_image(clip("photo02"))
    detector = FaceMesh()
    assert detector._network is not None
    first = detector.detect(photo)[0].points
    again = detector.detect(photo)[0].points
    assert np.linalg.norm((again - first)[:, :2], axis=1).mean() < 2
    assert detector.detect(np.zeros_like(photo)) == []
    moved = np.ascontiguousarray(np.roll(photo, 120, 1))
    assert np.linalg.norm((detector.detect(moved)[0].points - first - (120, 0, 0))[:, :2], axis=1).mean() < 2
    detector.close()


def test_other_files_are_declined(tmp_path, wheel):
    other = tmp_path / "x.tflite"
    other.write_bytes(b"not a network at all")
    with pytest.raises(ValueError, match="not a TensorFlow Lite file"):
        tflite.read(other)
    folder = tmp_path / MODEL.parent
    folder.mkdir(parents=True)
    plain = wheel / MODEL.parent / "face_landmark.tflite"
    (tmp_path / MODEL).write_bytes(plain.read_bytes())
    with pytest.raises((ValueError, KeyError)):
        load(tmp_path)
