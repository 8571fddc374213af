"""Layers over a plate: the native kernels against their twin, and against what is known without either."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from avatarkit.ops import native
from avatarkit.ops.layers import Layer, compose, premultiplied, restore
from avatarkit.ops.reference import layers as twin

HEIGHT, WIDTH = 53, 67


def picture(height, width, seed=0):
    """A smooth picture, [height, width, 3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    waves = [np.sin(x * a + y * b + c) for a, b, c in rng.uniform(0.05, 0.3, (3, 3))]
    return (127 + 120 * np.stack(waves, -1)).astype(np.uint8)


def sheet(height, width, texture, *, rows=7, columns=9, margin=0.0, **kind):
    """A grid over the frame (or ``margin`` inside it) whose places are its own pixels: Layer and [V, 3]."""
    y, x = np.meshgrid(
        np.linspace(margin, height - margin, rows),
        np.linspace(margin, width - margin, columns),
        indexing="ij",
    )
    places = np.stack([x, y], -1).reshape(-1, 2)
    a = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).reshape(-1)
    triangles = np.concatenate(
        [np.stack([a, a + 1, a + columns], 1), np.stack([a + 1, a + columns + 1, a + columns], 1)]
    )
    vertices = np.column_stack([places, 0.1 * places[:, 0]])
    return Layer(texture, triangles, places, **kind), vertices


def scene(height=HEIGHT, width=WIDTH, seed=1):
    """A plate, a soft and a half transparent layer, and a folded one with alpha on top."""
    rng = np.random.default_rng(seed)
    plate = premultiplied(picture(height, width, 5))
    under, flat = sheet(
        height, width, premultiplied(picture(height, width, 6)), margin=0.2 * min(height, width), soft=True
    )
    alpha = np.clip(picture(height + 9, width + 4, 7)[..., 0] / 200 - 0.1, 0, 1).astype(np.float32)
    over, wavy = sheet(height, width, premultiplied(picture(height + 9, width + 4, 8), alpha), fold=5.0)
    wavy[:, :2] += 0.1 * min(height, width) * rng.uniform(-1, 1, (len(wavy), 2))
    wavy[:, 0] += 0.3 * width * np.sin(wavy[:, 0] / width * 5)
    wavy[:, 2] += rng.uniform(-4, 4, len(wavy))
    return plate, [
        under.at(flat + np.array([1.37, -2.21, 0])),
        under.at(flat + np.array([-3.93, 3.11, 1]), 0.4),
        over.at(wavy),
    ]


def agrees(ours, theirs):
    """But for pixels within rounding of an edge all levels agree to 1."""
    apart = np.abs(ours.astype(int) - theirs)
    return (apart > 1).sum() <= max(6, 0.004 * apart.size) and apart.mean() < 0.2


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (16, 16), (1, 40), (40, 3), (129, 200)])
def test_composed_as_the_twin_does(kernels, size):
    plate, laid = scene(*size)
    ours, theirs = compose(plate, laid, -1, True), twin.compose(plate, laid, -1, True)
    assert agrees(ours.image, theirs.image)
    assert agrees(ours.still, theirs.still)
    assert agrees(ours.alpha, theirs.alpha)
    if size == (HEIGHT, WIDTH):
        assert np.abs(ours.image.astype(int) - plate[..., :3]).mean() > 10
        assert len(np.unique(ours.alpha)) > 50


def test_no_layers_leave_the_plate(kernels):
    plate = premultiplied(picture(20, 30))
    assert np.array_equal(compose(plate, []).image, plate[..., :3])
    assert compose(np.zeros((0, 5, 4), np.uint8), []).image.shape == (0, 5, 3)


def test_a_layer_at_rest_is_its_texture(kernels):
    color = picture(HEIGHT, WIDTH, 2)
    layer, vertices = sheet(HEIGHT, WIDTH, premultiplied(color))
    made = compose(premultiplied(picture(HEIGHT, WIDTH, 3)), [layer.at(vertices)])
    assert np.abs(made.image.astype(int) - color).max() <= 1
    assert made.still.min() == 255


