"""The verbs that take any avatar, with one of this method: stills and orbits, reenactment, distillation, the viewer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from avatarkit.cli import app
from avatarkit.files.images import read_image
from avatarkit.files.video import read_frames
from avatarkit.methods.nha.avatar import NeuralHeadAvatar
from avatarkit.methods.stage import Stage
from avatarkit.ops.native import module
from avatarkit.viewing.session import Session, View

pytestmark = pytest.mark.skipif(module() is None, reason="native kernels are not built")


def run(*words: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*words, "--threads", "1", "--json", "--quiet"])
    assert result.exit_code == 0, (result.stderr, result.exception)
    summary: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return summary


def apart(first: np.ndarray, second: np.ndarray) -> float:
    """Mean difference of two pictures, gray levels."""
    return float(np.abs(first.astype(int) - second).mean())


def test_stills_and_orbits(folder: Path) -> None:
    for name, words in {"plain": (), "turned": ("--yaw", "30"), "talking": ("--set", "jawOpen=.8")}.items():
        run("render", "me.safetensors", "-o", f"{name}.png", *words)
    plain, turned, talking = (read_image(Path(f"{name}.png")) for name in ("plain", "turned", "talking"))
    assert plain.shape == (64, 64, 3)
    assert apart(plain, turned) > 3 and 0.1 < apart(plain, talking) < apart(plain, turned)
    summary = run("render", "me.safetensors", "--driver", "me.track.npz", "--orbit", "30", "-o", "orbit.mp4")
    frames = [frame for _, frame in read_frames(Path("orbit.mp4"))]
    assert summary["frames"] == len(frames) == 14 and apart(frames[3], frames[10]) > 3


def test_reenactment(folder: Path) -> None:
    summary = run("reenact", "me.safetensors", "turn", "--max-frames", "12", "-o", "re.mp4")
    frames = [frame for _, frame in read_frames(Path("re.mp4"))]
    assert summary["frames"] == len(frames) == 12 and apart(frames[0], frames[-1]) > 0.5


def test_distillation(folder: Path) -> None:
    words = ("--frames", "20", "--steps", "30", "--count", "500", "--track", "me.track.npz")
    summary = run("distill", "me.safetensors", "-o", "live.safetensors", "--resolution", "64", *words)
    assert summary["teacher_psnr"] > 10
    assert Stage.load(Path("live.safetensors")).avatar.header["method"] == "gaussians"


def test_the_viewer(avatar: NeuralHeadAvatar) -> None:
    session = Session(Stage.of(avatar, {}))
    assert session.description()["orbits"]

    def image(**request: Any) -> np.ndarray:
        return session.image(View.of({"size": 64, **request}, session.names))

    rest = image()
    assert rest.shape == (64, 64, 3)
    assert apart(rest, image(yaw=25)) > 2 and apart(rest, image(orbitYaw=25)) > 2
    assert apart(rest, image(expression={"jawOpen": 0.8})) > 0.1
