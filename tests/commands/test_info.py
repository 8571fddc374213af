"""``info`` tells the truth about every kind of file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from avatarkit import heads
from avatarkit.cli import app
from avatarkit.files.avatar import save_avatar
from avatarkit.files.images import write_image
from avatarkit.files.track import Track, save_track
from avatarkit.heads.headfile import save_head


def told(*arguments: str | Path, stdin: bytes | None = None) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["info", *map(str, arguments), "--json"], input=stdin)
    assert result.exit_code == 0, result.stderr
    facts: dict[str, Any] = json.loads(result.stdout)
    return facts


def table(path: Path) -> str:
    result = CliRunner().invoke(app, ["info", str(path)])
    assert result.exit_code == 0, result.stderr
    return str(result.stdout)


def test_a_video(moving_clip: Path) -> None:
    facts = told(moving_clip)
    assert facts["kind"] == "video" and facts["size"] == [96, 64] and facts["frames"] == 24
    assert (
        facts["fps"] == 12 and facts["seconds"] == 2 and facts["codec"] == "h264" and facts["audio"] is None
    )
    assert "96, 64" in table(moving_clip)
    assert told("-", stdin=moving_clip.read_bytes())["sha256"] == facts["sha256"]


def test_a_photo_and_a_folder(tmp_path: Path) -> None:
    for i in range(3):
        write_image(tmp_path / f"{i}.png", np.zeros((6, 8, 3), np.uint8))
    assert told(tmp_path)["kind"] == "image folder" and told(tmp_path)["frames"] == 3
    assert told(tmp_path / "1.png")["kind"] == "photo"


def test_a_track(tmp_path: Path, make_track: Callable[..., Track], moving_clip: Path) -> None:
    track = make_track(moving_clip)
    track.valid[20:] = False
    yaw = np.linspace(-15, 15, 24)
    turns = Rotation.from_euler("y", yaw[:, None], degrees=True).as_matrix()
    track.rotation = (np.diag([1.0, -1.0, -1.0]) @ turns).astype(np.float32)
    track.mattes = [{"head": b"x", "person": b"y"}] * 24
    track.expression[:] = 0
    track.expression[:10, 24] = 0.8
    path = tmp_path / "t.track.npz"
    save_track(track, path)
    facts = told(path)
    assert facts["kind"] == "track" and (facts["frames"], facts["valid"]) == (24, 20)
    assert facts["mattes"] == ["head", "person"] and facts["video"] == "moving.mp4"
    assert facts["most_active"]["jawOpen"] == 0.8
    low, high = facts["pose_range_degrees"]["yaw"]
    assert (
        abs(low + 15) < 1 and abs(high - yaw[19]) < 1 and abs(facts["pose_range_degrees"]["pitch"][1]) < 0.1
    )
    expected = np.median(track.residual[:20]) * 480 / 96
    assert abs(facts["residual_median_px480"] - expected) < 1e-2
    text = table(path)
    assert "jawOpen" in text and "moving.mp4" in text


def test_an_avatar(tmp_path: Path) -> None:
    path = tmp_path / "me.safetensors"
    save_avatar(path, {"table": torch.zeros(10, 4), "bias": torch.zeros(5)}, {
        "method": "nerfblendshape", "resolution": 256, "expression_names": ["a", "b"],
        "metrics": {"heldout_psnr_head": 27.25, "seconds": 600.0}, "crop": list(range(40)),
    })  # fmt: skip
    facts = told(path)
    assert facts["kind"] == "avatar" and facts["method"] == "nerfblendshape" and facts["numbers"] == 45
    assert facts["metrics"]["heldout_psnr_head"] == 27.25 and facts["expressions"] == 2
    text = table(path)
    assert "27.25" in text and "40 values" in text


def test_a_head_model(tmp_path: Path) -> None:
    head = heads.load("builtin")
    save_head(head, tmp_path / "mine.head.npz")
    facts = told(tmp_path / "mine.head.npz")
    assert facts["kind"] == "head model" and facts["vertices"] == len(head.vertices)
    assert facts["hash"] == head.hash() and "jawOpen" in facts["expressions"]
