from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from avatarkit.heads import landmarks
from avatarkit.heads.cartoon import drawn_face
from avatarkit.heads.template import (
    INTEROCULAR,
    face_mirror,
    face_template,
    face_topology,
    made_triangles,
    made_vertices,
)


def _directed_edges(triangles: np.ndarray) -> Counter[tuple[int, int]]:
    return Counter((int(t[i]), int(t[(i + 1) % 3])) for t in triangles for i in range(3))


def test_topology_is_a_disk_with_three_holes() -> None:
    triangles = face_topology()
    assert triangles.shape == (852, 3)
    assert sorted(np.unique(triangles)) == list(range(468))
    edges = _directed_edges(triangles)
    assert max(edges.values()) == 1, "two triangles run along an edge in the same direction"
    border = [edge for edge in edges if edge[::-1] not in edges]
    assert len(border) == 36 + 20 + 16 + 16
    undirected = {frozenset(edge) for edge in edges}
    assert 468 - len(undirected) + 852 == 1 - 3  # Euler characteristic of a disk with three holes


def test_border_loops_are_the_named_ones() -> None:
    edges = _directed_edges(face_topology())
    border = {frozenset(edge) for edge in edges if edge[::-1] not in edges}
    named = set()
    for loop in (landmarks.OVAL, landmarks.LIPS_INNER, landmarks.EYE_LEFT, landmarks.EYE_RIGHT):
        named |= {frozenset(edge) for edge in zip(loop, loop[1:] + loop[:1], strict=True)}
    assert named == border


def test_every_triangle_faces_the_viewer() -> None:
    vertices, triangles = face_template(), face_topology()
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    assert (np.cross(b - a, c - a)[:, 2] > 0).all()


def test_template_is_exactly_symmetric() -> None:
    vertices, mirror, triangles = face_template(), face_mirror(), face_topology()
    np.testing.assert_array_equal(vertices[mirror] * (-1, 1, 1), vertices)
    np.testing.assert_array_equal(mirror[mirror], np.arange(468))
    own = {frozenset(t) for t in triangles.tolist()}
    assert own == {frozenset(mirror[t].tolist()) for t in triangles}


def test_template_has_an_adults_measures() -> None:
    mm = face_template() * 1000
    assert INTEROCULAR == 0.063
    assert mm[33, 0] < 0 < mm[263, 0], "the person's left is +x"
    assert 125 < mm[454, 0] - mm[234, 0] < 145  # bizygomatic breadth 137 +- 8
    assert 105 < -mm[152, 1] < 122  # eyes to chin
    assert 45 < mm[291, 0] - mm[61, 0] < 56  # mouth 51 +- 4
    assert mm[:, 2].argmax() in (1, 4)  # the tip of the nose comes first
    assert 34 < mm[4, 2] - (mm[159, 2] + mm[145, 2]) / 2 < 46
    lids = mm[[159, 145, 386, 374]]
    assert abs(lids[:, 1].mean()) < 0.01
    gap = mm[list(landmarks.LIPS_UPPER_INNER), 1] - mm[list(landmarks.LIPS_LOWER_INNER), 1]
    assert (np.abs(gap) < 0.5).all(), "the neutral lips touch"
    assert (
        mm[list(landmarks.LID_UPPER_LEFT[2:-2]), 1] > mm[list(landmarks.LID_LOWER_LEFT[2:-2]), 1] + 4
    ).all()


@pytest.mark.parametrize(
    "stem", [name[: -len("_RIGHT")] for name in vars(landmarks) if name.endswith("_RIGHT")]
)
def test_groups_of_both_sides_mirror_each_other(stem: str) -> None:
    right, left = getattr(landmarks, f"{stem}_RIGHT"), getattr(landmarks, f"{stem}_LEFT")
    if isinstance(right, int):
        right, left = (right,), (left,)
    if max(right) < landmarks.MESH:
        np.testing.assert_array_equal(face_mirror()[list(right)], left)
        assert (face_template()[list(right), 0] < 0).all()


def test_drawing_is_symmetric() -> None:
    picture = drawn_face()
    np.testing.assert_array_equal(picture, picture[:, ::-1])


def test_stored_numbers_are_what_the_generator_makes() -> None:
    pytest.importorskip("mediapipe")
    vertices, mirror = made_vertices()
    np.testing.assert_array_equal(mirror, face_mirror())
    assert np.abs(vertices - face_template()).max() < 2e-4  # XNNPACK differs a little between processors
    np.testing.assert_array_equal(made_triangles(vertices, mirror), face_topology())