def test_a_moved_layer_is_its_texture_moved(kernels):
    color = picture(HEIGHT, WIDTH, 2)
    plate = premultiplied(np.zeros_like(color))
    layer, vertices = sheet(HEIGHT, WIDTH, premultiplied(color))
    made = compose(plate, [layer.at(vertices + np.array([2, 1, 0]))])
    assert np.abs(made.image[1:, 2:].astype(int) - color[:-1, :-2]).max() <= 1
    assert made.image[0].max() == 0
    away = 255 * (4 - np.hypot(2, 1)) / 3.5
    assert np.abs(made.still[1:, 2:] - away).max() <= 1
    assert made.still[0].max() == 0
    half = compose(plate, [layer.at(vertices + np.array([2.5, 0, 0]))]).image[:, 3:].astype(float)
    assert np.abs(half - (color[:, :-3].astype(float) + color[:, 1:-2]) / 2).max() <= 1


def test_the_nearer_triangle_is_seen(kernels):
    texture = np.zeros((1, 2, 4), np.uint8)
    texture[0, 0], texture[0, 1] = (200, 0, 0, 255), (0, 200, 0, 255)
    square = np.array([[0, 0], [30, 0], [0, 30], [30, 30]], float)
    vertices = np.concatenate(
        [np.column_stack([square, [1, 5, 1, 5]]), np.column_stack([square, [3, 3, 3, 3]])]
    )
    triangles = np.array([[0, 1, 2], [1, 3, 2], [4, 5, 6], [5, 7, 6]])
    places = np.repeat([[0.5, 0.5], [1.5, 0.5]], 4, 0)
    made = compose(np.zeros((30, 30, 4), np.uint8), [Layer(texture, triangles, places).at(vertices)]).image
    assert made[:, :15, 0].min() == 200 and made[:, :15, 1].max() == 0
    assert made[:, 15:, 1].min() == 200 and made[:, 15:, 0].max() == 0


def test_opacity_and_soft_outline(kernels):
    white = np.full((40, 40, 4), 255, np.uint8)
    plate = np.zeros((40, 40, 4), np.uint8)
    layer, vertices = sheet(40, 40, white, margin=10)
    assert compose(plate, [layer.at(vertices, 0.5)]).image[20, 20].tolist() == [128] * 3
    soft, _ = sheet(40, 40, white, margin=10, soft=True)
    line = compose(plate, [soft.at(vertices)]).image[20, :, 0]
    assert line[:10].max() == 0 and line[11:29].min() == 255
    assert line[10] == 85  # six of nine neighbors are hit: 2 * 6 / 9 - 1 = 1 / 3
    frame, rest = sheet(40, 40, white, soft=True)
    assert compose(plate, [frame.at(rest)]).image.min() == 255  # the frame's border is no outline


def test_folds_are_softened(kernels):
    color = np.zeros((20, 40, 3), np.uint8)
    color[:, 30:] = 240
    layer, vertices = sheet(20, 40, premultiplied(color), rows=2, columns=5, fold=5.0)
    hard = Layer(layer.texture, layer.triangles, layer.places)
    vertices[:, 0] = [0, 18, 19, 20, 40] * 2  # between columns 18 and 20 twenty texels lie
    plate = np.zeros((20, 40, 4), np.uint8)
    sharp, softer = (
        compose(plate, [sheet_.at(vertices)]).image[10, :, 0].astype(int) for sheet_ in (hard, layer)
    )
    assert np.abs(np.diff(softer)).max() < np.abs(np.diff(sharp)).max() - 20
    assert np.array_equal(softer[:14], sharp[:14])


def test_folds_across_rows_are_softened(kernels):
    color = np.zeros((40, 20, 3), np.uint8)
    color[30:] = 240
    layer, vertices = sheet(40, 20, premultiplied(color), rows=5, columns=2, fold=5.0)
    hard = Layer(layer.texture, layer.triangles, layer.places)
    vertices[:, 1] = np.repeat([0, 18, 19, 20, 40], 2)  # between rows 18 and 20 twenty texels lie
    plate = np.zeros((40, 20, 4), np.uint8)
    sharp, softer = (
        compose(plate, [sheet_.at(vertices)]).image[:, 10, 0].astype(int) for sheet_ in (hard, layer)
    )
    assert np.abs(np.diff(softer)).max() < np.abs(np.diff(sharp)).max() - 20
    assert np.array_equal(softer[:14], sharp[:14])


