"""Background plate and torso layer of a painted clip whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from avatarkit.data.labels import Label, decode, encode
from avatarkit.data.plate import (
    background_plate,
    person_in_frame,
    pull_push,
    torso_layer,
    usual_torso,
)
from avatarkit.files.errors import AvatarkitError
from avatarkit.files.track import Track
from avatarkit.files.video import VideoWriter

WIDTH, HEIGHT, FRAMES, CROP = 160, 120, 21, (30, 4, 96)
MIDDLE = 10
SHIRT, NECK, FACE = (40, 60, 150), (200, 150, 130), (215, 165, 140)


def wall() -> np.ndarray:
    """[HEIGHT, WIDTH, 3] a smooth pattern, so that compression leaves it alone."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.dstack([120 + 60 * np.sin(x / 17), 130 + 50 * np.cos(y / 13), 90 + x / 2]).astype(np.uint8)


def at(t: int) -> int:
    """Horizontal place of the person."""
    return 62 + 2 * t if t <= 10 else 62 + 2 * (20 - t)


def shapes(t: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[HEIGHT, WIDTH] masks of head, neck below the chin, shirt."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    head = ((x - at(t)) / 17) ** 2 + ((y - 45) / 23) ** 2 < 1
    neck = (np.abs(x - at(t)) < 9) & (y > 50) & (y < 82) & ~head
    shirt = (((x - at(t)) / 38) ** 2 + ((y - 122) / 42) ** 2 < 1) & ~head & ~neck
    return head, neck, shirt


@pytest.fixture(scope="module")
def clip_of_a_person(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plate") / "person.mp4"
    with VideoWriter(path, WIDTH, HEIGHT, 12.0, synthetic=False, crf=2) as writer:
        for t in range(FRAMES):
            frame = wall()
            for mask, color in zip(shapes(t), (FACE, NECK, SHIRT), strict=True):
                frame[mask] = color
            writer.write(frame)
    return path


@pytest.fixture
def segmented(clip_of_a_person: Path, make_track: Callable[..., Track]) -> Track:
    """A track of the clip with true mattes."""
    track = make_track(clip_of_a_person, FRAMES)
    x, y, side = CROP
    track.crop[:] = (x, y, side, side)
    track.expression[:] = 0
    mattes = []
    for t in range(FRAMES):
        head, neck, shirt = shapes(t)
        labels = np.select([head, neck, shirt], [Label.SKIN, Label.NECK, Label.TORSO], Label.BACKGROUND)
        part = np.s_[y : y + side, x : x + side]
        person = (head | neck | shirt).astype(np.float32)
        pictures = {
            "person": encode(person[part]),
            "head": encode((head | (neck & (np.arange(HEIGHT)[:, None] < 74)))[part].astype(np.float32)),
            "labels": encode(labels[part].astype(np.uint8)),
        }
        if t % 2 == 0:
            pictures["frame"] = encode(person)
        mattes.append(pictures)
        track.landmarks[t, 152, :2] = at(t), 67
        track.landmarks[t, 10, :2] = at(t), 25
        track.translation[t] = (at(t) - WIDTH / 2) / 256 * 0.6, 0, 0.6
    return replace(track, mattes=mattes)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2)))


def test_pull_push_keeps_what_is_known_and_fills_the_rest_smoothly() -> None:
    y, x = np.mgrid[:61, :83]
    image = np.dstack([x, y, x + y]).astype(np.float32)
    weight = np.ones((61, 83), np.float32)
    weight[15:45, 20:60] = 0
    filled = pull_push(image * weight[..., None], weight)
    known = weight > 0
    assert np.abs(filled - image)[known].max() < 1e-3
    assert np.abs(filled - image)[~known].mean() < 6, "a linear ramp is about continued"
    assert filled[~known].min() >= -1e-3 and filled[~known].max() <= (image.max() + 1e-3)
    constant = pull_push(
        np.full((7, 5, 1), 3, np.float32), (np.arange(35).reshape(7, 5) == 11).astype(np.float32)
    )
    assert np.abs(constant - 3).max() < 1e-4
    assert not pull_push(np.zeros((4, 4, 2), np.float32), np.zeros((4, 4), np.float32)).any()


def test_the_plate_is_the_wall_where_it_was_seen(segmented: Track, clip_of_a_person: Path) -> None:
    plate = background_plate(segmented, clip_of_a_person)
    assert plate.shape == (HEIGHT, WIDTH, 3) and plate.dtype == np.uint8
    covered = np.mean([sum(shapes(t)) > 0 for t in range(FRAMES)], 0)
    seen = cv2.dilate((covered > 0).astype(np.uint8), np.ones((15, 15))) == 0
    assert psnr(plate[seen], wall()[seen]) > 34
    uncovered_at_times = (covered > 0.05) & (covered < 0.4)
    assert uncovered_at_times.sum() > 500
    assert psnr(plate[uncovered_at_times], wall()[uncovered_at_times]) > 22
    # nothing of the person is left anywhere: no shirt blue, no skin
    for color in (SHIRT, FACE):
        assert (np.abs(plate.astype(int) - color).max(-1) < 14).sum() < 40
    assert np.array_equal(plate, background_plate(segmented, clip_of_a_person)), "same track, same bytes"


