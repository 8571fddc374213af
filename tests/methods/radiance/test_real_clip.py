"""Every ray method from a real video to its line in a comparison, through the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from avatarkit.cli import app
from avatarkit.files.video import VideoWriter, read_frames
from avatarkit.tracking import TrackOptions, track
from tests.methods.radiance import cases

FRAMES = 10


@pytest.fixture(scope="module")
def short(clip: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The track, with mattes, of the first frames of a real clip at a third of its size."""
    from avatarkit.files.track_io import save_track
    from avatarkit.segmentation import segment

    folder = tmp_path_factory.mktemp("short")
    frames = [frame[::2, ::2] for _, frame in read_frames(clip("person05"), 0, FRAMES)]
    height, width = (size // 2 * 2 for size in frames[0].shape[:2])
    with VideoWriter(folder / "short.mp4", width, height, 25.0, synthetic=False) as writer:
        for frame in frames:
            writer.write(np.ascontiguousarray(frame[:height, :width]))
    found = track(folder / "short.mp4", TrackOptions())
    save_track(segment(found, folder / "short.mp4"), folder / "short.track.npz")
    return folder / "short.track.npz"


def test_from_a_video_to_the_table(short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()

    def run(*words: str) -> dict:
        result = runner.invoke(app, [*words, "--quiet", "--json", "--threads", "1"])
        assert result.exit_code == 0, (words, result.output, result.exception)
        summary: dict = json.loads(result.stdout.splitlines()[-1])
        return summary

    methods = list(cases.TINY)
    for name in methods:
        options = {**cases.TINY[name], "resolution": 32, "steps": 4, "holdout": 0.2}
        words = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
        summary = run("fit", str(short), "--method", name, "-o", f"{name}.safetensors", *words)
        assert summary["method"] == name and summary["steps"] == 4
        assert np.isfinite([summary["train_psnr_head"], summary["heldout_psnr_head"]]).all()
    files = [f"{name}.safetensors" for name in methods]
    table = run("eval", "--compare", *files, "--track", str(short), "--sheet", "all.png", "--lpips", "none")
    assert [line["name"] for line in table["standings"]] == ["mean_image", "nearest_frame", *methods]
    assert all(line["frames_per_second"] > 0 for line in table["standings"][2:])
    video = run("render", files[0], "--driver", str(short), "--max-frames", "2", "-o", "out.mp4")
    assert video["frames"] == 2
    assert Path("all.png").stat().st_size > 1000
