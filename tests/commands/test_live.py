"""``reenact`` from standard input while it comes: frames, coefficients, what breaks off, what is refused."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avatarkit.commands import reenactment
from avatarkit.files import ffmpeg
from avatarkit.files.errors import AvatarkitError, UsageError
from avatarkit.files.images import read_image
from avatarkit.files.video import probe, read_frames
from avatarkit.methods import registry
from tests.commands.test_reenact import avatars, track  # noqa: F401

SIDE = 256


@pytest.fixture(autouse=True)
def _plugged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(registry.METHODS, "picture", "tests.commands.test_reenact:Jaw")
    monkeypatch.setitem(registry.METHODS, "rig", "tests.commands.test_reenact:Rig")
    monkeypatch.chdir(tmp_path)


@contextmanager
def typed(monkeypatch: pytest.MonkeyPatch, pieces: list[bytes], pause: float = 0.0) -> Iterator[None]:
    """Standard input that another process's ``pieces`` come through, one every ``pause`` seconds."""
    reading, writing = os.pipe()

    def write() -> None:
        with open(writing, "wb", buffering=0) as sink:
            try:
                for piece in pieces:
                    sink.write(piece)
                    time.sleep(pause)
            except BrokenPipeError:
                pass

    thread = threading.Thread(target=write)
    with open(reading, "rb") as source:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(source))
        thread.start()
        yield
    thread.join(10)
    assert not thread.is_alive()


def reenacted(avatar: Path, output: str, **options: Any) -> dict[str, Any]:
    job = reenactment.Job((avatar, Path("-")), output=Path(output), threads=1, **options)
    return reenactment.run(job, json=False, quiet=True)


@pytest.fixture(scope="module")
def person(clip: Callable[[str], Path]) -> list[bytes]:
    """40 raw frames [256, 256] of a real clip."""
    frames = read_frames(clip("person05"), 0, 40, size=(SIDE, SIDE))
    return [frame.tobytes() for _, frame in frames]


def test_raw_frames_of_a_person_move_an_avatar(
    avatars: list[Path],  # noqa: F811
    person: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with typed(monkeypatch, person):
        summary = reenacted(avatars[0], "f/%03d.png", input_size=f"{SIDE}x{SIDE}", fps=30.0)
    assert summary["frames"] == 40 and summary["dropped"] == 0 and not summary["torn"]
    assert summary["latency_ms_median"] > 0 and summary["first_frame_seconds"] > 0
    bright = [int(read_image(Path(f"f/{t:03d}.png"))[32, 48, 1]) for t in range(40)]
    assert np.ptp(bright) > 10  # she talks
    assert np.abs(np.diff(bright)).max() < 120


def test_live_drops_what_comes_too_quickly_and_files_keep_the_time(
    avatars: list[Path],  # noqa: F811
    person: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with typed(monkeypatch, person * 3, 0.01):
        summary = reenacted(avatars[0], "o.mp4", newest=True, input_size=f"{SIDE}x{SIDE}", fps=50.0)
    assert summary["frames"] + summary["dropped"] + summary["dropped_at_start"] <= 120
    assert summary["dropped"] + summary["dropped_at_start"] > 10
    if summary["frames"] > 1:
        assert summary["landmarks_to_pixels_ms_median"] <= summary["latency_ms_median"]
    assert probe(Path("o.mp4")).frames >= summary["frames"]


@pytest.mark.parametrize("comma", [False, True])
def test_coefficients_move_an_avatar(
    avatars: list[Path],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    comma: bool,
) -> None:
    jaw = [0.0, 0.04, 0.08, 0.12, 0.06]  # the rest has its mouth far open
    lines = [json.dumps({"time": t / 60, "jawOpen": value}) for t, value in enumerate(jaw)]
    if comma:
        lines = ["Timecode,BlendShapeCount,JawOpen"] + [
            f"01:00:00:{t:02d}.0,61,{value}" for t, value in enumerate(jaw)
        ]
    with typed(monkeypatch, [f"{line}\n".encode() for line in lines]):
        summary = reenacted(avatars[0], "f/%03d.png")
    assert summary["frames"] == 5 and summary["dropped"] == 0
    bright = np.array([int(read_image(Path(f"f/{t:03d}.png"))[32, 48, 1]) for t in range(5)]) / 255
    np.testing.assert_allclose(bright - bright[0], jaw, atol=0.006)


def test_what_cannot_be_is_told(
    avatars: list[Path],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    moving_clip: Path,
) -> None:
    track_bytes, movie = Path("clip.track.npz").read_bytes(), moving_clip.read_bytes()
    rows = b'{"time": 0, "jawOpen": 1}\n'
    for data, options, error, words in (
        (track_bytes, {"newest": True}, AvatarkitError, "a track"),
        (movie, {"newest": True}, AvatarkitError, "standard input"),
        (b"", {}, AvatarkitError, "empty"),
        (b"abc", {"input_size": "64 by 64"}, UsageError, "WIDTHxHEIGHT"),
        (b"abc", {"input_size": "64x64"}, AvatarkitError, "before one 64x64 frame"),
        (rows, {"newest": True, "side_by_side": True}, UsageError, "--side-by-side"),
        (b"not a frame\n" * 900, {"newest": True}, AvatarkitError, "standard input"),
    ):
        with typed(monkeypatch, [data]), pytest.raises(error, match=words):
            reenacted(avatars[0], "o.mp4", **options)
        assert not Path("o.mp4").exists()
    with pytest.raises(UsageError, match="name it -"):
        reenactment.run(reenactment.Job((avatars[0], Path("talk")), newest=True), json=False, quiet=True)


def test_a_track_on_standard_input_is_still_read_as_a_whole(
    avatars: list[Path],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with typed(monkeypatch, [Path("clip.track.npz").read_bytes()]):
        assert reenacted(avatars[0], "o.mp4")["frames"] == 24


def test_output_starts_before_the_input_ends(clip: Callable[[str], Path]) -> None:
    """A real photo, a real clip through ffmpeg, Y4M in and out; then the reader closes the pipe while more comes."""
    side = 128
    command = [sys.executable, "-m", "avatarkit", "reenact", str(clip("photo02")), "-", "--size", str(side)]
    command += ["--stream", "y4m", "-o", "-", "--json", "--quiet"]
    feeding = [ffmpeg.executable(), "-loglevel", "quiet", "-i", str(clip("person05")), "-frames:v", "60"]
    y4m = subprocess.run(
        [*feeding, "-s", "256x256", "-f", "yuv4mpegpipe", "-"], capture_output=True, check=True
    )
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin and process.stdout and process.stderr
    half = len(y4m.stdout) // 2 + 77  # within a frame
    process.stdin.write(y4m.stdout[:half])
    process.stdin.flush()
    header = process.stdout.readline()  # while standard input is open
    assert header.startswith(b"YUV4MPEG2 W128 H") and b"C444" in header
    assert process.poll() is None
    frame = process.stdout.readline()
    assert frame == b"FRAME\n"
    feeder = threading.Thread(target=_written, args=(process.stdin, y4m.stdout[half:]))
    feeder.start()
    process.stdout.close()
    assert process.wait() == 0 and b"Traceback" not in process.stderr.read()
    feeder.join(10)
    assert not feeder.is_alive()
    process.stderr.close()


def _written(sink: Any, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), sink:
        sink.write(data)
