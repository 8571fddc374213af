"""Where rendered frames go."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest

from avatarkit.files.errors import UsageError
from avatarkit.files.images import read_image
from avatarkit.files.sinks import holds_one_frame, open_sink
from avatarkit.files.video import probe

FRAMES = np.random.default_rng(0).integers(0, 255, (3, 20, 32, 3)).astype(np.uint8)


def write(path: Path | None) -> None:
    with open_sink(path, 32, 20, 25.0) as sink:
        for frame in FRAMES:
            sink.write(frame)


def test_numbered_pictures_and_one_picture(tmp_path: Path) -> None:
    (tmp_path / "new folder").mkdir()
    write(tmp_path / "new folder" / "%03d.png")
    names = sorted(p.name for p in (tmp_path / "new folder").iterdir())
    assert names == ["000.png", "001.png", "002.png"]
    assert (read_image(tmp_path / "new folder" / "002.png") == FRAMES[2]).all()
    assert holds_one_frame(tmp_path / "a.png") and not holds_one_frame(tmp_path / "%d.png")
    assert not holds_one_frame(None) and not holds_one_frame(tmp_path / "a.mp4")


def test_video_and_raw_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.mp4")
    assert probe(tmp_path / "a.mp4").frames == 3

    class Pipe(io.StringIO):
        buffer = io.BytesIO()

    monkeypatch.setattr(sys, "stdout", Pipe())
    write(None)
    assert Pipe.buffer.getvalue() == FRAMES.tobytes()


def test_unknown_kinds_are_refused(tmp_path: Path) -> None:
    for name in ("a.txt", "a", "%x%y.png"):
        with pytest.raises(UsageError):
            open_sink(tmp_path / name, 32, 20, 25.0)
