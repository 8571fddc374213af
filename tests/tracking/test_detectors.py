"""The detectors on photos, and what they say when what they need is not there."""

from __future__ import annotations

import numpy as np
import pytest

from avatarkit.files.errors import AvatarkitError, UsageError
from avatarkit.files.images import read_image
from avatarkit.heads.landmarks import MESH
from avatarkit.tracking.alignment import MESH_OF_68, spread
from avatarkit.tracking.detectors import FaceCounter, FaceMesh, open_detector


def test_face_mesh_finds_a_person_and_not_a_dog(clip, capfd):
    detector = FaceMesh()
    found = detector.detect(read_image(clip("photo02")))
    assert len(found) == 1
    assert found[0].points.shape == (478, 3)
    eyes = found[0].points[[473, 468], 0]
    assert eyes[0] - eyes[1] > 60  # the person's left eye lies to the right in the image
    detector.reset()
    assert detector.detect(read_image(clip("notperson_dog"))) == []
    detector.close()
    assert capfd.readouterr().err == ""  # mediapipe's chatter stays inside


def test_a_small_distant_face_is_found(clip):
    photo = read_image(clip("photo02"))[::2, ::2]
    scene = np.full((1080, 1440, 3), 128, np.uint8)
    scene[500 : 500 + photo.shape[0], 900 : 900 + photo.shape[1]] = photo
    detector = FaceMesh()
    found = detector.detect(scene)
    detector.close()
    assert len(found) == 1
    x, y, size = found[0].box
    assert 950 < x < 1150
    assert 560 < y < 740
    assert 80 < size < 130


def test_people_are_counted(clip):
    one = read_image(clip("photo02"))
    with FaceCounter() as counter:
        assert counter.count(one) == 1
        assert counter.count(np.hstack([one, one])) == 2


def test_face_landmarker_agrees_with_the_mesh_and_scores_expressions(clip, model):
    photo = read_image(clip("photo02"))
    mesh, tasks = open_detector("mediapipe", None), open_detector("mediapipe", model("face_landmarker.task"))
    assert tasks.name == "landmarker"
    plain, scored = mesh.detect(photo)[0], tasks.detect(photo)[0]
    mesh.close()
    apart = np.linalg.norm((plain.points - scored.points)[:MESH, :2], axis=1)
    assert np.median(apart) < 0.02 * plain.box[2]
    from avatarkit.heads.arkit import INDEX

    assert scored.scores is not None
    assert scored.scores[INDEX["mouthSmileLeft"]] > 0.5  # he smiles
    tasks.reset()
    assert len(tasks.detect(photo)) == 1
    tasks.close()


def test_the_landmarker_is_declined_offline_with_what_to_do():
    with pytest.raises(AvatarkitError, match=r"face_landmarker\.task.*AVATARKIT_OFFLINE.*put it at"):
        open_detector("landmarker", None)


def test_files_that_are_no_task_are_declined(tmp_path):
    other = tmp_path / "x.task"
    other.write_bytes(b"not a task")
    with pytest.raises(AvatarkitError, match="not a Face Landmarker"):
        open_detector("landmarker", other)
    with pytest.raises(AvatarkitError, match="no such file"):
        open_detector("landmarker", tmp_path / "missing.task")


def test_names_that_do_not_fit():
    with pytest.raises(UsageError, match="unknown detector 'dlib'"):
        open_detector("dlib", None)


def test_face_alignment_says_how_to_get_it():
    try:
        import face_alignment  # noqa: F401
    except ImportError:
        with pytest.raises(AvatarkitError, match="pip install"):
            open_detector("face-alignment", None)
    else:
        pytest.skip("face-alignment is installed here")


def test_sixty_eight_points_go_to_their_mesh_landmarks():
    assert len(set(MESH_OF_68)) == 68
    points = np.arange(204, dtype=np.float32).reshape(68, 3)
    full = spread(points).points
    assert np.isfinite(full[:, 0]).sum() == 68
    np.testing.assert_array_equal(full[MESH_OF_68[30], :2], points[30, :2] + 0.5)


def test_the_nose_is_nearer_than_the_ears_whichever_way_depth_counts():
    points = np.zeros((68, 3), np.float32)
    points[30, 2] = 50.0
    assert spread(points).points[MESH_OF_68[30], 2] == -50.0
    points[30, 2] = -50.0
    assert spread(points).points[MESH_OF_68[30], 2] == -50.0
