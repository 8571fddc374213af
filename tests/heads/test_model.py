"""Posing, normals, spreading of offsets, and the head file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from avatarkit import heads
from avatarkit.files.errors import AvatarkitError, UsageError
from avatarkit.heads.extension import extension_map
from avatarkit.heads.model import HeadModel


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return heads.load()


def turn(vector: list[float] | np.ndarray) -> np.ndarray:
    """Rotation matrix of an axis-angle vector, from scipy."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_rotvec(vector).as_matrix()


def test_nothing_given_is_the_neutral_head(head: HeadModel) -> None:
    np.testing.assert_array_equal(head.posed(), head.vertices)
    still = head.posed(np.zeros(52), neck=np.zeros(3), jaw=np.zeros(3), eyes=np.zeros((2, 3)))
    np.testing.assert_allclose(still, head.vertices, atol=1e-7)


def test_posing_blends_shapes_then_skins(head: HeadModel) -> None:
    random = np.random.default_rng(0)
    w, neck, jaw = random.random(52), random.normal(0, 0.2, 3), random.normal(0, 0.1, 3)
    eyes = random.normal(0, 0.2, (2, 3))
    blended = head.vertices + np.einsum("e,evc->vc", w, head.shapes)
    expected = np.zeros_like(blended)
    rotations = [np.eye(3), turn(neck).T, turn(jaw), turn(eyes[0]), turn(eyes[1])]
    for column, rotation in enumerate(rotations):
        joint = head.joints[max(column - 1, 0)]
        expected += head.skinning[:, column, None] * ((blended - joint) @ rotation.T + joint)
    posed = head.posed(w, neck=neck, jaw=jaw, eyes=eyes)
    np.testing.assert_allclose(posed, expected, atol=2e-6)


def test_posing_broadcasts_over_frames(head: HeadModel) -> None:
    random = np.random.default_rng(1)
    w, neck, eyes = random.random((3, 2, 52)), random.normal(0, 0.2, (2, 3)), random.normal(0, 0.1, (2, 3))
    batch = head.posed(w, neck=neck, eyes=eyes)
    assert batch.shape == (3, 2, len(head), 3)
    for i in range(3):
        for j in range(2):
            np.testing.assert_allclose(batch[i, j], head.posed(w[i, j], neck=neck[j], eyes=eyes), atol=1e-6)


def test_neck_is_the_heads_rotation_against_the_torso(head: HeadModel) -> None:
    posed = head.posed(neck=np.array([0, 0.5, 0]))
    crown = head.vertices[:, 1].argmax()
    rim = np.flatnonzero(head.skinning[:, 1] == 1)
    np.testing.assert_array_equal(posed[crown], head.vertices[crown])
    expected = (head.vertices[rim] - head.joints[0]) @ turn([0, -0.5, 0]).T + head.joints[0]
    np.testing.assert_allclose(posed[rim], expected, atol=1e-6)


@pytest.mark.parametrize("side", [0, 1])
def test_eyes_turn_about_their_centers(head: HeadModel, side: int) -> None:
    eyes = np.zeros((2, 3))
    eyes[side] = (0, np.deg2rad(30), 0)
    posed = head.posed(eyes=eyes)
    iris = head.landmarks[473 if side == 0 else 468]
    radius = np.linalg.norm(head.vertices[iris] - head.joints[2 + side])
    assert posed[iris, 0] - head.vertices[iris, 0] == pytest.approx(radius / 2, rel=1e-3)
    other = head.landmarks[468 if side == 0 else 473]
    np.testing.assert_array_equal(posed[other], head.vertices[other])


def test_a_person_brings_neutral_shapes_and_joints(head: HeadModel) -> None:
    neutral = head.vertices + np.float32(0.01)
    np.testing.assert_allclose(head.joints_of(neutral), head.joints + 0.01, atol=1e-5)
    shapes = head.shapes * 2
    w = head.expression_vector(jawOpen=0.4)
    posed = head.posed(w, eyes=np.full((2, 3), 0.2), neutral=neutral, shapes=shapes)
    np.testing.assert_allclose(posed, head.posed(2 * w, eyes=np.full((2, 3), 0.2)) + 0.01, atol=1e-5)


def test_unknown_names_are_refused(head: HeadModel) -> None:
    with pytest.raises(KeyError, match="jawopen"):
        head.expression_vector(jawopen=1.0)
    with pytest.raises(KeyError, match="hat"):
        head.region_mask("hat")


def test_normals_have_unit_length_and_turn_with_the_head(head: HeadModel) -> None:
    normals = head.normals()
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    rotation = turn([0.3, -0.5, 0.2]).astype(np.float32)
    both = head.normals(np.stack([head.vertices, head.vertices @ rotation.T]))
    np.testing.assert_allclose(both[1], normals @ rotation.T, atol=1e-3)
    eye = head.region_mask("sclera", "iris", "pupil") & (head.vertices[:, 0] > 0)
    outward = head.vertices[eye] - head.joints[2]
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    assert ((normals[eye] * outward).sum(1) > 0.97).all()


