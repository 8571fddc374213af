"""From a real video to a rendered, evaluated and exported head, through the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from avatarkit.cli import app
from avatarkit.files.video import VideoWriter, read_frames
from avatarkit.ops.native import module

pytestmark = pytest.mark.skipif(module() is None, reason="native kernels are not built")


def test_from_a_video_to_a_head(
    clip: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [frame[::2, ::2] for _, frame in read_frames(clip("person05"), 0, 8)]
    height, width = (size // 2 * 2 for size in frames[0].shape[:2])
    with VideoWriter(tmp_path / "short.mp4", width, height, 25.0, synthetic=False) as writer:
        for frame in frames:
            writer.write(np.ascontiguousarray(frame[:height, :width]))
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()

    def run(*words: str) -> dict:
        result = runner.invoke(app, [*words, "--quiet", "--json"])
        assert result.exit_code == 0, (words, result.output, result.exception)
        summary: dict = json.loads(result.stdout.splitlines()[-1])
        return summary

    run("track", "short.mp4", "-o", "raw.track.npz")
    run("segment", "raw.track.npz", "-o", "short.track.npz")
    words = ("--resolution", "64", "--steps", "8", "--holdout", "0.3", "--threads", "1")
    fitted = run("fit", "short.track.npz", "--method", "nha", "-o", "me.safetensors", *words)
    assert np.isfinite([fitted["train_psnr_head"], fitted["heldout_psnr_head"]]).all()
    rows = run("eval", "me.safetensors", "--track", "short.track.npz", "--lpips", "none")["rows"]
    assert {row["name"] for row in rows} >= {"me", "mean_image", "nearest_frame"}
    assert run("render", "me.safetensors", "--driver", "short.track.npz", "-o", "out.mp4")["frames"] == 8
    assert run("export", "me.safetensors", "--texture", "64", "-o", "me.glb")["targets"] == 52
