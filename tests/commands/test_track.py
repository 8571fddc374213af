"""``avatarkit track`` as users type it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from avatarkit.files.track import load_track
from avatarkit.files.video import probe


def run(*arguments: object, cwd: Path, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "avatarkit", "track", *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, input=stdin, capture_output=True, env=os.environ, timeout=240, check=False
    )


@pytest.fixture(scope="module")
def tracked(clip, tmp_path_factory):
    folder = tmp_path_factory.mktemp("with space and ü")
    done = run(
        clip("person06"), "-o", "out.npz", "--overlay", "over.mp4", "--max-frames", 20, "--crop", "60,0,288",
        "--json", cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return folder, done


def test_summary_and_track(tracked):
    folder, done = tracked
    summary = json.loads(done.stdout.decode().splitlines()[-1])
    assert summary["frames"] == summary["valid"] == 20
    assert 0 < summary["residual_median_px480"] < 0.6
    assert summary["residual_median_px480"] < summary["residual_p95_px480"] < 2.0
    assert summary["ms_per_frame"] > 0
    assert summary["cuts"] == []
    assert summary["output"] == "out.npz"
    track = load_track(folder / "out.npz")
    assert track.crop.tolist() == [60, 0, 288, 288]
    assert track.video is None


def test_overlay_shows_every_frame_with_something_drawn(tracked, clip):
    from avatarkit.files.video import read_frames

    folder, _ = tracked
    info = probe(folder / "over.mp4")
    assert (info.width, info.height, info.frames) == (360, 288, 20)
    drawn = next(iter(read_frames(folder / "over.mp4")))[1].astype(int)
    plain = next(iter(read_frames(clip("person06"))))[1].astype(int)
    face = np.s_[100:220, 130:250]
    assert np.abs(drawn - plain)[face].mean() > 8
    assert np.abs(drawn - plain)[:40, 320:].mean() < 8


def test_pipe_from_and_to(clip):
    # standard output is a pipe: the track goes there, the summary to standard error
    done = run(
        "-", "--max-frames", 8, "--no-refine", "--json", cwd=Path.cwd(), stdin=clip("person06").read_bytes()
    )
    assert done.returncode == 0, done.stderr.decode()
    import io

    track = load_track(io.BytesIO(done.stdout))
    assert len(track) == 8
    assert track.shapes is None
    assert track.video == clip("person06").read_bytes()
    assert "path" not in track.meta["video"]
    assert json.loads(done.stderr.decode().splitlines()[-1])["output"] == "-"


def test_a_capture_is_written_where_the_name_asks_for_one(clip, tmp_path):
    done = run(clip("person06"), "--max-frames", 6, "--no-refine", "-o", "face.csv", "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    from avatarkit.files.facecap import load_capture

    found = load_capture(tmp_path / "face.csv")
    assert len(found) == 6 and found.valid.all() and len(found.present) == 61


def test_quiet_says_nothing(clip, tmp_path):
    done = run(clip("photo02"), "-o", tmp_path / "p.npz", "--quiet", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("missing.mp4",), 1, "no such file"),
        (("text.mp4",), 1, "text.mp4"),
        (("empty.mp4",), 1, "empty"),
        (("tiny.png",), 3, "no face"),
        (("text.mp4", "--crop", "1,2"), 2, "X,Y,SIZE"),
        (("text.mp4", "--start", "3", "--end", "2"), 2, "end must come after"),
        (("text.mp4", "--face", "biggest"), 2, "--face"),
        (("text.mp4", "--detector", "dlib"), 2, "dlib"),
        (("tiny.png", "--head", "flame"), 2, "unknown head"),
        (("tiny.png", "-o", "nowhere/x.npz"), 1, "does not exist"),
    ],
)
def test_bad_input(arguments, code, says, tmp_path):
    (tmp_path / "text.mp4").write_text("this is no video")
    (tmp_path / "empty.mp4").write_bytes(b"")
    from avatarkit.files.images import write_image

    write_image(tmp_path / "tiny.png", np.full((16, 16, 3), 128, np.uint8))
    out = () if "-o" in arguments else ("-o", "x.npz")
    done = run(*arguments, *out, cwd=tmp_path)
    message = done.stderr.decode()
    assert done.returncode == code, message
    assert says in message
    assert "Traceback" not in message
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty.mp4", "text.mp4", "tiny.png"]


def test_a_dog_leaves_with_three(clip, tmp_path):
    done = run(clip("notperson_dog"), "-o", "dog.npz", cwd=tmp_path)
    assert done.returncode == 3
    assert done.stderr.decode().count("\n") == 1
    assert list(tmp_path.iterdir()) == []
