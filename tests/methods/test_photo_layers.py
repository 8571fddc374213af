"""Layers, mesh and warp of the method ``photo`` against known answers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from avatarkit.heads import landmarks as marks
from avatarkit.methods.photo import draw, mesh, prepare, texture, warp
from avatarkit.methods.photo.depth import outer_depth
from tests.methods.test_photo_transfer import face

Array = NDArray[np.float64]
SIZE = 256


@pytest.fixture(scope="module")
def points() -> Array:
    return face(900, (128, 120))


@pytest.fixture(scope="module")
def built(points: Array) -> mesh.Mesh:
    return mesh.build(points[: marks.MESH, :2], SIZE, SIZE, 14)


def test_colors_are_unmixed() -> None:
    alpha = np.linspace(0, 1, 64, dtype=np.float32)[None].repeat(48, 0)
    person, behind = np.array([200, 120, 80]), np.array([30, 60, 90])
    photo = alpha[..., None] * person + (1 - alpha[..., None]) * behind
    plate = np.broadcast_to(behind, (48, 64, 3)).astype(np.uint8)
    color = prepare.unmixed(np.round(photo).astype(np.uint8), alpha, plate)
    assert np.abs(color.astype(float) - person).max() < 6


def test_the_background_is_filled_from_around() -> None:
    y, x = np.mgrid[:SIZE, :SIZE]
    smooth = np.stack([x * 0.5 + 40, y * 0.5 + 40, np.full_like(x, 90)], -1).astype(np.uint8)
    inside = np.hypot(x - 128, y - 128) < 50
    photo = np.where(inside[..., None], np.uint8(255), smooth)
    plate = prepare.background(photo, inside.astype(np.float32), 100.0)
    assert np.abs(plate[inside].astype(float) - smooth[inside]).mean() < 12
    assert np.array_equal(plate[:20, :20], smooth[:20, :20])


def test_the_mesh_covers_the_photo_and_rest_is_identity(built: mesh.Mesh) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    white = np.full_like(photo, 255)
    canvas = draw.Canvas(built, prepare.Layers(photo, np.ones((SIZE, SIZE), np.float32), photo, white))
    made = canvas.drawn(np.column_stack([built.points, np.zeros(len(built.points))]))
    assert np.abs(made.image.astype(int) - photo).max() <= 1
    assert made.still.min() == 255


def test_outer_triangles_are_wound_alike_and_do_not_overlap(built: mesh.Mesh) -> None:
    a, b, c = (built.points[built.triangles[852:, i]] for i in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    assert (area <= 1e-9).all()
    low, high = built.points.min(0), built.points.max(0)
    oval = built.face[list(marks.OVAL)]
    ring = np.roll(oval, -1, 0)
    hole = abs(float((oval[:, 0] * ring[:, 1] - oval[:, 1] * ring[:, 0]).sum())) / 2
    assert -area.sum() / 2 == pytest.approx(np.prod(high - low) - hole, rel=1e-6)


def test_a_shifted_head_takes_hair_along_and_leaves_the_far_background(built: mesh.Mesh) -> None:
    outer = built.points[marks.MESH :]
    solved = warp.solve(built, np.zeros(len(outer)), 14)
    shift = np.array([6.0, -3.0])
    head = np.column_stack([np.zeros((2, 3)), shift])
    moved = solved.displaced(np.tile(shift, (36, 1)), head, np.zeros((2, 3)))
    width = float(np.linalg.norm(built.face[454] - built.face[234]))
    top = built.face[10]
    hair = np.linalg.norm(outer - (top - (0, 0.3 * width)), axis=1) < 0.25 * width
    assert np.abs(moved[hair] - shift).max() < 0.1
    low = outer[:, 1] > built.face[152, 1] + 0.6 * width
    assert np.linalg.norm(moved[low], axis=1).max() < 0.5


def test_turns_keep_the_outline_as_wide_as_a_deep_head(built: mesh.Mesh) -> None:
    """A box, as deep as its flank, shows its back edge on the side it turns from and its front edge on the other."""
    outer = built.points[marks.MESH :]
    width = float(np.linalg.norm(built.face[454] - built.face[234]))
    solved = warp.solve(built, np.full(len(outer), 0.5 * width), 14)
    middle = (built.face[454] + built.face[234]) / 2
    for degrees in (-10, 10):
        sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
        head = np.array([[cosine - 1, 0, sine, (1 - cosine) * middle[0]], [0, 0, 0, 0]])
        moved = solved.displaced(np.zeros((36, 2)), head, np.zeros((2, 3)))
        for side in (-1, 1):
            near = np.linalg.norm(outer - (middle + np.array([0.85 * side * width, 0])), axis=1).argmin()
            half = warp.FLANK * width * -np.expm1(-0.35 / warp.FLANK_LENGTH)
            flat = (cosine - 1) * (outer[near, 0] - middle[0])
            deep = 0.5 * width + half * side * np.sign(sine)
            assert moved[near, 0] == pytest.approx(flat + sine * deep, abs=0.06 * width * abs(sine) + 0.5)


def test_depth_falls_behind_the_oval(points: Array) -> None:
    places = np.array([[128.0 + d, 120.0] for d in (90, 110, 140, 220)])
    depth = outer_depth(places, points, np.full((SIZE, SIZE), np.nan))
    assert (np.diff(depth) > 0).all()
    assert depth[0] > points[454, 2]
    flat = points * (1, 1, 0)
    width = np.linalg.norm(flat[454] - flat[234])
    above, beside = (flat[i, :2] + d for i, d in ((10, (0, -0.3 * width)), (454, (0.3 * width, 0))))
    over, aside = outer_depth(np.stack([above, beside]), flat, np.full((SIZE, SIZE), np.nan))
    assert aside - over == pytest.approx(0.27 * width, rel=0.2)  # hair stands before the sides of the head


def test_stripes_behind_the_person_go_on() -> None:
    """Along the edge the fill has the stripes of the wall at their places; farther in and without any it is smooth."""
    x = np.arange(SIZE)
    wall = np.broadcast_to((120 + 60 * np.sign(np.sin(2 * np.pi * x / 16)))[:, None, None], (SIZE, SIZE, 3))
    source = np.ascontiguousarray(wall, np.float32)
    known = np.ones((SIZE, SIZE), np.float32)
    known[:, 96:] = 0
    smooth = np.full_like(source, 120)
    made = texture.detailed(smooth, source, known, 60.0)
    near, far = slice(98, 116), slice(170, SIZE)
    rows = slice(32, SIZE - 32)
    agreement = np.corrcoef(made[rows, near, 0].ravel(), source[rows, near, 0].ravel())[0, 1]
    assert agreement > 0.8
    assert np.array_equal(made[:, far], smooth[:, far])
    assert np.array_equal(texture.detailed(smooth, source, np.ones_like(known), 60.0), smooth)
