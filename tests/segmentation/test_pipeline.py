"""The whole segmentation on short pieces of the real clips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from avatarkit.data.labels import Label, decode
from avatarkit.files.errors import AvatarkitError, NoFaceError, UsageError
from avatarkit.files.track import Track
from avatarkit.files.video import read_frames_at
from avatarkit.heads.landmarks import EYE_LEFT, EYE_RIGHT, LIPS_OUTER, OVAL
from avatarkit.segmentation import SegmentOptions, segment
from avatarkit.segmentation.matting import SelfieMatter
from tests.segmentation.conftest import Segmented

Get = Callable[[str], Segmented]


def filled(points: np.ndarray, size: int) -> np.ndarray:
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [points.round().astype(np.int32)], 1)
    return mask > 0


def few(track: Track, count: int) -> Track:
    """The first ``count`` frames."""
    keys = (
        "frame",
        "valid",
        "rotation",
        "translation",
        "expression",
        "neck",
        "jaw",
        "eyes",
        "landmarks",
        "residual",
    )
    cut = {key: getattr(track, key)[:count].copy() for key in keys}
    optional = dict.fromkeys(("torso", "torso_confidence", "extra", "mattes"))
    return replace(track, **cut, **optional)


@pytest.mark.parametrize("name", ["person02", "person03", "person05"])
def test_the_face_is_head_and_the_shoulders_are_not(segmented: Get, name: str) -> None:
    piece = segmented(name)
    person, head, labels = (piece.mattes(kind) for kind in ("person", "head", "labels"))
    size = piece.window.size
    assert person.shape == head.shape == labels.shape == (20, size, size)
    assert set(np.unique(labels)) <= {int(label) for label in Label}
    inside = piece.window.inside()
    for t in range(0, 20, 6):
        face = filled(piece.points(t)[list(OVAL)], size) & inside
        core = cv2.erode(face.astype(np.uint8), np.ones((9, 9))) > 0
        assert head[t][core].mean() > 0.97 * 255, "the face is head"
        assert (labels[t][core] != Label.BACKGROUND).mean() > 0.995
        assert (head[t].astype(int) <= person[t].astype(int) + 1).all(), "no head without a person"
        torso = labels[t] == Label.TORSO
        low = np.arange(size)[:, None] > piece.points(t)[152, 1] + 0.3 * (
            piece.points(t)[152, 1] - piece.points(t)[10, 1]
        )
        if (torso & low).sum() > 500:
            assert head[t][torso & low].mean() < 0.06 * 255, "no shoulders in the head"
            assert person[t][torso & low].mean() > 0.9 * 255
    corners = np.concatenate([person[:, :12, :12].ravel(), person[:, :12, -12:].ravel()])
    assert corners.mean() < 3, "the upper corners are background"


def test_labels_sit_on_their_features(segmented: Get) -> None:
    piece = segmented("person03")
    labels = piece.mattes("labels")
    for t in (0, 10, 19):
        points = piece.points(t)
        for ring, label in ((EYE_LEFT, Label.EYES), (EYE_RIGHT, Label.EYES), (LIPS_OUTER, Label.LIPS)):
            there = (
                cv2.erode(filled(points[list(ring)], labels.shape[1]).astype(np.uint8), np.ones((3, 3))) > 0
            )
            found = np.isin(labels[t][there], (label, Label.MOUTH_INTERIOR))
            assert found.mean() > 0.9
        nose, forehead = (
            points[4].round().astype(int),
            (points[10] * 0.7 + points[9] * 0.3).round().astype(int),
        )
        assert labels[t][nose[1], nose[0]] == Label.SKIN
        assert labels[t][forehead[1], forehead[0]] == Label.SKIN
        crown = points[10] + 0.22 * (points[10] - points[152])
        assert labels[t][int(crown[1]), int(crown[0])] == Label.HAIR


def test_long_hair_beside_the_neck_is_kept(segmented: Get) -> None:
    piece = segmented("person02")
    head, labels = piece.mattes("head"), piece.mattes("labels")
    beside, kept = 0, 0
    for t in range(0, 20, 4):
        points = piece.points(t)
        below_mouth = np.arange(labels.shape[1])[:, None] > points[14, 1]
        hair = (labels[t] == Label.HAIR) & below_mouth & (piece.mattes("person")[t] > 200)
        beside += int(hair.sum())
        kept += int((head[t][hair] > 180).sum())
    assert beside > 5 * 2000, "there is hair beside the neck"
    assert kept > 0.85 * beside


def test_the_neck_is_cut_softly(segmented: Get) -> None:
    piece = segmented("person05")
    head, person = piece.mattes("head"), piece.mattes("person")
    for t in (0, 19):
        x, chin = piece.points(t)[152].round().astype(int)
        column = head[t][chin:, x].astype(float) / 255
        assert column[0] > 0.9 and column[-1] < 0.02
        assert person[t][chin:, x].min() > 230
        assert np.abs(np.diff(column)).max() < 0.5, "no hard line"


def still_flicker(piece: Segmented, mattes: np.ndarray, raw: np.ndarray) -> float:
    """Mean absolute change along the motion in the uncertain band of the raw matte, in pixels of edge motion."""
    gray = [cv2.cvtColor(canvas, cv2.COLOR_RGB2GRAY) for canvas in piece.canvases()]
    size = gray[0].shape[0]
    here = np.mgrid[:size, :size][::-1].transpose(1, 2, 0).astype(np.float32)
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    change, slope = 0.0, 0.0
    for t in range(len(gray) - 1):
        follow = here + flow.calc(gray[t], gray[t + 1], None)
        apart = np.abs(cv2.remap(mattes[t + 1], follow, None, cv2.INTER_LINEAR) - mattes[t])
        steep = np.hypot(*(cv2.Sobel(mattes[t], -1, *d, scale=1 / 8) for d in ((1, 0), (0, 1))))
        band = (raw[t] > 0.05) & (raw[t] < 0.95) & piece.window.inside()
        change, slope = change + apart[band].sum(), slope + steep[band].sum()
    return change / slope


def test_flicker_falls(segmented: Get) -> None:
    piece = segmented("person02")
    with SelfieMatter() as matter:
        raw = []
        for _, frame in read_frames_at(piece.source, piece.track.frame):
            image = piece.window.grid_of(frame)
            raw.append(piece.window.grid_to_canvas(matter._network.process(image).segmentation_mask))
    before = still_flicker(piece, np.stack(raw), np.stack(raw))
    after = still_flicker(piece, piece.mattes("person").astype(np.float32) / 255, np.stack(raw))
    assert after < 0.65 * before


def test_the_whole_frame_is_matted_now_and_then(segmented: Get) -> None:
    piece = segmented("person03")
    assert piece.track.mattes is not None
    present = [t for t, mattes in enumerate(piece.track.mattes) if "frame" in mattes]
    assert present == [0, 10]
    assert decode(piece.track.mattes[0]["frame"]).shape == (512, 288)
    size = np.mean([sum(len(data) for data in mattes.values()) for mattes in piece.track.mattes])
    assert size < 60_000, "mattes stay small"


def test_same_input_same_bytes_and_frames_without_a_face(segmented: Get) -> None:
    piece = segmented("person05")
    track = few(piece.track, 6)
    track.valid[3] = False
    options = SegmentOptions(size=128, steady=1)
    first, second = (segment(track, piece.source, options) for _ in range(2))
    assert first.mattes == second.mattes
    assert first.mattes is not None and set(first.mattes[3]) == {"person"}
    assert track.mattes is None, "the given track is left alone"
    assert first.meta["segment"]["matting"] == "selfie" and first.meta["segment"]["size"] == 128


def test_a_photo_is_a_clip_of_one_frame(clip: Callable[[str], Path]) -> None:
    from avatarkit.tracking import TrackOptions, track

    photo = clip("photo01")
    result = segment(track(photo, TrackOptions(refine=False)), photo)
    assert result.mattes is not None and set(result.mattes[0]) == {"person", "head", "labels", "frame"}


def test_without_parts_the_person_is_the_same(clip: Callable[[str], Path]) -> None:
    from avatarkit.tracking import TrackOptions, track

    photo = clip("photo03")
    found = track(photo, TrackOptions(refine=False))
    made = [segment(found, photo, SegmentOptions(parts=parts)).mattes for parts in (True, False)]
    assert made[0] is not None and made[1] is not None
    whole, person = made[0][0], made[1][0]
    assert set(person) == {"person", "frame"}
    assert set(whole) == {"person", "frame", "head", "labels"}
    assert all(person[name] == whole[name] for name in person)


def test_what_does_not_fit_is_said(segmented: Get, moving_clip: Path) -> None:
    piece = segmented("person05")
    track = few(piece.track, 2)
    with pytest.raises(AvatarkitError, match="the track is of a 512x512 video, but this one has 96x64"):
        segment(track, moving_clip)
    with pytest.raises(UsageError, match="--matting green: choose selfie or modnet"):
        segment(track, piece.source, SegmentOptions(matting="green"))
    with pytest.raises(UsageError, match="--parsing none: choose mesh or bisenet"):
        segment(track, piece.source, SegmentOptions(parsing="none"))
    track.valid[:] = False
    with pytest.raises(NoFaceError, match="no valid frame"):
        segment(track, piece.source)
