from __future__ import annotations

import numpy as np
import pytest

from avatarkit.files.errors import AvatarkitError
from avatarkit.segmentation.window import GRID, Window, compose, inverse, resample


def ramp(width: int, height: int) -> np.ndarray:
    """[height, width, 3] float32: each pixel holds its center's x and y."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return np.dstack([x, y, x]).astype(np.float32)


@pytest.mark.parametrize("crop", [(20, 30, 200, 200), (-40, -25, 400, 400), (100, 50, 260, 260)])
def test_the_three_grids_agree_on_where_things_are(crop: tuple[int, int, int, int]) -> None:
    window = Window.of(np.array(crop, np.int32), 320, 240, 128)
    frame = ramp(320, 240)
    canvas = window.canvas_of(frame)
    assert canvas.shape == (128, 128, 3)
    through = window.grid_to_canvas(np.ascontiguousarray(window.grid_of(frame)[..., :2]))
    x, y = np.meshgrid(np.arange(128) + 0.5, np.arange(128) + 0.5)
    told = (
        np.dstack([x, y]) @ inverse(window.frame_to_canvas)[:, :2].T + inverse(window.frame_to_canvas)[:, 2]
    )
    inner = window.inside()
    inner &= np.roll(inner, 2, 0) & np.roll(inner, -2, 0) & np.roll(inner, 2, 1) & np.roll(inner, -2, 1)
    inner[[0, 1, -2, -1]] = inner[:, [0, 1, -2, -1]] = False
    assert np.abs(canvas[..., :2] - told)[inner].max() < 0.6
    assert np.abs(through - told)[inner].max() < 0.6
    assert np.abs((through - told)[inner].mean(0)).max() < 0.05  # no shift by half a pixel


def test_inside_counts_the_visible_part() -> None:
    window = Window.of(np.array([-50, 0, 200, 200], np.int32), 400, 200, 200)
    assert window.inside().sum() == 150 * 200
    assert window.visible == (0, 0, 150, 200)


def test_maps_invert() -> None:
    window = Window.of(np.array([7, -9, 300, 300], np.int32), 320, 240, 512)
    both = compose(window.frame_to_grid, inverse(window.frame_to_grid))
    assert np.allclose(both, [[1, 0, 0], [0, 1, 0]], atol=1e-12)
    assert window.size == 300  # never enlarged


def test_resample_of_the_same_grid_changes_nothing() -> None:
    image = np.random.default_rng(0).random((GRID, GRID)).astype(np.float32)
    assert np.abs(resample(image, np.eye(2, 3), GRID) - image).max() < 1e-6


def test_a_crop_beside_the_frame_is_refused() -> None:
    with pytest.raises(AvatarkitError, match="does not lie in its 320x240 video"):
        Window.of(np.array([400, 0, 100, 100], np.int32), 320, 240, 512)
