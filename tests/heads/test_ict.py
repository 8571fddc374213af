from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from avatarkit.files.errors import AvatarkitError
from avatarkit.heads.arkit import INDEX, NAMES
from avatarkit.heads.ict import load_ict
from avatarkit.heads.ict_files import VERTICES, read_ict, sources_of
from avatarkit.heads.model import HeadModel
from avatarkit.heads.registration import register, similarity, thin_plate
from avatarkit.heads.template import face_mirror, face_template, face_topology


@pytest.fixture(scope="module")
def ict(model: Callable[[str], Path]) -> HeadModel:
    return load_ict(model("ict_facekit.npz"))


def test_similarity_recovers_a_known_one() -> None:
    random = np.random.default_rng(0)
    points = random.normal(0, 1, (20, 3))
    angle = 0.4
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    scale, rotation, shift = similarity(points, 1.7 * points @ turn.T + (1, 2, 3))
    assert scale == pytest.approx(1.7)
    np.testing.assert_allclose(rotation, turn, atol=1e-12)
    np.testing.assert_allclose(shift, (1, 2, 3), atol=1e-12)


def test_similarity_never_reflects() -> None:
    points = np.random.default_rng(0).normal(0, 1, (20, 3))
    assert np.linalg.det(similarity(points, points * (-1, 1, 1))[1]) == pytest.approx(1)


def test_thin_plate_interpolates_and_keeps_affine_maps() -> None:
    random = np.random.default_rng(1)
    source, points = random.normal(0, 1, (12, 3)), random.normal(0, 1, (30, 3))
    target = source + random.normal(0, 0.1, (12, 3))
    np.testing.assert_allclose(thin_plate(source, target, source, 0), target, atol=1e-9)
    matrix = random.normal(0, 1, (3, 3))
    np.testing.assert_allclose(thin_plate(source, source @ matrix, points), points @ matrix, atol=1e-6)


def test_registration_to_a_deformed_face_finds_it_again() -> None:
    """The face registers to a turned, scaled and bent copy of its own subdivided surface to half a millimeter."""
    from avatarkit.heads.registration import IBUG51
    from avatarkit.heads.subdivide import butterfly

    face, triangles = face_template(), face_topology()
    matrix, finer, _ = butterfly(triangles, 468)
    turn = np.array([[0.98, 0, 0.199], [0, 1, 0], [-0.199, 0, 0.98]])
    bent = face + 0.003 * np.sin(face[:, [1, 2, 0]] * 30)
    truth = 1.1 * bent @ turn.T + (0.01, 0.02, 0)
    result = register(face, triangles, np.asarray(matrix @ truth), finer, np.array(IBUG51))
    error = np.linalg.norm(result.vertices - truth, axis=1)
    assert np.median(error) < 5e-4 and np.quantile(error, 0.95) < 3e-3  # the rim slides along the surface
    assert result.distance.max() < 5e-4
    np.testing.assert_allclose(result.weights.sum(1), 1)
    np.testing.assert_allclose(result.sampled(np.asarray(matrix @ truth)), result.vertices, atol=1e-12)


def test_names_map_onto_arkit() -> None:
    assert sources_of("browDownLeft") == ("browDown_L",)
    assert sources_of("browInnerUp") == ("browInnerUp_L", "browInnerUp_R")
    assert sources_of("jawLeft") == ("jawLeft",)
    assert sources_of("mouthRight") == ("mouthRight",)
    assert sources_of("mouthRollUpper") == ("mouthRollUpper",)


def test_head_is_whole(ict: HeadModel) -> None:
    count = len(ict)
    assert ict.name == "ict" and ict.expression_names == NAMES
    assert ict.shapes.shape == (52, count, 3)
    assert ict.triangles.max() < count and ict.uv_triangles.max() < len(ict.uv)
    assert ict.uv.min() >= 0 and ict.uv.max() <= 1
    np.testing.assert_allclose(ict.skinning.sum(1), 1, atol=1e-6)
    assert ict.skinning.min() >= 0
    np.testing.assert_array_equal(ict.mirror[ict.mirror], np.arange(count))
    largest = np.linalg.norm(ict.shapes, axis=-1).max(-1) * 1000
    assert (largest > 2).all(), [n for n, size in zip(NAMES, largest, strict=True) if size <= 2]
    for name in (
        "skin",
        "lips",
        "brows",
        "eyelids",
        "sclera",
        "iris",
        "teeth",
        "tongue",
        "ears",
        "scalp",
        "neck",
    ):
        assert ict.region_mask(name).sum() > 50, name


def test_head_is_in_head_space(ict: HeadModel) -> None:
    eyes = ict.joints[2:] * 1000
    np.testing.assert_allclose(eyes.sum(0), 0, atol=1e-3)
    assert eyes[0, 0] == pytest.approx(32, abs=1)
    face = ict.vertices[ict.landmarks] * 1000
    assert face[4, 2] == face[:468, 2].max() or face[1, 2] == face[:468, 2].max()
    assert face[152, 1] < -100 and face[10, 1] > 45
    assert face[263, 0] > 0 > face[33, 0]
    np.testing.assert_allclose(face[473, :2], eyes[0, :2], atol=1.0)
    np.testing.assert_allclose(face[468, :2], eyes[1, :2], atol=1.0)


