from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from avatarkit.data.clip import ClipFrames, crop_of, split
from avatarkit.data.labels import decode
from avatarkit.files.errors import AvatarkitError, NoFaceError
from avatarkit.files.track import Track

Subject = tuple[Track, Path]


def test_split_holds_out_the_last_tenth_of_the_valid_frames(subject: Subject) -> None:
    track, _ = subject
    valid = track.valid.copy()
    valid[[3, 18]] = False
    training, heldout = split(replace(track, valid=valid), 0.1)
    assert heldout.tolist() == [17, 19]
    assert training.tolist() == [t for t in range(17) if t != 3]
    assert split(track, 0.0)[1].size == 0
    one = np.zeros(20, bool)
    one[5] = True
    assert [part.tolist() for part in split(replace(track, valid=one), 0.5)] == [[5], []]
    with pytest.raises(NoFaceError):
        split(replace(track, valid=np.zeros(20, bool)))


def test_frames_come_back_as_they_were(subject: Subject) -> None:
    track, folder = subject
    x, y, side = track.crop[:3]
    with ClipFrames(track, folder, int(side)) as clip:
        for position in (0, 7, 19):
            frame = cv2.imread(str(folder / f"{position:04d}.png"))[..., ::-1]
            np.testing.assert_array_equal(clip.rgb(position), frame[y : y + side, x : x + side])
            assert track.mattes is not None
            np.testing.assert_array_equal(clip.head(position), decode(track.mattes[position]["head"]))
            assert set(np.unique(clip.labels(position))) == {0, 1}
        assert clip.visible == (0, 0, 64, 64)


def test_only_the_positions_asked_for_are_kept(subject: Subject) -> None:
    track, folder = subject
    with ClipFrames(track, folder, 32, positions=np.array([4, 9])) as clip:
        assert clip.rgb(9).shape == (32, 32, 3)
        with pytest.raises(KeyError):
            clip.rgb(5)


def test_the_first_frames_can_be_had_before_the_others(subject: Subject) -> None:
    track, folder = subject
    steps: list[int] = []
    with ClipFrames(track, folder, 32, lambda at: steps.append(at["steps"]), first=np.array([4, 9])) as clip:
        with pytest.raises(KeyError, match="not read yet"):
            clip.rgb(5)
        early = clip.rgb(9)
        clip.finish(lambda at: steps.append(at["steps"]))
        assert set(steps) == {2, 18}
        with ClipFrames(track, folder, 32) as whole:
            for position in range(20):
                np.testing.assert_array_equal(clip.rgb(position), whole.rgb(position))
                np.testing.assert_array_equal(clip.head(position), whole.head(position))
        np.testing.assert_array_equal(clip.rgb(9), early)


def test_a_crop_beyond_the_frame_repeats_its_edge(subject: Subject) -> None:
    frame = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    crop = crop_of(frame, (-2, 1, 4), 4)
    np.testing.assert_array_equal(crop[0], frame[1, [0, 0, 0, 1]])
    np.testing.assert_array_equal(crop[3], frame[3, [0, 0, 0, 1]])
    track, folder = subject
    wide = replace(track, crop=np.array([-20, -10, 120, 120], np.int32))
    with ClipFrames(wide, folder, 60, positions=np.array([0])) as clip:
        assert clip.visible == (10, 5, 50, 45)


def test_boxes_hold_the_landmarks_they_are_for(subject: Subject) -> None:
    track, folder = subject
    with ClipFrames(track, folder, 64, positions=np.array([0, 1])) as clip:
        mouth, right, left = clip.boxes(0)
        lips = track.landmarks[0, [61, 291, 0, 17], :2] - track.crop[:2]
        assert (lips > mouth[:2]).all() and (lips < mouth[2:]).all()
        assert (right[2:] > right[:2]).all() and (left[2:] > left[:2]).all()


def test_what_cannot_be_read_is_said(subject: Subject) -> None:
    track, folder = subject
    with pytest.raises(AvatarkitError, match="segment"):
        ClipFrames(replace(track, mattes=None), folder, 32)
    with pytest.raises(AvatarkitError, match="ends before"):
        ClipFrames(replace(track, frame=track.frame + 5), folder, 32)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc to measure memory")
def test_memory_does_not_grow_with_the_number_of_frames(subject: Subject) -> None:
    track, folder = subject
    many = np.repeat(np.arange(20), 15)
    assert track.mattes is not None
    mattes = [track.mattes[t] for t in many]
    repeated = replace(track, frame=track.frame[many], valid=np.ones(300, bool), mattes=mattes)

    def resident() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

    before = resident()
    with ClipFrames(repeated, folder, 256) as clip:  # 118 MB of frames
        total = sum(int(clip.rgb(position)[0, 0, 0]) for position in range(300))
        assert total >= 0
        assert resident() - before < 40
