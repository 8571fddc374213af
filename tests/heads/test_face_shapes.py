from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from avatarkit.heads import landmarks
from avatarkit.heads.arkit import INDEX, NAMES, mirrored
from avatarkit.heads.face_shapes import face_shapes
from avatarkit.heads.ict import registered
from avatarkit.heads.ict_files import PARTS, read_ict
from avatarkit.heads.template import face_mirror, face_template, face_topology

SIDED = [name for name in NAMES if mirrored(name) != name]


@pytest.fixture(scope="module")
def shapes() -> np.ndarray:
    return face_shapes(face_template(), face_topology())


def moved(shapes: np.ndarray, *names: str) -> np.ndarray:
    """Template in millimeters with the named expressions at 1."""
    return (face_template() + sum(shapes[INDEX[name]] for name in names)) * 1000


def test_all_shapes_are_there_and_move(shapes: np.ndarray) -> None:
    assert shapes.shape == (52, 468, 3)
    assert np.isfinite(shapes).all()
    largest = np.linalg.norm(shapes, axis=-1).max(-1) * 1000
    assert (largest > 1.5).all() and (largest < 50).all()


@pytest.mark.parametrize("name", NAMES)
def test_sides_mirror_each_other(shapes: np.ndarray, name: str) -> None:
    other = shapes[INDEX[mirrored(name)]][face_mirror()] * (-1, 1, 1)
    np.testing.assert_allclose(shapes[INDEX[name]], other, rtol=0, atol=1e-9)


def test_left_shapes_act_on_the_left(shapes: np.ndarray) -> None:
    left = face_template()[:, 0] > 0.001
    for name in SIDED:
        if name.endswith("Left") and name not in ("jawLeft", "mouthLeft"):
            motion = np.square(shapes[INDEX[name]]).sum(-1)
            assert motion[left].sum() > 0.7 * motion.sum(), name  # the midline counts as right


def test_blink_closes_the_eye_exactly(shapes: np.ndarray) -> None:
    face = moved(shapes, "eyeBlinkLeft", "eyeBlinkRight")
    for upper, lower in (
        (landmarks.LID_UPPER_LEFT, landmarks.LID_LOWER_LEFT),
        (landmarks.LID_UPPER_RIGHT, landmarks.LID_LOWER_RIGHT),
    ):
        assert np.abs(face[list(upper)] - face[list(lower)]).max() < 1e-6


def test_half_a_blink_halves_the_opening(shapes: np.ndarray) -> None:
    face = face_template() + 0.5 * shapes[INDEX["eyeBlinkLeft"]]
    before = face_template()[386, 1] - face_template()[374, 1]
    assert face[386, 1] - face[374, 1] == pytest.approx(before / 2, rel=1e-6)


def test_jaw_opens_as_wide_as_a_jaw(shapes: np.ndarray) -> None:
    face = moved(shapes, "jawOpen")
    assert 30 < np.linalg.norm(face[13] - face[14]) < 45
    still = [10, 168, 33, 263, 4, 234, 454]
    assert np.abs(face[still] - face_template()[still] * 1000).max() < 0.5


def test_mouth_close_closes_the_open_jaw(shapes: np.ndarray) -> None:
    face = moved(shapes, "jawOpen", "mouthClose")
    gap = face[list(landmarks.LIPS_UPPER_INNER)] - face[list(landmarks.LIPS_LOWER_INNER)]
    assert np.linalg.norm(gap, axis=1).max() < 3.0
    assert face[152, 1] < face_template()[152, 1] * 1000 - 15, "the jaw itself stays open"


