"""The demo subject: what is where in its pictures, that it moves as told, and the parts it is made of."""

import numpy as np
import pytest
import torch

from avatarkit import heads
from avatarkit.heads import arkit
from avatarkit.rendering import lighting, strands
from avatarkit.rendering.demo_clip import Clip, tracking_error
from avatarkit.rendering.noise import bake, bleed, noise
from avatarkit.rendering.performance import performance
from avatarkit.rendering.subject import DemoSubject, Pose, studio_background


@pytest.fixture(scope="module")
def head():
    return heads.load("builtin")


@pytest.fixture(scope="module")
def subject(head):
    return DemoSubject(head)


@pytest.fixture(scope="module")
def clip(head):
    return Clip.of(performance("demo", 25, 16, pivot=[float(c) for c in head.joints[0]]), 256)


def posed(clip, t, **expression):
    p = clip.performance
    coefficients = p.expression[t].copy()
    for name, value in expression.items():
        coefficients[arkit.INDEX[name]] = value
    return Pose(coefficients, p.neck[t], p.eyes[t], clip.rotation[t], clip.translation[t])


def test_picture_holds_a_person(subject, clip, head):
    image = subject.render(posed(clip, 0), clip.camera, studio_background(clip.camera)).astype(int)
    marks = clip.truth(head, {"name": "x"}).landmarks[0]
    at = {
        name: image[int(marks[i, 1]), int(marks[i, 0])]
        for name, i in (("cheek", 50), ("lip", 17), ("forehead", 151))
    }
    for name in ("cheek", "forehead"):  # warm skin
        assert at[name][0] > at[name][1] > at[name][2], name
        assert at[name][0] > 140
    redness = {name: color[0] - color[1] for name, color in at.items()}
    assert redness["lip"] > redness["forehead"] + 15
    hair = image[int(marks[127, 1]) + 30, int(marks[127, 0]) - 10]
    assert hair.mean() < 110
    corner = image[4, 4]
    assert np.ptp(corner) < 25  # the backdrop is near gray
    shirt = image[250, 128]
    assert shirt[2] > shirt[0] + 10  # blue wool


def test_same_bits_again_and_in_threads(subject, clip):
    part = Clip(clip.performance, clip.camera, clip.rotation, clip.translation)
    frames = part.frames(subject, threads=2)
    first = [next(frames) for _ in range(2)]
    frames.close()
    background = studio_background(clip.camera)
    for t, frame in enumerate(first):
        np.testing.assert_array_equal(frame, subject.render(posed(clip, t), clip.camera, background))


def test_it_moves_where_it_should(subject, clip, head):
    background = studio_background(clip.camera)
    rest = subject.render(posed(clip, 0), clip.camera, background).astype(int)
    marks = clip.truth(head, {"name": "x"}).landmarks[0]
    for change, inside, outside in (
        ({"jawOpen": 0.6}, 14, 151),
        ({"eyeBlinkLeft": 1.0}, 386, 159),
        ({"browInnerUp": 1.0}, 107, 17),
    ):
        other = subject.render(posed(clip, 0, **change), clip.camera, background).astype(int)
        moved = np.abs(other - rest).max(2)

        def around(i, moved=moved):
            x, y = marks[i, :2].astype(int)
            return moved[y - 4 : y + 5, x - 4 : x + 5].max()

        assert around(inside) > 30, change
        assert around(outside) < 12, change


def test_truth_projects_into_the_picture(clip, head):
    truth = clip.truth(head, {"name": "x"})
    assert len(truth) == 400
    assert truth.landmarks.shape == (400, 478, 3)
    assert truth.landmarks[..., :2].min() > 40
    assert truth.landmarks[..., :2].max() < 216
    nose, ear = truth.landmarks[:, 4, 2], truth.landmarks[:, 234, 2]
    assert (nose < ear).all()
    x, y, side, _ = truth.crop
    assert x <= truth.landmarks[..., 0].min() and truth.landmarks[..., 0].max() <= x + side
    assert y <= truth.landmarks[..., 1].min() and truth.landmarks[..., 1].max() <= y + side


def test_tracking_error_of_the_truth_is_zero_and_offsets_do_not_count(clip, head):
    from dataclasses import replace

    truth = clip.truth(head, {"name": "x"})
    error = tracking_error(truth, truth)
    assert error.rotation_degrees < 0.05
    assert error.coefficient_r == pytest.approx(1)
    assert error.landmark_pixels == 0
    assert {"jawOpen", "eyeBlinkLeft", "mouthSmileRight"} <= set(error.correlations)
    from scipy.spatial.transform import Rotation

    tilt = Rotation.from_euler("x", 6, degrees=True).as_matrix().astype(np.float32)
    tilted = replace(
        truth, rotation=truth.rotation @ tilt, landmarks=truth.landmarks + np.array([3, 0, 0], np.float32)
    )
    error = tracking_error(tilted, truth)
    assert error.rotation_degrees < 0.05
    assert error.landmark_pixels == pytest.approx(3, abs=1e-3)
    noisy = Rotation.from_rotvec(np.random.default_rng(0).normal(0, 0.02, (len(truth), 3))).as_matrix()
    error = tracking_error(replace(truth, rotation=(noisy @ truth.rotation).astype(np.float32)), truth)
    assert error.rotation_degrees == pytest.approx(
        np.degrees(0.02 * 1.538), rel=0.1
    )  # median of a chi with 3 d.o.f.


