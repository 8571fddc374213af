"""Overlays: where their pixels fall, what they leave alone, and odd input."""

import numpy as np
import pytest

from avatarkit.rendering.mesh import draw_mesh

GRAY = np.full((40, 60, 3), 90, np.uint8)
# counter-clockwise seen from outside, y down: negative area
SQUARE = np.array([[10.0, 8, 1], [10, 32, 1], [50, 32, 1], [50, 8, 1]])
FACES = np.array([[0, 1, 2], [0, 2, 3]])


def test_wireframe_draws_edges_and_nothing_else():
    out = draw_mesh(GRAY, SQUARE, FACES, color=(255, 0, 0), opacity=1.0)
    assert out[20, 10, 0] > 200  # left edge between the columns 9 and 10 of pixel centers
    assert (out[:5] == 90).all()
    assert (out[14, 45] == 90).all()
    diagonal = out[
        np.round(np.linspace(9, 30, 9)).astype(int), np.round(np.linspace(11.7, 46.7, 9)).astype(int), 0
    ]
    assert (diagonal > 120).sum() >= 6
    assert (GRAY == 90).all()  # the input is not written to


def test_back_faces_are_not_drawn():
    assert (draw_mesh(GRAY, SQUARE, FACES[:, ::-1], opacity=1.0) == 90).all()


@pytest.mark.parametrize("columns", [2, 3])
def test_shaded_fills_and_blends(columns):
    out = draw_mesh(GRAY, SQUARE[:, :columns], FACES, color=(200, 200, 200), opacity=0.5, style="shaded")
    inside = out[12:28, 14:46].astype(float)
    assert inside.std() < 1.0
    assert 110 < inside.mean() < 146  # half of gray, half of the lit color
    assert (out[:6] == 90).all()
    assert (out[:, 53:] == 90).all()


def test_hidden_parts_are_removed():
    near = SQUARE * [1, 1, 0.5]
    tilted = np.array([[20.0, 12, 2], [20, 28, 2], [40, 20, 3]])
    points = np.concatenate([near, tilted])
    alone = draw_mesh(GRAY, near, FACES, opacity=1.0, style="shaded")
    both = draw_mesh(GRAY, points, np.concatenate([FACES, [[4, 5, 6]]]), opacity=1.0, style="shaded")
    np.testing.assert_allclose(both.astype(int), alone.astype(int), atol=1)


def test_odd_input():
    for style in ("wireframe", "shaded"):
        assert (draw_mesh(GRAY, np.zeros((0, 3)), np.zeros((0, 3), int), style=style) == 90).all()
        broken = SQUARE.copy()
        broken[:] = np.nan
        assert (draw_mesh(GRAY, broken, FACES, style=style) == 90).all()
        far = SQUARE + np.array([1e7, 0, 0])
        assert (draw_mesh(GRAY, far, FACES, style=style) == 90).all()
    with pytest.raises(ValueError, match="style"):
        draw_mesh(GRAY, SQUARE, FACES, style="points")