def test_what_was_lost_is_given_back_where_nothing_moves(kernels):
    image = picture(HEIGHT, WIDTH, 4)
    rng = np.random.default_rng(3)
    lost = rng.integers(-300, 300, (3, HEIGHT, WIDTH)).astype(np.int16)
    still = rng.integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8)
    still[:20], still[20:30] = 0, 255
    ours, theirs = image.copy(), image.copy()
    restore(ours, lost, still)
    twin.restore(theirs, lost, still)
    assert np.abs(ours.astype(int) - theirs).max() <= 1
    assert np.array_equal(ours[:20], image[:20])
    whole = np.clip(image[20:30].astype(int) + lost[:, 20:30].transpose(1, 2, 0), 0, 255)
    assert np.array_equal(ours[20:30], whole)


def test_same_bits_for_any_number_of_threads(kernels):
    plate, laid = scene(200, 310)
    native.set_threads(1)
    one = compose(plate, laid, -1, True)
    native.set_threads(2)
    for a, b in zip(one, compose(plate, laid, -1, True), strict=True):
        assert np.array_equal(a, b)


def test_baseline_agrees(kernels, tmp_path):
    plate, laid = scene(90, 130)
    script = (
        "import sys, numpy as np; sys.path.insert(0, sys.argv[2])\n"
        "from tests.ops.test_layers import scene\nfrom avatarkit.ops.layers import compose\n"
        "np.save(sys.argv[1], compose(*scene(90, 130)).image)"
    )
    out = tmp_path / "baseline.npy"
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    environment = {**os.environ, "AVATARKIT_ISA": "baseline"}
    subprocess.run([sys.executable, "-c", script, str(out), root], check=True, env=environment)
    assert agrees(np.load(out), compose(plate, laid).image)


def test_broken_geometry_is_dropped(kernels):
    layer, vertices = sheet(HEIGHT, WIDTH, premultiplied(picture(HEIGHT, WIDTH)))
    plate = premultiplied(picture(HEIGHT, WIDTH, 1))
    for value in (np.nan, np.inf):
        assert np.array_equal(compose(plate, [layer.at(np.full_like(vertices, value))]).image, plate[..., :3])
    far = compose(plate, [layer.at(vertices + np.array([500, 0, 0]))])
    assert np.array_equal(far.image, plate[..., :3]) and far.still.max() == 0


def test_shapes_that_do_not_fit():
    layer, vertices = sheet(HEIGHT, WIDTH, premultiplied(picture(HEIGHT, WIDTH)))
    plate = premultiplied(picture(HEIGHT, WIDTH))
    with pytest.raises(ValueError, match="plate"):
        compose(plate[..., :3], [])
    with pytest.raises(ValueError, match="vertices"):
        layer.at(vertices[1:])
    with pytest.raises(ValueError, match="traced"):
        compose(plate, [layer.at(vertices)], 1)
    with pytest.raises(ValueError, match="texture"):
        Layer(plate[..., :3], layer.triangles, layer.places)
    with pytest.raises(ValueError, match="outside"):
        Layer(plate, layer.triangles + 1, layer.places)
    with pytest.raises(ValueError, match="fit"):
        restore(plate[..., :3].copy(), np.zeros((3, 2, 2), np.int16), np.zeros((HEIGHT, WIDTH), np.uint8))


def test_twin_serves_where_nothing_is_built(monkeypatch):
    monkeypatch.setattr("avatarkit.ops.layers.module", lambda: None)
    plate, laid = scene(24, 30)
    made = compose(plate, laid)
    assert torch.equal(
        torch.from_numpy(made.image), torch.from_numpy(twin.compose(plate, laid, -1, False).image)
    )
    restore(made.image, np.zeros((3, 24, 30), np.int16), made.still)
