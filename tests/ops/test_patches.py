"""Patches painted into a frame: the native kernels against their twins, and against what is known without either."""

from __future__ import annotations

import numpy as np
import pytest

from avatarkit.ops import native, patches
from avatarkit.ops.reference import patches as twin

needs_native = pytest.mark.skipif(native.module() is None, reason="the kernels are not built")
RNG = np.random.default_rng(3)
FRAME = RNG.integers(0, 256, (70, 90, 3)).astype(np.uint8)
EYE = np.array(
    [[20.3, 30.2], [30.1, 22.4], [45.7, 20.9], [60.2, 25.1], [66.4, 33.3], [48.2, 40.7], [31.9, 38.8]]
)
AXES = np.array([[0.021, 0.003, -0.95], [-0.003, 0.021, -0.55]])


def texels(seed: int, height: int = 40, width: int = 50) -> np.ndarray:
    """A smooth picture with alpha."""
    y, x = np.mgrid[:height, :width]
    waves = np.random.default_rng(seed).uniform(0.05, 0.3, (4, 3))
    made = np.stack([np.sin(a * x + b * y + 9 * c) for a, b, c in waves], -1) * 0.5 + 0.5
    return (made * (255, 255, 255, 1)).astype(np.float32)


def seen() -> list[patches.Picture]:
    return [patches.picture(texels(i), [[0.8, 0.1, -9 - i], [-0.1, 0.7, -5]]) for i in range(2)]


def lids(lift: float) -> tuple[np.ndarray, np.ndarray]:
    """Upper and lower margin, pixels."""
    x = np.linspace(20, 66, 9)
    bow = np.sin(np.linspace(0, np.pi, 9))
    return np.column_stack([x, 31 - lift * bow]), np.column_stack([x, 31 + 8 * bow])


def eyeball() -> patches.Eyeball:
    to_texels = np.array([[48.0, 2, 25], [-2, 48, 20]])
    margins = patches.lines(AXES, np.stack(lids(9.0)))
    return patches.Eyeball(
        patches.picture(texels(5)[..., :3], to_texels), patches.picture(texels(6), to_texels), margins, 140.0
    )


@needs_native
@pytest.mark.parametrize("shift", [(0, 0), (-32.5, -26.25), (40, 45), (200, 0), (np.nan, 0)])
def test_kernels_agree_with_their_twins(shift: tuple[float, float]) -> None:
    where = patches.polygon(EYE + shift, 0.6)
    wide = patches.polygon(EYE + shift, 2.4, 9)
    upper, lower = lids(12.0)
    now = patches.lines(AXES, np.stack([upper, lower]) + np.nan_to_num(shift))
    calls = (
        ("paint", (where, seen(), 0.8, None, (1.3, 0.6))),
        ("paint", (wide, seen()[:1], 0.9, now, (1.0, 0.0))),
        ("paint_eyeball", (where, eyeball(), now, (0.11, -0.03))),
        ("paint_lashes", ((upper + shift).astype(np.float32), np.full(3, 20, np.float32), 1.6, 5, 0.8)),
    )
    for name, given in calls:
        made, expected = FRAME.copy(), FRAME.copy()
        getattr(patches, name)(made, *given)
        getattr(twin, name)(expected, *given)
        apart = np.abs(made.astype(int) - expected)
        assert apart.max() <= 1, (name, apart.max())
        visible = abs(shift[0]) < 200 and np.isfinite(shift).all()
        assert np.array_equal(made, FRAME) != visible, name


def test_a_polygon_covers_its_area_and_nothing_else() -> None:
    square = np.array([[20.25, 30.5], [60.25, 30.5], [60.25, 50.5], [20.25, 50.5]])
    frame = np.zeros((70, 90, 3), np.uint8)
    white = patches.picture(np.full((1, 1, 3), 255.0), np.zeros((2, 3)))
    patches.paint(frame, patches.polygon(square, 0.6), [white])
    assert frame[..., 0].sum() / 255 == pytest.approx(800, rel=0.01)
    assert frame[33:48, 23:57].min() == 255
    frame[27:54, 17:64] = 0
    assert not frame.any()


def test_an_eyeball_at_rest_is_its_two_parts_over_each_other() -> None:
    eye = eyeball()
    now = patches.lines(AXES, np.stack(lids(9.0)))
    frame = FRAME.copy()
    patches.paint_eyeball(frame, patches.polygon(EYE, 0.6), eye, now, (0.0, 0.0))
    x, y = np.meshgrid(np.arange(35, 55) + 0.5, np.arange(27, 35) + 0.5)
    a, b = (row[0] * x + row[1] * y + row[2] for row in AXES)
    white, iris = (twin._looked_up(p, a, b) for p in (eye.white, eye.iris))
    light = np.minimum(white[..., :3].mean(-1, keepdims=True) / eye.level, 1.2)
    expected = white[..., :3] + iris[..., 3:] * (light * iris[..., :3] - white[..., :3])
    assert np.abs(frame[27:35, 35:55] - np.clip(expected, 0, 255)).max() <= 1.5


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="polygon"):
        patches.polygon(EYE, 0.0)
    with pytest.raises(ValueError, match="picture"):
        patches.picture(np.zeros((0, 4, 3)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="affine"):
        patches.picture(np.zeros((4, 4, 3)), np.zeros((3, 3)))
    with pytest.raises(ValueError, match="frame"):
        patches.paint(FRAME[:, ::2], patches.polygon(EYE, 1.0), seen())
    with pytest.raises(ValueError, match="lids"):
        few = patches.lines(AXES, np.stack([EYE[:3], EYE[:3]]))
        patches.paint_eyeball(FRAME.copy(), patches.polygon(EYE, 1.0), eyeball(), few, (0, 0))
    with pytest.raises(ValueError, match="line"):
        patches.paint_lashes(FRAME.copy(), EYE[:1], np.zeros(3), 1.0, 3, 1.0)