def test_offsets_spread_over_the_whole_head(head: HeadModel) -> None:
    random = np.random.default_rng(2)
    shift = head.extended(np.tile([0.003, -0.002, 0.001], (468, 1)))
    np.testing.assert_allclose(shift, np.tile([0.003, -0.002, 0.001], (len(head), 1)), atol=2e-5)
    smooth = 0.03 * head.vertices[:468] ** 2 * [0, 30, 30]
    spread = head.extended(smooth)
    np.testing.assert_allclose(spread[head.landmarks[:468]], smooth, atol=1e-6)
    assert np.abs(spread).max() < 3 * np.abs(smooth).max()  # nothing runs away
    flipped = head.extended((smooth * [-1, 1, 1])[head.mirror[:468]])
    np.testing.assert_allclose(flipped, (spread * [-1, 1, 1])[head.mirror], atol=1e-6)
    batch = head.extended(random.normal(0, 0.002, (4, 5, 478, 3)))
    assert batch.shape == (4, 5, len(head), 3)


def test_loose_parts_move_rigidly_with_their_surroundings(head: HeadModel) -> None:
    offset = np.random.default_rng(3).normal(0, 0.003, (468, 3))
    spread = head.extended(offset)
    left = head.vertices[:, 0] > 0
    lower = head.skinning[:, 2] == 1
    eyes, teeth = head.region_mask("iris", "pupil", "sclera"), head.region_mask("teeth", "gums")
    for part in (eyes & left, eyes & ~left, teeth & lower, teeth & ~lower, head.region_mask("tongue")):
        assert np.ptp(spread[part], axis=0).max() < 1e-7
    wider = np.zeros((468, 3))
    wider[:, 0] = 0.1 * head.vertices[:468, 0]
    ear = head.region_mask("ears") & (head.vertices[:, 0] > 0)
    assert head.extended(wider)[ear, 0].min() > 0.004  # a wider face carries its ears outwards


def test_refined_shapes_leave_torso_and_crown_alone(head: HeadModel) -> None:
    known = head.shapes[:, :468]
    np.testing.assert_allclose(head.extended_shapes(known), head.shapes, atol=1e-7)
    refined = known + np.random.default_rng(4).normal(0, 0.001, known.shape)
    shapes = head.extended_shapes(refined)
    np.testing.assert_allclose(shapes[:, :468], refined, atol=1e-6)
    far = (head.skinning[:, 1] > 0.99) | (head.vertices[:, 2] < -0.12)
    assert np.abs(shapes[:, far] - head.shapes[:, far]).max() < 1e-6


def test_a_model_without_maps_makes_its_own(head: HeadModel) -> None:
    from dataclasses import replace

    bare = replace(head, identity_map=None, shape_map=None)
    shift = bare.extended(np.full((468, 3), 0.002))
    np.testing.assert_allclose(shift, 0.002, atol=2e-5)
    anchored = extension_map(bare, anchored=True)
    assert np.abs(anchored[head.vertices[:, 1].argmax()]).sum() == 0


def test_head_file_keeps_everything(head: HeadModel, tmp_path: Path) -> None:
    path = tmp_path / "my head.head.npz"
    head.save(path)
    again = HeadModel.load(path)
    assert again.hash() == head.hash()
    assert (again.name, again.version) == (head.name, head.version)
    assert again.region_names == head.region_names
    np.testing.assert_array_equal(again.uv, head.uv)
    offset = np.random.default_rng(5).normal(0, 0.002, (468, 3))
    np.testing.assert_allclose(again.extended(offset), head.extended(offset), atol=1e-7)
    assert heads.load(path) is heads.load(path)
    with np.load(path, allow_pickle=False) as archive:
        assert json.loads(str(archive["meta"]))["hash"] == head.hash()


def test_hash_tells_heads_apart(head: HeadModel) -> None:
    from dataclasses import replace

    moved = replace(head, vertices=head.vertices + np.float32(1e-4))
    assert moved.hash() != head.hash()


def _spoiled(head: HeadModel, path: Path, **changes: object) -> Path:
    head.save(path)
    with np.load(path) as archive:
        arrays = {key: archive[key] for key in archive.files} | changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


def test_damaged_head_files_are_refused_with_a_reason(head: HeadModel, tmp_path: Path) -> None:
    path = tmp_path / "x.head.npz"
    meta = {"format": 1, "name": "x", "version": "1"}
    meta |= {"expression_names": list(head.expression_names), "region_names": list(head.region_names)}
    infinite = head.vertices.copy()
    infinite[7] = np.nan
    cases: list[tuple[dict[str, object], str]] = [
        ({"skinning": None}, "lacks skinning"),
        ({"meta": np.array(json.dumps(meta | {"format": 9}))}, "newer"),
        ({"meta": np.array("{")}, "damaged"),
        ({"vertices": infinite}, "not numbers"),
        ({"triangles": head.triangles + 5000}, "outside the model"),
        ({"shapes": head.shapes[:3]}, "expected"),
        ({"meta": np.array([{"a": 1}], dtype=object)}, "not a head file"),
        ({"identity_map_indices": head.identity_map.indices + 468}, "identity_map is damaged"),
    ]
    for changes, reason in cases:
        with pytest.raises(AvatarkitError, match=reason):
            HeadModel.load(_spoiled(head, path, **changes))
    path.write_text("not an archive")
    with pytest.raises(AvatarkitError, match="not a head file"):
        HeadModel.load(path)
    with pytest.raises(AvatarkitError, match="no such"):
        HeadModel.load(tmp_path / "absent.head.npz")


def test_names_of_models(tmp_path: Path) -> None:
    assert heads.load() is heads.load("builtin")
    with pytest.raises(UsageError, match="unknown head model"):
        heads.load("flame")
    with pytest.raises(AvatarkitError, match="no such head model"):
        heads.load(tmp_path / "absent.head.npz")
    with pytest.raises(AvatarkitError, match="ict_facekit"):
        heads.load("ict")
