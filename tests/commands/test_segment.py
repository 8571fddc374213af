"""``segment`` as a user types it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from avatarkit.cli import app
from avatarkit.files.track import Track
from avatarkit.files.track_io import load_track, save_track
from avatarkit.files.video import probe, read_frames
from avatarkit.tracking import TrackOptions, track

runner = CliRunner()


@pytest.fixture(scope="module")
def tracked(clip: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight frames of a real clip, tracked."""
    path = tmp_path_factory.mktemp("segment") / "short.track.npz"
    save_track(track(clip("person05"), TrackOptions(max_frames=8, refine=False)), path)
    return path


def test_track_in_track_with_mattes_and_overlay_out(tracked: Path, tmp_path: Path) -> None:
    out, overlay = tmp_path / "out é.track.npz", tmp_path / "look.mp4"
    result = runner.invoke(
        app, ["segment", str(tracked), "-o", str(out), "--overlay", str(overlay), "--size", "128", "--json"]
    )
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout.splitlines()[-1])
    assert summary["frames"] == summary["segmented"] == 8 and summary["output"] == str(out)
    segmented = load_track(out)
    assert segmented.mattes is not None
    assert set(segmented.mattes[0]) == {"person", "head", "labels", "frame"}
    assert set(segmented.mattes[1]) == {"person", "head", "labels"}
    before = load_track(tracked)
    assert np.array_equal(before.expression, segmented.expression), "nothing else changes"
    info = probe(overlay)
    assert info.frames == 8 and info.width == 2 * info.height
    _, picture = next(iter(read_frames(overlay)))
    assert picture.std() > 20
    assert sorted(p.name for p in tmp_path.iterdir()) == ["look.mp4", "out é.track.npz"], "no leftovers"


def test_through_pipes(tracked: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "avatarkit", "segment", "--size", "64", "--json", "--quiet"],
        input=tracked.read_bytes(),
        capture_output=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert load_track(io.BytesIO(done.stdout)).mattes is not None
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1, "standard error holds the summary and no chatter of libraries"
    assert json.loads(lines[0])["output"] == "-"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["absent.track.npz"], 1, "absent.track.npz: no such file"),
        (["{track}", "-o", "no/such/folder/x.npz"], 1, "the folder no/such/folder does not exist"),
        (["{track}", "-o", "x.npz", "--video", "{track}"], 1, "short.track.npz"),
        (["{track}", "-o", "x.npz", "--matting", "modnet"], 1, "matting_modnet_portrait.pth"),
        (
            ["{track}", "-o", "x.npz", "--parsing", "bisenet", "--weights", "{track}"],
            1,
            "not a file of PyTorch",
        ),
        (["{track}", "-o", "x.npz", "--parsing", "magic"], 2, "magic"),
        (["{track}", "-o", "x.npz", "--size", "7"], 2, "size"),
    ],
)
def test_one_line_and_the_exit_code(
    tracked: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    result = runner.invoke(app, ["segment", *(a.replace("{track}", str(tracked)) for a in arguments)])
    assert result.exit_code == code, result.output
    assert message in result.output
    if code == 1:
        assert len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_track_of_another_video_is_refused(tracked: Path, moving_clip: Path, tmp_path: Path) -> None:
    result = runner.invoke(
        app, ["segment", str(tracked), "--video", str(moving_clip), "-o", str(tmp_path / "x.npz")]
    )
    assert result.exit_code == 1
    assert "not the video this track was made from" in result.stderr
    assert not (tmp_path / "x.npz").exists()


def test_no_valid_frame_is_no_face(
    make_track: Callable[..., Track], moving_clip: Path, tmp_path: Path
) -> None:
    blind = make_track(moving_clip)
    blind.valid[:] = False
    path = tmp_path / "blind.track.npz"
    save_track(blind, path)
    result = runner.invoke(app, ["segment", str(path), "-o", str(tmp_path / "x.npz")])
    assert result.exit_code == 3
    assert "no valid frame" in result.stderr
