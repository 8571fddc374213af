"""Streams as frames and rows: what came equals what was sent, late ones are dropped, torn ends are told."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from avatarkit.files import ffmpeg
from avatarkit.files.errors import AvatarkitError
from avatarkit.files.feed import CaptureFeed, Feed, kind_of
from avatarkit.files.video import read_frames
from tests.conftest import moving_frame

SIZE = (96, 64)
RAW = b"".join(moving_frame(t).tobytes() for t in range(24))


@contextmanager
def piped(data: bytes, pause: float = 0.0) -> Iterator[BinaryIO]:
    """The reading end of a pipe into which another thread writes ``data``, frame by frame where it is to ``pause``."""
    reading, writing = os.pipe()
    step = SIZE[0] * SIZE[1] * 3 if pause else 1 << 16

    def write() -> None:
        with open(writing, "wb", buffering=0) as sink:
            try:
                for at in range(0, len(data), step):
                    sink.write(data[at : at + step])
                    time.sleep(pause)
            except BrokenPipeError:
                pass

    thread = threading.Thread(target=write)
    thread.start()
    with open(reading, "rb") as source:
        yield source
    thread.join(10)
    assert not thread.is_alive()


def encoded(clip: Path, *options: str) -> bytes:
    command = [ffmpeg.executable(), "-loglevel", "error", "-i", str(clip), *options, "-"]
    return subprocess.run(command, capture_output=True, check=True).stdout


def test_raw_frames_come_as_they_were_sent() -> None:
    with piped(RAW) as source, Feed(SIZE, 30.0, False, source) as feed:
        assert (feed.info.width, feed.info.height, feed.info.fps, feed.info.kind) == (96, 64, 30.0, "stream")
        frames = list(feed.frames())
    assert [index for index, _ in frames] == list(range(24)) and feed.dropped == 0 and not feed.torn
    np.testing.assert_array_equal(np.stack([f for _, f in frames]), [moving_frame(t) for t in range(24)])


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("y4m", ("-f", "yuv4mpegpipe", "-pix_fmt", "yuv444p")),
        ("mjpeg", ("-f", "mjpeg", "-q:v", "2")),
        ("mp4", ("-c:v", "libx264", "-crf", "8", "-movflags", "frag_keyframe+empty_moov", "-f", "mp4")),
    ],
)  # fmt: skip
def test_what_ffmpeg_reads(moving_clip: Path, kind: str, options: tuple[str, ...]) -> None:
    data = encoded(moving_clip, *options)
    assert kind_of(data[:4096]) == kind
    with piped(data) as source, Feed(None, None, False, source) as feed:
        assert feed.info.fps == (25.0 if kind == "mjpeg" else 12.0)
        frames = dict(feed.frames())
    truth = dict(read_frames(moving_clip))
    assert sorted(frames) == list(range(24)) and not feed.torn
    # read from a file colors are not interpolated, which shows around the square; another frame is 12 away
    assert max(np.abs(frames[t].astype(int) - truth[t]).mean() for t in truth) < 4.0


def test_late_frames_are_dropped_and_counted() -> None:
    with piped(RAW, 0.01) as source, Feed(SIZE, None, True, source) as feed:
        taken = []
        for index, frame in feed.frames():
            taken.append(index)
            np.testing.assert_array_equal(frame, moving_frame(index))
            time.sleep(0.035)
    assert taken == sorted(taken) and taken[-1] == 23
    assert feed.dropped > 5 and len(taken) + feed.dropped == 24 and set(feed.arrived) == set(taken)


def test_a_torn_end_is_told() -> None:
    with piped(RAW[:-100]) as source, Feed(SIZE, None, False, source) as feed:
        assert len(list(feed.frames())) == 23 and feed.torn


def test_a_torn_movie_gives_what_came(moving_clip: Path) -> None:
    data = encoded(moving_clip, "-f", "yuv4mpegpipe")
    with piped(data[: len(data) * 2 // 3]) as source, Feed(None, None, False, source) as feed:
        assert 14 <= len(list(feed.frames())) <= 16


@pytest.mark.parametrize(("size", "data"), [(None, b"nothing at all\n" * 400), (SIZE, b"abc"), (None, b"")])
def test_no_frame_is_an_error(size: tuple[int, int] | None, data: bytes) -> None:
    with (
        piped(data) as source,
        Feed(size, None, False, source) as feed,
        pytest.raises(AvatarkitError, match="standard"),
    ):
        _ = feed.info


def test_leaving_early_ends_the_reader() -> None:
    with piped(RAW) as source:
        with Feed(SIZE, None, False, source) as feed:
            next(feed.frames())
        assert next(feed.frames(), None) is not None  # the one it began with; nothing waits for more


def test_kinds() -> None:
    box: Callable[[int, bytes], bytes] = lambda size, name: size.to_bytes(4, "big") + name + bytes(size - 8)  # noqa: E731
    start = box(24, b"ftyp")
    assert kind_of(start + box(8, b"free") + box(90, b"moov")) == "mp4"
    assert kind_of(start + box(40, b"mdat") + box(90, b"moov")) == "whole"
    assert kind_of(b"PK\x03\x04") == "track" and kind_of(b"\x1aE\xdf\xa3") == "other"
    assert kind_of(b'\xef\xbb\xbf {"time": 0}') == "jsonl" and kind_of(b"Timecode,Blend") == "csv"


def test_rows_of_a_capture() -> None:
    lines = [json.dumps({"time": t / 60, "jawOpen": t / 10, "headYaw": 0.1}) for t in range(5)]
    lines.insert(2, json.dumps({"time": 0.02, "valid": False}))
    data = ("\n".join(lines) + "\n" + '{"time": 9, "jawO').encode()
    with piped(data) as source, CaptureFeed(False, False, source) as feed:
        rows = [row for _, row in feed.rows()]
    assert [bool(row.valid[0]) for row in rows] == [True, True, False, True, True, True] and feed.torn
    jaw = [row.columns(["jawOpen"])[0, 0] for row in rows if row.valid[0]]
    np.testing.assert_allclose(jaw, np.arange(5) / 10)


def test_rows_of_live_link_face() -> None:
    data = b"Timecode,BlendShapeCount,JawOpen,HeadYaw\r\n10:00:00:01.5,61,0.25,0.1\r\n10:00:00:02.5,0,,\r\n"
    with piped(data) as source, CaptureFeed(True, False, source) as feed:
        rows = [row for _, row in feed.rows()]
    assert [bool(row.valid[0]) for row in rows] == [True, False] and not feed.torn
    assert rows[0].columns(["jawOpen", "headYaw"]).tolist() == [[0.25, 0.1]]


def test_a_bad_row_is_named() -> None:
    with piped(b'{"time": 0, "jawOpen": 1}\nnonsense\n') as source, CaptureFeed(False, False, source) as feed:
        rows = feed.rows()
        assert next(rows)[1].valid[0]
        with pytest.raises(AvatarkitError, match="standard input, line 2"):
            next(rows)
