"""Eyes of the method ``photo`` on a synthetic head."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from avatarkit.heads import landmarks as marks
from avatarkit.methods.photo.eyes import IRIS, LOOPS, Eye
from avatarkit.methods.photo.polygons import polygon_mask
from tests.methods.test_photo_lids import shut
from tests.methods.test_photo_transfer import face

SIZE = 320
SKIN, IRIS_COLOR = np.array([205, 160, 140]), np.array([70, 50, 30])


def painted(points: NDArray[np.float64], glint: bool = False) -> NDArray[np.uint8]:
    """Eyes in the shade whose white is grey, with a dark iris; ``glint``: a bright corner."""
    photo = np.broadcast_to(SKIN, (SIZE, SIZE, 3)).astype(np.uint8).copy()
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    for eye in (0, 1):
        inside = polygon_mask(points[list(LOOPS[eye]), :2], SIZE, SIZE)
        photo[inside] = 110
        center = points[IRIS[eye][0], :2]
        radius = np.linalg.norm(points[IRIS[eye][1], :2] - center)
        if glint:
            photo[inside & (x > center[0] + 1.5 * radius)] = 230
        photo[inside & (np.hypot(x - center[0], y - center[1]) < radius)] = IRIS_COLOR
    return photo


def drawn(photo: NDArray[np.uint8], rest: NDArray[np.float64], now: NDArray[np.float64]) -> NDArray[np.uint8]:
    frame = photo.copy()
    for eye in (0, 1):
        Eye(photo, rest, eye).draw(frame, now)
    return frame


@pytest.fixture(scope="module")
def points() -> NDArray[np.float64]:
    return face(1500, (160, 160))


@pytest.mark.parametrize("glint", [False, True])
def test_at_rest_an_eye_is_the_photos_own(points: NDArray[np.float64], glint: bool) -> None:
    photo = painted(points, glint)
    apart = np.abs(drawn(photo, points, points).astype(int) - photo)
    assert apart.mean(-1).max() < 60  # along the lids, whose edges are soft
    for loop in LOOPS:
        center = points[list(loop), :2].mean(0)
        inner = polygon_mask(center + 0.7 * (points[list(loop), :2] - center), SIZE, SIZE)
        assert apart[inner].mean() < 5


def test_an_eye_in_the_shade_does_not_glow(points: NDArray[np.float64]) -> None:
    """A glint in the corner of the eye says nothing of the white elsewhere."""
    photo = painted(points, glint=True)
    now = points.copy()
    now[list(marks.IRIS_RIGHT + marks.IRIS_LEFT), 0] += 3
    frame = drawn(photo, points, now)
    for eye in (0, 1):
        left = points[IRIS[eye][3], :2].astype(int)  # what the iris uncovers
        assert frame[left[1], left[0] + 1].mean() < 160


def test_irises_go_where_the_landmarks_are(points: NDArray[np.float64]) -> None:
    photo = painted(points)
    now = points.copy()
    now[list(marks.IRIS_RIGHT + marks.IRIS_LEFT), 0] += 4
    frame = drawn(photo, points, now).astype(float)
    x = np.arange(SIZE) + 0.5
    for eye in (0, 1):
        inside = polygon_mask(points[list(LOOPS[eye]), :2], SIZE, SIZE)
        for picture, place in ((photo, points), (frame, now)):
            dark = inside * np.clip(110 - picture.mean(-1), 0, None)
            assert (dark * x).sum() / dark.sum() == pytest.approx(place[IRIS[eye][0], 0], abs=0.8)


def test_a_closing_lid_covers_the_iris_and_does_not_squeeze_it(points: NDArray[np.float64]) -> None:
    photo = painted(points)
    now = shut(points, 0.4)
    frame = drawn(photo, points, now)
    for eye in (0, 1):
        x, y = points[IRIS[eye][0], :2].astype(int)
        assert np.abs(frame[y + 2, x].astype(int) - IRIS_COLOR).max() < 40
