"""``export``: what other programs would read from the files agrees with the track they came from."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from avatarkit.cli import app
from avatarkit.data.datasets import pose_of
from avatarkit.files.facecap import load_capture
from avatarkit.files.images import encoded, read_image
from avatarkit.files.track import Track, save_track

RESOLUTION = 48


@pytest.fixture
def track(make_track: Callable[..., Track], moving_clip: Path, tmp_path: Path, monkeypatch: Any) -> Track:
    monkeypatch.chdir(tmp_path)
    track = make_track(moving_clip)
    matte = np.zeros((64, 64), np.uint8)
    matte[16:48, 8:40] = 255
    image = encoded(matte)
    video = track.meta["video"]
    around = encoded(np.zeros((video["height"], video["width"]), np.uint8))
    kinds = {"person": image, "head": image, "labels": encoded((matte > 0).astype(np.uint8)), "frame": around}
    track.mattes = [dict(kinds) for _ in track.frame]
    track.valid[5] = False
    save_track(track, Path("clip.track.npz"))
    return track


def exported(*arguments: str, code: int = 0) -> Any:
    result = CliRunner().invoke(app, ["export", "clip.track.npz", *arguments, "--json", "--quiet"])
    assert result.exit_code == code, (result.stderr, result.exception)
    return json.loads(result.stdout.splitlines()[-1]) if code == 0 else result.stderr


def test_capture_has_every_frame_and_marks_the_lost_one(track: Track) -> None:
    summary = exported("-o", "face.csv")
    assert summary["frames"] == len(track) and summary["valid"] == len(track) - 1
    found = load_capture(Path("face.csv"))
    assert found.valid.tolist() == track.valid.tolist()
    exported("-o", "face.jsonl")
    again = CliRunner().invoke(app, ["export", "face.jsonl", "-o", "again.csv", "-q"])
    assert again.exit_code == 0, again.stderr
    np.testing.assert_allclose(load_capture(Path("again.csv")).values, found.values, atol=2e-6)


def poses(frames: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    made = [pose_of(np.array(frame["transform_matrix"])) for frame in frames]
    return np.stack([p[0] for p in made]), np.stack([p[1] for p in made])


def test_nerfstudio(track: Track) -> None:
    summary = exported("-o", "studio", "--resolution", str(RESOLUTION))
    good = np.flatnonzero(track.valid)
    assert summary["frames"] == len(good)
    whole = json.loads(Path("studio/transforms.json").read_text())
    rotation, translation = poses(whole["frames"])
    np.testing.assert_allclose(rotation, track.rotation[good], atol=1e-6)
    np.testing.assert_allclose(translation, track.translation[good], atol=1e-6)
    assert len(whole["train_filenames"]) + len(whole["test_filenames"]) == len(good)
    image = read_image(Path("studio") / whole["frames"][0]["file_path"])
    assert image.shape[:2] == (RESOLUTION, RESOLUTION) == (whole["h"], whole["w"])
    # OpenGL camera: a point of the head in front of it lies at negative z
    to_camera = np.linalg.inv(np.array(whole["frames"][0]["transform_matrix"]))
    point = to_camera @ [0.02, 0.03, 0.01, 1]
    assert point[2] < 0
    u = whole["fl_x"] * point[0] / -point[2] + whole["cx"]
    scale = RESOLUTION / track.crop[2]
    seen = track.rotation[good[0]] @ [0.02, 0.03, 0.01] + track.translation[good[0]]
    k = track.intrinsics
    assert u == pytest.approx((k[0, 0] * seen[0] / seen[2] + k[0, 2] - track.crop[0]) * scale, abs=1e-3)


def test_nerfblendshape(track: Track) -> None:
    exported("-o", "blend", "--layout", "nerfblendshape", "--resolution", str(RESOLUTION))
    whole = json.loads(Path("blend/transforms.json").read_text())
    good = np.flatnonzero(track.valid)
    assert [f["img_id"] for f in whole["frames"]] == track.frame[good].tolist()
    np.testing.assert_allclose([f["exp_ori"] for f in whole["frames"]], track.expression[good], atol=1e-7)
    np.testing.assert_allclose(np.loadtxt("blend/max_52.txt"), track.expression[good].max(0), atol=1e-7)
    image = cv2.imread(f"blend/head_imgs/{whole['frames'][0]['img_id']}.png")
    assert (image[0, 0] == 255).all() and not (image[24, 18] == 255).all()


def test_nerface(track: Track) -> None:
    summary = exported("-o", "face", "--layout", "nerface", "--resolution", str(RESOLUTION))
    parts = {
        name: json.loads(Path(f"face/transforms_{name}.json").read_text())
        for name in ("train", "val", "test")
    }
    assert len(parts["train"]["frames"]) + len(parts["test"]["frames"]) == summary["frames"]
    first = parts["train"]["frames"][0]
    assert (Path("face") / (first["file_path"] + ".png")).exists() and Path("face/bg/00001.png").exists()
    np.testing.assert_allclose(first["bbox"], [16 / 64, 48 / 64, 8 / 64, 40 / 64], atol=1 / RESOLUTION)
    fx, _, cx, _ = parts["train"]["intrinsics"]
    assert 2 * np.arctan(RESOLUTION / (2 * fx)) == pytest.approx(parts["train"]["camera_angle_x"])
    assert 0 < cx < 1


def test_nothing_is_overwritten_or_left_half_written(track: Track) -> None:
    Path("there").mkdir()
    (Path("there") / "mine.txt").write_text("keep")
    assert "something already" in exported("-o", "there", code=1)
    track.mattes = None
    save_track(track, Path("clip.track.npz"))
    assert "mattes" in exported("-o", "new", code=1)
    assert not Path("new").exists() and not list(Path().glob(".*part*"))
    assert "folder" in exported("-o", "data.zip", code=2)
    assert exported(code=2)


def test_a_track_may_come_through_standard_input(track: Track) -> None:
    buffer = io.BytesIO()
    save_track(track, buffer)
    result = CliRunner().invoke(app, ["export", "-", "-o", "x.csv", "-q"], input=buffer.getvalue())
    assert result.exit_code == 0, result.stderr
    assert len(load_capture(Path("x.csv"))) == len(track)
