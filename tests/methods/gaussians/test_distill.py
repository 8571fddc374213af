"""Students of avatars: what they are taught, how close they come, several in one file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from avatarkit.cli import app
from avatarkit.files.avatar import save_avatar
from avatarkit.files.images import read_image
from avatarkit.files.track import Track
from avatarkit.files.track_io import save_track
from avatarkit.methods import registry
from avatarkit.methods.driving import neutral_drive
from avatarkit.methods.gaussians import config
from avatarkit.methods.gaussians.student import lessons, person_of
from avatarkit.methods.registry import Subject
from avatarkit.methods.stage import Stage
from avatarkit.ops.native import module

pytestmark = pytest.mark.skipif(module() is None, reason="native kernels are not built")


@pytest.fixture(scope="module")
def teacher(person: tuple[Track, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    track, folder = person
    options = {"resolution": 64, "steps": 250, "minutes": 0, "count": 1500, "threads": 1}
    avatar = registry.get("gaussians").fit(Subject(track, folder), config.make(**options), lambda at: None)
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    save_avatar(path, *avatar.state())
    return path


def test_lessons_stay_in_the_trusted_range(person: tuple[Track, Path], teacher: Path) -> None:
    header = Stage.load(teacher).avatar.header
    given = lessons(header, person[0], 100, 0)
    # ten of the clip's forty frames are not enough for a half, so that the rest is acted and drawn
    assert len(given.teaching) + len(given.testing) == 101
    assert 8 <= len(given.testing) <= 12
    low, high = np.asarray(header["reference"]["expression_range"])
    for drive in lessons(header, None, 60, 1).teaching:
        assert (drive.expression >= low - 0.4).all() and (drive.expression <= high + 0.4).all()
    again = lessons(header, None, 60, 1).teaching[-1]
    assert (again.expression == lessons(header, None, 60, 1).teaching[-1].expression).all()


def test_a_layer_of_torso_becomes_part_of_the_person(teacher: Path) -> None:
    stage = Stage.load(teacher)
    height, width = stage.scene.plate.shape[:2]
    torso = np.zeros((height, width, 4), np.uint8)
    torso[-20:, :30] = (200, 40, 90, 255)
    drive = neutral_drive(stage.avatar.header)
    alone = person_of(stage, drive, 64)
    both = person_of(replace(stage, scene=replace(stage.scene, torso=torso)), drive, 64)
    assert both.alpha[-4, 4] > 0.98 and np.allclose(both.rgb[-4, 4] * 255, (200, 40, 90), atol=2)
    covered = alone.alpha > 0.98
    assert np.abs(both.rgb - alone.rgb)[covered].max() < 0.02


def test_students_in_one_file_imitate_their_teachers(
    person: tuple[Track, Path], teacher: Path, tmp_path: Path
) -> None:
    track = tmp_path / "clip.track.npz"
    save_track(person[0], track)
    out = tmp_path / "live.safetensors"
    words = [
        "distill",
        str(teacher),
        str(teacher),
        "--track",
        str(track),
        "--track",
        str(track),
        "-o",
        str(out),
    ]
    words += ["--frames", "80", "--steps", "250", "--minutes", "0", "--count", "1500", "--resolution", "64"]
    result = CliRunner().invoke(app, [*words, "--threads", "1", "--json", "--quiet"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout.splitlines()[-1])["students"]
    assert len(rows) == 2
    for row in rows:
        assert row["teacher_psnr"] > 30 and row["teacher_ssim"] > 0.9
        assert row["tested_frames"] >= 6
    for identity in (0, 1):
        picture = tmp_path / f"{identity}.png"
        words = ["render", str(out), "--identity", str(identity), "--set", "jawOpen=.5", "-o", str(picture)]
        assert CliRunner().invoke(app, [*words, "--quiet"]).exit_code == 0
    taught, truth = read_image(tmp_path / "0.png"), tmp_path / "truth.png"
    words = ["render", str(teacher), "--set", "jawOpen=.5", "-o", str(truth), "--quiet"]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert np.abs(taught.astype(float) - read_image(truth)).mean() < 6
    assert CliRunner().invoke(app, ["render", str(out), "--identity", "2", "--quiet"]).exit_code == 2


def test_tracks_must_match_the_teachers(teacher: Path, tmp_path: Path) -> None:
    words = ["distill", str(teacher), "--track", "a", "--track", "b", "-o", str(tmp_path / "x.safetensors")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2 and "2 tracks for 1" in result.output