@pytest.mark.parametrize(
    ("name", "landmark", "direction", "least"),
    [
        ("browDownLeft", 334, (0, -1, 0), 2),
        ("browInnerUp", 285, (0, 1, 0), 4),
        ("browOuterUpRight", 105, (0, 1, 0), 5),
        ("cheekPuff", 427, (0, 0, 1), 6),
        ("cheekSquintLeft", 450, (0, 1, 0), 2),
        ("eyeLookDownLeft", 386, (0, -1, 0), 4),
        ("eyeLookUpLeft", 386, (0, 1, 0), 2),
        ("eyeLookInLeft", 386, (-1, 0, 0), 1),
        ("eyeLookOutLeft", 386, (1, 0, 0), 1),
        ("eyeLookInRight", 159, (1, 0, 0), 1),
        ("eyeSquintLeft", 374, (0, 1, 0), 1.5),
        ("eyeWideRight", 159, (0, 1, 0), 2),
        ("jawForward", 152, (0, 0, 1), 6),
        ("jawLeft", 152, (1, 0, 0), 6),
        ("jawRight", 152, (-1, 0, 0), 6),
        ("mouthLeft", 13, (1, 0, 0), 12),
        ("mouthSmileLeft", 291, (0.5, 0.7, -0.5), 12),
        ("mouthFrownRight", 61, (0, -1, 0), 4),
        ("mouthStretchLeft", 291, (1, 0, 0), 6),
        ("mouthDimpleLeft", 291, (0, 0, -1), 5),
        ("mouthPucker", 291, (-0.5, 0, 0.9), 9),
        ("mouthFunnel", 14, (0, -1, 0), 6),
        ("mouthRollUpper", 13, (0, 0, -1), 9),
        ("mouthRollLower", 14, (0, 0, -1), 10),
        ("mouthShrugLower", 199, (0, 1, 0), 9),
        ("mouthShrugUpper", 0, (0, 1, 0), 5),
        ("mouthUpperUpLeft", 270, (0, 1, 0), 7),
        ("mouthLowerDownRight", 88, (0, -1, 0), 3),
        ("mouthPressLeft", 335, (0, 1, 0), 2),
        ("noseSneerLeft", 331, (0, 1, 0), 7),
        ("tongueOut", 14, (0, -1, 0), 1.5),
    ],
)
def test_meaning(
    shapes: np.ndarray, name: str, landmark: int, direction: tuple[float, ...], least: float
) -> None:
    """Each expression moves its landmark the way its name says, by at least ``least`` mm."""
    unit = np.array(direction) / np.linalg.norm(direction)
    assert shapes[INDEX[name], landmark] @ unit * 1000 >= least


def test_shapes_scale_and_follow_a_personal_face() -> None:
    """On a larger face everything is larger; on a lopsided one each eye still closes exactly."""
    template, triangles = face_template(), face_topology()
    plain = face_shapes(template, triangles)
    np.testing.assert_allclose(face_shapes(1.2 * template, triangles), 1.2 * plain, rtol=0, atol=2e-4)
    noise = np.random.default_rng(3).normal(0, 1, (12, 3))
    waves = np.sin(template @ np.random.default_rng(4).normal(0, 25, (3, 12))) @ noise * 6e-4
    person = template + waves
    own = face_shapes(person, triangles)
    assert np.abs(own - plain).max() < 0.006
    face = person + own[INDEX["eyeBlinkLeft"]] + own[INDEX["eyeBlinkRight"]]
    for upper, lower in (
        (landmarks.LID_UPPER_LEFT, landmarks.LID_LOWER_LEFT),
        (landmarks.LID_UPPER_RIGHT, landmarks.LID_LOWER_RIGHT),
    ):
        assert np.abs(face[list(upper)] - face[list(lower)]).max() < 1e-9


@pytest.fixture(scope="module")
def agreement(shapes: np.ndarray, model: Callable[[str], Path]) -> dict[str, tuple[float, float]]:
    """Cosine and ratio of norms of each displacement field [468, 3] against ICT-FaceKit's at the same points.

    The 468 points are those of the registration, whose similarity turns our fields. ICT-FaceKit has no
    tongueOut: the comparison is over the other 51.
    """
    data = read_ict(model("ict_facekit.npz"))
    eyes = np.mean([data.vertices[slice(*PARTS[name])].mean(0) for name in ("irisLeft", "irisRight")], 0)
    registration = registered(data.vertices - eyes, data)
    found = {}
    for name, shape in data.expressions.items():
        theirs = registration.sampled(shape)
        ours = registration.scale * shapes[INDEX[name]] @ registration.rotation.T
        norms = np.linalg.norm(ours), np.linalg.norm(theirs)
        found[name] = (float((ours * theirs).sum() / (norms[0] * norms[1])), float(norms[0] / norms[1]))
    return found


def test_agreement_with_ict_facekit(agreement: dict[str, tuple[float, float]]) -> None:
    assert set(NAMES) - set(agreement) == {"tongueOut"}
    cosines = {name: cosine for name, (cosine, _) in agreement.items()}
    assert np.median(list(cosines.values())) >= 0.90
    assert min(cosines.values()) >= 0.85, min(cosines, key=lambda name: cosines[name])
    ratios = {name: ratio for name, (_, ratio) in agreement.items()}
    assert all(0.7 < ratio < 1.35 for ratio in ratios.values()), ratios
