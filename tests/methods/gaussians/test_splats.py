"""``export me.ply``: splats from the file, drawn again, are the avatar's picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from avatarkit.cli import app
from avatarkit.files.avatar import load_avatar_file, save_avatar
from avatarkit.files.track import Track
from avatarkit.methods import registry
from avatarkit.methods.driving import still
from avatarkit.methods.gaussians import config
from avatarkit.methods.registry import Subject
from avatarkit.methods.stage import Stage
from avatarkit.ops.native import module
from avatarkit.ops.splat import splat
from tests.files.test_ply import covariances, read

pytestmark = pytest.mark.skipif(module() is None, reason="native kernels are not built")


@pytest.fixture(scope="module")
def avatar(person: tuple[Track, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = config.make(resolution=96, steps=60, minutes=0, count=1500, threads=1)
    made = registry.get("gaussians").fit(Subject(*person), options, lambda at: None)
    path = tmp_path_factory.mktemp("splats") / "me.safetensors"
    save_avatar(path, *made.state())
    return path


def exported(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["export", *map(str, arguments), "--quiet"])
    return result.exit_code, result.stderr


def test_the_file_holds_the_picture_of_its_expression_and_pose(avatar: Path) -> None:
    target = avatar.with_name("me.ply")
    assert exported(avatar, "-o", target, "--set", "jawOpen=0.7", "--yaw", 9, "--roll", -4) == (0, "")
    table = read(target.read_bytes())
    stage = Stage.load(avatar)
    drive = still(stage.avatar.header, {"jawOpen": 0.7}, 9.0, 0.0, -4.0)
    x, y, size = stage.scene.crop
    camera = stage.camera.cropped(x, y, size, 96)
    mean = np.stack([table[n] for n in "xyz"], 1) + drive.translation
    color = 0.5 + 0.28209479 * np.stack([table[f"f_dc_{i}"] for i in range(3)], 1)
    parts = (mean, covariances(table), color, 1 / (1 + np.exp(-table["opacity"])))
    tensors = [torch.from_numpy(np.ascontiguousarray(part, np.float32)) for part in parts]
    dilation = stage.avatar.puppet.dilation(camera)  # type: ignore[attr-defined]
    drawn = splat(*tensors, torch.from_numpy(camera.intrinsics), (96, 96), dilation).numpy()  # type: ignore[arg-type]
    frame = stage.avatar.render(drive, camera)
    assert frame.alpha.max() > 0.9
    # splats of nearly equal depth may change places: a few pixels, by little
    difference = np.abs(drawn - np.dstack([frame.rgb * frame.alpha[..., None], frame.alpha]))
    assert difference.mean() < 1e-4 and np.percentile(difference, 99.9) < 0.01
    other = stage.avatar.render(still(stage.avatar.header, {}), camera)
    assert np.abs(other.rgb * other.alpha[..., None] - drawn[..., :3]).mean() > 0.01


def test_what_cannot_be_exported_is_told(avatar: Path, tmp_path: Path) -> None:
    tensors, header = load_avatar_file(avatar)
    save_avatar(tmp_path / "nerf.safetensors", tensors, {**header, "method": "nerfblendshape"})
    code, message = exported(tmp_path / "nerf.safetensors", "-o", tmp_path / "me.ply")
    assert code == 1 and "nerfblendshape" in message and "distill" in message
    code, message = exported(avatar, "-o", tmp_path / "me.ply", "--set", "noSuch=1")
    assert code == 2 and "noSuch" in message
    code, message = exported(avatar, "-o", tmp_path / "face.csv", "--yaw", "3")
    assert code == 2 and ".ply" in message
    assert exported(avatar, "-o", tmp_path / "me.ply", "--identity", 1)[0] == 2
    assert not list(tmp_path.glob("*.ply")) and not list(tmp_path.glob("*.csv"))
