"""Lids and mouth widths of the method ``photo`` on a synthetic head."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from avatarkit.heads import landmarks as marks
from avatarkit.methods.photo import rules
from avatarkit.methods.photo.lids import Lid
from avatarkit.methods.photo.polygons import polygon_mask
from tests.methods.test_photo_transfer import face

Array = NDArray[np.float64]
SIZE = 320
SKIN = np.array([205, 160, 140])


def painted(points: Array) -> NDArray[np.uint8]:
    """A face of one color whose eyes are white with a black rim."""
    photo = np.broadcast_to(SKIN, (SIZE, SIZE, 3)).astype(np.uint8).copy()
    for loop in (marks.EYE_RIGHT, marks.EYE_LEFT):
        inside = polygon_mask(points[list(loop), :2], SIZE, SIZE)
        center = points[list(loop), :2].mean(0)
        photo[inside] = 20
        photo[polygon_mask(center + 0.8 * (points[list(loop), :2] - center), SIZE, SIZE)] = 245
    return photo


def shut(points: Array, share: float) -> Array:
    """``points`` with upper lids so far down."""
    now = points.copy()
    for upper, lower, _, _ in rules.LIDS:
        now[list(upper), :2] += share * (now[list(lower), :2] - now[list(upper), :2])
    return now


@pytest.fixture(scope="module")
def points() -> Array:
    return face(1500, (160, 160))


def test_an_open_eye_is_left_alone(points: Array) -> None:
    photo = painted(points)
    frame = photo.copy()
    for eye in (0, 1):
        lid = Lid(photo, points, eye)
        assert lid.closing(points) == pytest.approx(0, abs=1e-9)
        lid.draw(frame, points)
    assert np.array_equal(frame, photo)


def test_a_shut_eye_is_skin_with_a_dark_line(points: Array) -> None:
    photo = painted(points)
    now = shut(points, 1.0)
    frame = photo.copy()
    for eye in (0, 1):
        lid = Lid(photo, points, eye)
        assert lid.closing(now) == pytest.approx(1, abs=1e-6)
        lid.draw(frame, now)
    for upper, lower, _, _ in rules.LIDS:
        middle = (points[upper[4], :2] + points[lower[4], :2]) / 2
        x, y = middle.astype(int)
        # Where the eye was white there is skin ...
        assert np.abs(frame[y, x].astype(int) - SKIN).max() < 12
        # ... and no white is left anywhere, but lashes where the lids meet.
        box = frame[y - 12 : y + 13, x - 12 : x + 13].astype(int)
        assert (box.min(-1) > 180).sum() == 0
        row = int(points[lower[4], 1])
        assert frame[row - 2 : row + 3, x].mean(-1).min() < 0.6 * SKIN.mean()


def test_half_shut_lids_show_half(points: Array) -> None:
    photo = painted(points)
    now = shut(points, 0.5)
    lid = Lid(photo, points, 0)
    assert lid.closing(now) == pytest.approx(0.5, abs=0.02)
    frame = photo.copy()
    lid.draw(frame, now)
    outside = np.ones((SIZE, SIZE), bool)
    reach = points[list(marks.EYE_RIGHT), :2]
    left, top = reach.min(0).astype(int) - 12
    right, bottom = reach.max(0).astype(int) + 12
    outside[top:bottom, left:right] = False
    assert np.array_equal(frame[outside], photo[outside])
    assert not np.array_equal(frame, photo)


def test_mouths_widen_more_than_the_driver_by_a_known_share(points: Array) -> None:
    now = points.copy()
    now[61, 0] -= 4
    now[291, 0] += 4
    wide = rules.widened(now, points, rules.widening(points))
    grown = wide[291, 0] - wide[61, 0] - (points[291, 0] - points[61, 0])
    assert grown == pytest.approx(8 * (1 + rules.WIDEN))
    assert np.array_equal(rules.widened(points, points, rules.widening(points)), points)
    # Eyes and forehead stay.
    assert np.abs(wide[[33, 263, 10]] - now[[33, 263, 10]]).max() < 0.05