def test_the_torso_layer_goes_on_behind_the_head(segmented: Track, clip_of_a_person: Path) -> None:
    layer = torso_layer(segmented, clip_of_a_person, MIDDLE)
    assert layer is not None and layer.shape == (HEIGHT, WIDTH, 4)
    head, neck, shirt = shapes(MIDDLE)
    alpha = layer[..., 3]
    core = cv2.erode(shirt.astype(np.uint8), np.ones((7, 7))) > 0
    assert alpha[core].min() > 200 and alpha[core].mean() > 250
    assert np.abs(layer[core, :3].astype(int) - SHIRT).mean() < 4
    assert alpha[:40].max() < 8, "nothing of the layer above the mouth"
    nothing = cv2.dilate((head | neck | shirt).astype(np.uint8), np.ones((9, 9))) == 0
    assert alpha[nothing].max() < 8
    # The neck that the head matte took is still there, and goes on upwards behind the chin, skin-colored.
    column = layer[60:76, at(MIDDLE)]
    assert column[:, 3].min() > 200
    assert np.abs(column[:, :3].astype(int) - NECK).max() < 60
    below = layer[78, at(MIDDLE)]
    assert below[3] > 240 and np.abs(below[:3].astype(int) - NECK).max() < 12


def test_head_over_torso_over_plate_gives_the_frame_back(segmented: Track, clip_of_a_person: Path) -> None:
    truth = wall()
    for mask, color in zip(shapes(MIDDLE), (FACE, NECK, SHIRT), strict=True):
        truth[mask] = color
    layer = torso_layer(segmented, clip_of_a_person, MIDDLE)
    assert layer is not None
    alpha = layer[..., 3:] / 255
    picture = background_plate(segmented, clip_of_a_person) * (1 - alpha) + layer[..., :3] * alpha
    x, y, side = CROP
    head = np.zeros((HEIGHT, WIDTH, 1))
    assert segmented.mattes is not None
    head[y : y + side, x : x + side, 0] = decode(segmented.mattes[MIDDLE]["head"]) / 255
    picture = picture * (1 - head) + truth * head
    assert psnr(picture, truth) > 27


def test_the_person_in_the_frame_joins_both_mattes(segmented: Track) -> None:
    for t in (0, 7):  # frame 7 has no matte of the whole frame, a neighbor's serves
        truth = sum(shapes(t)) > 0
        matte = person_in_frame(segmented, t)
        assert matte.shape == (HEIGHT, WIDTH)
        inner = np.s_[20:90, 50:110]
        assert np.abs(matte[inner] / 255 - truth[inner]).mean() < 0.02


def test_a_frame_may_be_chosen(segmented: Track, clip_of_a_person: Path) -> None:
    layer = torso_layer(segmented, clip_of_a_person, 9)
    assert layer is not None
    columns = np.flatnonzero(layer[110, :, 3] > 128)
    assert abs(columns.mean() - at(9)) < 3


def test_the_torso_is_taken_from_where_it_usually_is(segmented: Track) -> None:
    torso = np.tile(np.eye(2, 3, dtype=np.float32), (FRAMES, 1, 1))
    torso[4:, 0, 2] = 30 + np.arange(FRAMES - 4) % 3  # the person sits down after the fourth frame
    still = np.tile(np.diag([1.0, -1.0, -1.0]).astype(np.float32), (FRAMES, 1, 1))
    followed = replace(
        segmented, torso=torso, torso_confidence=np.ones(FRAMES, np.float32), rotation=still,
        expression=np.zeros_like(segmented.expression),
    )  # fmt: skip
    assert torso[usual_torso(followed, 0), 0, 2] == 31
    assert usual_torso(replace(followed, torso=None, torso_confidence=None), 3) == 3
    seldom = (np.arange(FRAMES) < 5).astype(np.float32)
    assert usual_torso(replace(followed, torso_confidence=seldom), 3) == 3, "too few frames show how it moves"


def test_a_track_without_mattes_is_refused(make_track: Callable[..., Track], moving_clip: Path) -> None:
    track = make_track(moving_clip)
    for make in (background_plate, partial(torso_layer, position=0)):
        with pytest.raises(AvatarkitError, match="run 'avatarkit segment' on it first"):
            make(track, moving_clip)


def test_damaged_mattes_are_named() -> None:
    with pytest.raises(AvatarkitError, match="mattes are damaged"):
        decode(b"no picture")
    image = np.random.default_rng(0).integers(0, 256, (9, 7)).astype(np.uint8)
    assert np.array_equal(decode(encode(image)), image)
    assert np.array_equal(decode(encode(image / np.float32(255))), image)
