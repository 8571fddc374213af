"""The demo's film: a real video in which the real detector finds the face and follows it in every frame."""

import os

import numpy as np
import pytest

from avatarkit.commands import demonstration
from avatarkit.files.probe import probe
from avatarkit.files.track import load_track
from avatarkit.files.video import read_frames
from avatarkit.rendering import performance


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo with spaces") / "new"
    # 2.6 seconds hold a blink, the first sentence and a nod
    demonstration.run(
        demonstration.Job(folder, only_video=True, seconds=2.6, size=384), json=False, quiet=True
    )
    return demonstration.Paths(folder)


def test_film_and_truth_belong_together(film):
    info, truth = probe(film.video), load_track(film.truth)
    assert (info.width, info.height, info.frames) == (384, 384, 65)
    assert info.fps == pytest.approx(25)
    assert "ynthetic" in info.comment
    assert len(truth) == 65
    assert truth.meta["video"]["sha256"] == info.sha256
    assert truth.intrinsics[0, 0] == pytest.approx(1.6 * 384)
    acted = performance.performance("demo", 25, 2.6).expression
    np.testing.assert_allclose(truth.expression, acted, atol=1e-6)


def test_detector_finds_and_follows_the_face_in_every_frame(film):
    os.environ.setdefault("GLOG_minloglevel", "3")
    mediapipe = pytest.importorskip("mediapipe")
    truth = load_track(film.truth).landmarks
    found = []
    with mediapipe.solutions.face_mesh.FaceMesh(refine_landmarks=True, max_num_faces=1) as mesh:
        for _, frame in read_frames(film.video):
            faces = mesh.process(frame).multi_face_landmarks
            assert faces, len(found)
            found.append([[p.x * 384, p.y * 384] for p in faces[0].landmark])
    places = np.array(found)

    def span(points, a, b):
        return np.linalg.norm(points[:, a, :2] - points[:, b, :2], axis=1)

    for name, a, b in (("lips", 13, 14), ("right eye", 159, 145), ("left eye", 386, 374)):
        r = np.corrcoef(span(places, a, b), span(truth, a, b))[0, 1]
        assert r > 0.9, (name, r)
    assert np.median(np.linalg.norm(places - truth[..., :2], axis=2)) < 3.0


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    from avatarkit.files.errors import AvatarkitError

    (tmp_path / "file").write_text("x")
    with pytest.raises(AvatarkitError, match="cannot be made"):
        demonstration.run(
            demonstration.Job(tmp_path / "file" / "demo", only_video=True), json=False, quiet=True
        )


def test_the_demo_begins_with_a_photo_that_talks(tmp_path):
    from avatarkit.files.images import read_image

    paths = demonstration.Paths(tmp_path)
    told = demonstration._move(demonstration.Job(tmp_path, threads=1), paths, True)["reenact"]
    info = probe(paths.moved)
    assert (info.width, info.height, info.frames) == (1024, 512, 180) and "ynthetic" in info.comment
    assert told["frames"] == 180 and told["held"] == 0
    photo = read_image(paths.photo).astype(float)
    mouth = np.s_[150:185, 205:245]
    moved = []
    for index, frame in read_frames(paths.moved):
        if index % 6 == 0:
            assert np.abs(frame[:, :512] - photo).mean() < 6  # the photo stands to the left
            moved.append(np.abs(frame[:, 512:][mouth] - photo[mouth]).mean())
    assert min(moved) < 8 and max(moved) > 20