def test_landmarks_are_near_the_template_and_symmetric(ict: HeadModel) -> None:
    face = ict.vertices[ict.landmarks[:468]].astype(float)
    scale, rotation, shift = similarity(face_template(), face)
    residual = np.linalg.norm(scale * face_template() @ rotation.T + shift - face, axis=1)
    assert np.sqrt(np.square(residual).mean()) < 0.004
    assert abs(scale - 1) < 0.03
    np.testing.assert_allclose(face[face_mirror()] * (-1, 1, 1), face, atol=6e-4)


def test_joints_turn_what_they_should(ict: HeadModel) -> None:
    jaw = ict.posed(jaw=np.array([0.3, 0, 0])) - ict.vertices
    opening = ict.shapes[INDEX["jawOpen"]]
    chin = ict.landmarks[199]
    assert jaw[chin] @ opening[chin] / np.linalg.norm(jaw[chin]) / np.linalg.norm(opening[chin]) > 0.97
    assert np.abs(jaw[ict.landmarks[[10, 4, 33, 263]]]).max() < 5e-4
    neck = ict.posed(neck=np.array([0, 0.4, 0])) - ict.vertices
    assert np.abs(neck[ict.landmarks]).max() < 3e-3
    assert np.linalg.norm(neck[ict.region_mask("torso")], axis=1).max() > 0.02
    gaze = np.zeros((2, 3))
    gaze[0, 1] = 0.3
    turned = ict.posed(eyes=gaze) - ict.vertices
    assert turned[ict.landmarks[473], 0] > 0.003 and np.abs(turned[ict.landmarks[468]]).max() == 0


def test_saved_and_loaded_again(ict: HeadModel, tmp_path: Path) -> None:
    ict.save(tmp_path / "ict.head.npz")
    assert HeadModel.load(tmp_path / "ict.head.npz").hash() == ict.hash()


@pytest.fixture
def folder(model: Callable[[str], Path], tmp_path: Path) -> Path:
    """A FaceXModel folder with the neutral mesh and three of the shapes, written as OBJ files."""
    with np.load(model("ict_facekit.npz"), allow_pickle=False) as archive:
        vertices, deltas = archive["vertices"], archive["expression_deltas"]
        names = [str(name) for name in archive["expression_names"]]
        polygons, textures, uv = archive["polygons"], archive["uv_polygons"], archive["uv"]
        landmarks = archive["landmarks68"].tolist()
    corners = []
    for polygon, texture in zip(polygons.tolist(), textures.tolist(), strict=True):
        pairs = [f"{p + 1}/{t + 1}/{p + 1}" for p, t in zip(polygon, texture, strict=True) if p >= 0]
        corners.append("f " + " ".join(pairs))

    def write(name: str, positions: np.ndarray) -> None:
        points = ["v " + " ".join(f"{c:.6f}" for c in row) for row in positions.tolist()]
        texture = ["vt " + " ".join(f"{c:.6f}" for c in row) for row in uv.tolist()]
        faces = corners if name == "generic_neutral_mesh" else []
        (tmp_path / f"{name}.obj").write_text("\n".join(["# mesh", *points, *texture, *faces, ""]))

    write("generic_neutral_mesh", vertices)
    for name in ("jawOpen", "browInnerUp_L", "browInnerUp_R"):
        write(name, vertices + deltas[names.index(name)].astype(np.float32))
    (tmp_path / "vertex_indices.json").write_text(json.dumps({"idx_to_landmark_verts": landmarks}))
    return tmp_path


def test_obj_folder_equals_npz(folder: Path, ict: HeadModel, model: Callable[[str], Path]) -> None:
    data = read_ict(folder)
    whole = read_ict(model("ict_facekit.npz"))
    assert set(data.expressions) == {"jawOpen", "browInnerUp"}
    for name, shape in data.expressions.items():
        np.testing.assert_allclose(shape, whole.expressions[name], atol=2e-7)
    assert len(data.triangles) == len(whole.triangles)
    head = load_ict(folder)
    np.testing.assert_allclose(head.vertices, ict.vertices, atol=1e-6)
    np.testing.assert_array_equal(head.landmarks, ict.landmarks)
    assert head.triangles.shape == ict.triangles.shape


def test_damaged_folders_are_refused(folder: Path) -> None:
    (folder / "jawOpen.obj").write_text("v 0 0 0\n")
    with pytest.raises(AvatarkitError, match="has 1 vertices"):
        load_ict(folder)
    (folder / "jawOpen.obj").unlink()
    with pytest.raises(AvatarkitError, match="jawOpen is missing"):
        load_ict(folder)
    (folder / "vertex_indices.json").write_text("{")
    with pytest.raises(AvatarkitError, match="cannot be read"):
        load_ict(folder)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AvatarkitError, match="generic_neutral_mesh"):
        load_ict(tmp_path)
    (tmp_path / "text.npz").write_text("not an archive")
    with pytest.raises(AvatarkitError):
        load_ict(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", vertices=np.zeros((VERTICES, 3), np.float32))
    with pytest.raises(AvatarkitError, match="lacks"):
        load_ict(tmp_path / "other.npz")
    with pytest.raises(AvatarkitError, match="no such"):
        load_ict(tmp_path / "absent.npz")
    np.savez(tmp_path / "pickled.npz", expression_names=np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(AvatarkitError):
        load_ict(tmp_path / "pickled.npz")
