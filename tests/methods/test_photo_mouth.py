"""Inside the mouth: what the driver's own picture lends, and the generic teeth."""

from __future__ import annotations

import numpy as np
import pytest

from avatarkit.heads import landmarks as marks
from avatarkit.methods.photo import borrowed
from avatarkit.methods.photo.frames import Similarity
from avatarkit.methods.photo.mouth import Mouth
from avatarkit.methods.photo.polygons import polygon_mask
from tests.methods.test_photo_transfer import face

SKIN, SIZE = np.array([180, 140, 120]), 400
LOOP = list(marks.LIPS_INNER)
STILL = Similarity(1.0, np.eye(3), np.zeros(3))


def test_the_drivers_mouth_arrives_at_the_photos_place_and_light() -> None:
    theirs = face(1200, (200, 190), jawOpen=0.6)
    mine = face(1800, (190, 200), jawOpen=0.6)
    picture = np.broadcast_to(SKIN, (SIZE, SIZE, 3)).astype(np.uint8).copy()
    picture[polygon_mask(theirs[LOOP, :2], SIZE, SIZE)] = (100, 40, 40)
    middle = (theirs[13, :2] + theirs[14, :2]) / 2
    x, y = middle.astype(int)
    picture[y - 2 : y + 3, x - 2 : x + 3] = (60, 60, 90)
    lent = borrowed.interior(picture, theirs, mine[LOOP, :2], 0.8 * SKIN.astype(np.float32))
    assert lent is not None
    color, share = lent.texels[..., :3], lent.texels[..., 3]
    own = np.append((mine[13, :2] + mine[14, :2]) / 2, 1)
    x, y = (lent.map @ own).astype(int)
    assert (share == 1).all()
    assert color[y, x] == pytest.approx(0.8 * np.array([60, 60, 90]), abs=3)
    # Not a pixel of its lips or skin: beyond the mouth its inside goes on.
    assert np.abs(color - 0.8 * SKIN).max(-1).min() > 12
    shut = face(1200, (200, 190))
    shut[14] = shut[13]
    assert borrowed.interior(picture, shut, mine[LOOP, :2], SKIN.astype(np.float32)) is None


def test_a_mouth_seen_larger_than_it_is_drawn_keeps_its_mean() -> None:
    theirs, mine = face(1800, (200, 190), jawOpen=0.6), face(600, (190, 200), jawOpen=0.6)
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    picture[:, ::2] = 200  # gaps between teeth, finer than the picture they go to
    lent = borrowed.interior(picture, theirs, mine[LOOP, :2], np.full(3, 100, np.float32))
    assert lent is not None
    inner = lent.texels[2:-2, 2:-2, 0]
    assert inner.std() < 0.2 * inner.mean()


def test_teeth_shine_where_a_mouth_glares() -> None:
    theirs = face(1200, (200, 190), jawOpen=0.6)
    picture = np.full((SIZE, SIZE, 3), 255, np.uint8)
    lent = borrowed.interior(picture, theirs, theirs[LOOP, :2], np.full(3, 255, np.float32))
    assert lent is not None
    assert lent.texels[..., :3].max() <= borrowed.BRIGHTEST + 0.5


def test_upper_teeth_stay_with_the_skull_and_lower_ones_go_with_the_jaw() -> None:
    """The generic mouth opens wider: rows of bright pixels stay above and sink below."""
    photo = np.broadcast_to(SKIN, (SIZE, SIZE, 3)).astype(np.uint8).copy()
    rest = face(1800, (200, 180))
    mouth = Mouth(photo, rest, generic=True)
    rows = []
    for opened in (0.4, 0.8):
        points = face(1800, (200, 180), jawOpen=opened)
        frame = photo.copy()
        mouth.draw(frame, points, STILL)
        column = frame[:, int(points[13, 0])].astype(int)
        top, bottom = int(points[13, 1]) + 1, int(points[14, 1]) - 1
        inside = column[top:bottom].mean(-1)
        teeth = np.flatnonzero(inside > 0.6 * SKIN.mean()) + top
        assert len(teeth), opened
        rows.append((teeth.min(), teeth.max(), inside.min()))
    first, second = rows
    assert abs(second[0] - first[0]) <= 4
    assert second[2] < 0.4 * SKIN.mean()  # the dark between them


def test_pursed_lips_close_around_the_dark() -> None:
    """What a smile showed of its teeth is not squeezed into a pursed mouth."""
    rest = face(1800, (200, 180), jawOpen=0.3)
    photo = np.broadcast_to(SKIN, (SIZE, SIZE, 3)).astype(np.uint8).copy()
    photo[polygon_mask(rest[LOOP, :2], SIZE, SIZE)] = 220  # nothing but teeth
    mouth = Mouth(photo, rest, generic=False)
    middle = rest[LOOP].mean(0)
    brightness = []
    for narrow in (1.0, 0.45):
        points = rest.copy()
        points[LOOP, 0] = middle[0] + narrow * (rest[LOOP, 0] - middle[0])
        frame = photo.copy()
        mouth.draw(frame, points, STILL)
        brightness.append(frame[polygon_mask(points[LOOP, :2], SIZE, SIZE)].mean())
    assert brightness[0] > 160 and brightness[1] < 90, brightness