def test_hair_is_rooted_on_the_scalp_and_stays_off_the_face(subject, head):
    points = subject.hair.posed(head.vertices)
    assert 1500 < len(points) < 7000
    assert points[:, 0, 1].min() > -0.11
    x, y, z = np.moveaxis(points, -1, 0)
    over_face = (np.abs(x) < 0.045) & (y > -0.10) & (y < 0.045) & (z > 0.0)
    assert not over_face.any()
    length = np.linalg.norm(np.diff(points, axis=1), axis=2).sum(1)
    assert 0.10 < np.median(length) < 0.30


def test_strands_ride_their_triangles():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    points = np.array([[[0.2, 0.2, 0], [0.2, 0.2, 0.5], [0.3, 0.2, 1.0]]], np.float32)
    weight = np.array([[0.6, 0.2, 0.2]], np.float32)
    one = np.ones((1, 3), np.float32)
    hair = strands.Strands.rooted(
        vertices, np.array([[0, 1, 2]]), weight, points, one, np.ones((1, 3, 3), np.float32)
    )
    np.testing.assert_allclose(hair.posed(vertices), points, atol=1e-6)
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float32)
    np.testing.assert_allclose(hair.posed(vertices @ turn.T + 2), points @ turn.T + 2, atol=1e-6)
    assert hair.ribbons().shape == (4, 3)
    assert hair.ribbons().max() == 5


def test_ribbons_have_their_width_and_face_the_camera():
    points = np.array([[[0.0, 0, 2], [0, 0.1, 2], [0, 0.2, 2.1]]], np.float32)
    ribbon = strands.widened(points, strands.tangents(points), np.full((1, 3), 0.02, np.float32)).reshape(
        3, 2, 3
    )
    np.testing.assert_allclose(np.linalg.norm(ribbon[:, 0] - ribbon[:, 1], axis=1), 0.02, rtol=1e-4)
    np.testing.assert_allclose(np.abs(ribbon[:, 0, 0] - ribbon[:, 1, 0]), 0.02, rtol=1e-3)


def test_visibility_of_a_table_under_a_plate():
    """A plate 10 cm above a table hides the middle of the table from above and nothing from below."""
    plate = np.array([[-1, 0.1, -1], [1, 0.1, -1], [1, 0.1, 1], [-1, 0.1, 1]], np.float32) * [0.2, 1, 0.2]
    table = np.array([[-1, 0, -1], [1, 0, -1], [1, 0, 1], [-1, 0, 1]], np.float32) * [0.6, 1, 0.6]
    casters = torch.tensor(np.concatenate([plate, table]), dtype=torch.float32)
    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]], dtype=torch.int32)
    asked = torch.tensor([[0.0, 0, 0], [0.5, 0, 0.5], [0, 0.1, 0]])
    up = torch.tensor([[0.0, 1, 0]]).expand(3, 3)
    down = np.array([[0, 1, 0], [0, -1, 0]], np.float32)
    seen = lighting.visibility(asked, up, casters, faces, down, 128)
    np.testing.assert_allclose(seen[0].numpy(), [0, 1, 1], atol=1e-3)
    assert float(seen[1, 2]) == 0  # the table is under the plate


def test_noise_is_band_limited_and_repeats():
    rng = np.random.default_rng(0)
    points = rng.random((4000, 3)).astype(np.float32)
    values = noise(points, 5.0, 3, seed=1)
    np.testing.assert_array_equal(values, noise(points, 5.0, 3, seed=1))
    assert abs(values.mean()) < 0.2
    assert 0.3 < values.std() < 1.2
    near = noise(points + np.float32(0.001), 5.0, 3, seed=1)
    far = noise(points + np.float32(0.3), 5.0, 3, seed=1)
    assert np.abs(near - values).mean() < 0.1 * np.abs(far - values).mean()


def test_bake_lays_values_out_by_uv():
    uv = np.array([[0.1, 0.1], [0.9, 0.1], [0.1, 0.9]], np.float32)
    face = np.array([[0, 1, 2]], np.int32)
    values, covered = bake(uv, face, face, np.array([[0.0], [1], [2]], np.float32), 64)
    assert 0.28 < covered.mean() < 0.36
    assert not covered[0, 0]
    assert values[57, 6, 0] == pytest.approx(0, abs=0.05)  # uv (0.1, 0.1): the lower left
    assert values[7, 6, 0] == pytest.approx(2, abs=0.1)
    filled = bleed(values, covered)
    assert filled[63, 63, 0] > 0.4
    np.testing.assert_array_equal(filled[covered], values[covered])
