"""``eval`` on a clip whose every number is known: a still picture that grows brighter in the held-out frames."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from avatarkit.cli import app
from avatarkit.commands import contest
from avatarkit.data.labels import encode
from avatarkit.files.avatar import save_avatar
from avatarkit.files.images import read_image, write_image
from avatarkit.files.track import Track, save_track
from avatarkit.files.video import VideoWriter, read_frames
from avatarkit.methods import registry
from avatarkit.methods.stage import Stage
from tests.commands.picture_method import picture_avatar

SIDE, FRAMES, BRIGHTER = 192, 20, 6
DB = 20 * math.log10(255 / BRIGHTER)


@pytest.fixture(autouse=True)
def _plugged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(registry.METHODS, "picture", "tests.commands.picture_method:Picture")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def base() -> np.ndarray:
    noise = np.random.default_rng(0).integers(40, 200, (SIDE, SIDE, 3)).astype(np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 2), np.uint8)


@pytest.fixture
def subject(tmp_path: Path, base: np.ndarray, make_track: Callable[..., Track]) -> tuple[Path, Track]:
    """(track file, track) of a folder of pictures whose last two are brighter; a disc is the head."""
    clip = tmp_path / "clip"
    clip.mkdir()
    for t in range(FRAMES):
        write_image(clip / f"{t}.png", base + np.uint8(BRIGHTER if t >= FRAMES - 2 else 0))
    track = make_track(clip, FRAMES)
    disc = cv2.circle(np.zeros((SIDE, SIDE), np.uint8), (SIDE // 2, SIDE // 2), 60, 255, -1)
    track.mattes = [{"person": encode(disc), "head": encode(disc), "labels": encode(disc // 255)}] * FRAMES
    path = tmp_path / "clip.track.npz"
    save_track(track, path)
    return path, track


def evaluated(*arguments: str | Path) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["eval", *map(str, arguments), "--json", "--quiet", "--threads", "1"])
    assert result.exit_code == 0, (result.stderr, result.exception)
    summary: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return summary


def by_name(summary: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["name"], row["region"]): row for row in summary["rows"]}


def test_avatars_beside_baselines_on_held_out_frames(
    subject: tuple[Path, Track], base: np.ndarray, tmp_path: Path
) -> None:
    path, track = subject
    for name, picture in (("dull", base), ("right", base + np.uint8(BRIGHTER))):
        save_avatar(tmp_path / f"{name}.safetensors", *picture_avatar(track, picture).state())
    summary = evaluated(
        "dull.safetensors", "right.safetensors", "--track", path, "--sheet", "sheet.png", "--csv", "table.csv"
    )
    assert (summary["split"], summary["frames"], summary["resolution"]) == ("heldout", 2, SIDE)
    rows = by_name(summary)
    names = ("mean_image", "nearest_frame", "dull", "right")
    assert set(rows) == {(n, r) for n in names for r in ("head", "frame", "mouth", "eyes")}
    for region in ("head", "frame", "mouth", "eyes"):
        assert rows["right", region]["psnr"] == 100.0
        for name in names[:3]:  # all of them show what the training frames show
            assert rows[name, region]["psnr"] == pytest.approx(DB, abs=1e-3)
            assert rows[name, region]["l1"] == pytest.approx(BRIGHTER / 255, rel=1e-4)
    assert rows["right", "frame"]["ssim"] == pytest.approx(1, abs=1e-6)
    assert rows["dull", "frame"]["ssim"] < 0.9999
    assert rows["dull", "head"]["ms_ssim"] is not None and rows["dull", "eyes"]["ms_ssim"] is None
    assert rows["dull", "head"]["lpips"] is None and rows["dull", "head"]["jitter"] is None  # two frames only
    with open("table.csv", newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(summary["rows"]) and table[0]["name"] == summary["rows"][0]["name"]
    assert float(table[0]["psnr"]) == pytest.approx(summary["rows"][0]["psnr"])
    sheet = read_image(Path("sheet.png"))
    assert sheet.shape == (28 + 2 * 256, 5 * 256, 3)  # truth, two avatars and their errors
    assert sheet[40:, 4 * 256 + 2 :].max() < 12 < sheet[40:, 2 * 256 + 2 : 3 * 256 - 2].mean()


def test_what_the_matte_leaves_in_doubt_can_be_left_out(
    subject: tuple[Path, Track], base: np.ndarray, tmp_path: Path
) -> None:
    path, track = subject
    rim = base + np.uint8(BRIGHTER)
    cv2.circle(rim, (SIDE // 2, SIDE // 2), 60, (0, 0, 0), 3)  # wrong at the matte's edge alone
    save_avatar(tmp_path / "rim.safetensors", *picture_avatar(track, rim).state())
    rows = by_name(evaluated("rim.safetensors", "--track", path, "--certain"))
    assert {region for _, region in rows} == {
        "head", "above jaw", "face", "frame", "mouth", "eyes", "outside",
    }  # fmt: skip
    assert rows["rim", "above jaw"]["psnr"] == 100 and rows["rim", "head"]["psnr"] < 30
    assert rows["rim", "outside"]["psnr"] < rows["rim", "frame"]["psnr"]


def test_one_line_an_avatar(subject: tuple[Path, Track], base: np.ndarray, tmp_path: Path) -> None:
    path, track = subject
    for name, picture, minutes in (("dull", base, 2.0), ("right", base + np.uint8(BRIGHTER), 5.0)):
        tensors, header = picture_avatar(track, picture).state()
        header["metrics"] = {"seconds": 60 * minutes, "steps": 7, "train_psnr_head": 31.25}
        save_avatar(tmp_path / f"{name}.safetensors", tensors, header)
    words = (
        "eval",
        "--compare",
        "dull.safetensors",
        "right.safetensors",
        "--track",
        str(path),
        "--threads",
        "1",
    )
    summary = evaluated(*words[1:], "--csv", "table.csv", "--markdown", "table.md")
    lines = {line["name"]: line for line in summary["standings"]}
    assert list(lines) == ["mean_image", "nearest_frame", "dull", "right"]
    rows = by_name(summary)
    for name, line in lines.items():
        assert (
            line["head_psnr"] == rows[name, "head"]["psnr"]
            and line["frame_ssim"] == rows[name, "frame"]["ssim"]
        )
    assert [lines["right"][key] for key in ("method", "fit_minutes", "steps")] == ["picture", 5.0, 7]
    assert lines["right"]["frames_per_second"] > 0 and lines["nearest_frame"]["method"] is None
    with open("table.csv", newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [row["name"] for row in table] == list(lines) and float(table[3]["head_psnr"]) == 100
    text = Path("table.md").read_text(encoding="utf-8").splitlines()
    assert len(text) == 8 and "| name | method | fit min | steps | frames/s | head PSNR |" in text[2]
    assert "| right | picture | 5.0 | 7 | " in text[7] and "**100.00**" in text[7] and "LPIPS" not in text[2]
    shown = CliRunner().invoke(app, [*words, "--quiet"])
    assert (shown.exit_code == 0 and "mouth PSNR" in " ".join(shown.stdout.split())) or "head" in shown.stdout
    wrong = CliRunner().invoke(app, ["eval", "dull.safetensors", "--track", str(path), "--markdown", "a.md"])
    assert wrong.exit_code == 2 and "--compare" in wrong.stderr


def test_which_frames_are_compared(subject: tuple[Path, Track], base: np.ndarray, tmp_path: Path) -> None:
    path, track = subject
    save_avatar(tmp_path / "a.safetensors", *picture_avatar(track, base).state())
    expected = {"train": (18, 100.0), "all": (20, (18 * 100 + 2 * DB) / 20), "17:19": (2, (100 + DB) / 2)}
    for frames, (count, db) in expected.items():
        summary = evaluated("a.safetensors", "--track", path, "--frames", frames)
        assert summary["frames"] == count
        assert by_name(summary)["a", "frame"]["psnr"] == pytest.approx(db, abs=1e-3)
    assert evaluated("a.safetensors", "--track", path, "--holdout", "0.5")["frames"] == 10
    # of 20 frames the first, the middle one and the last: one of three is brighter
    spread = evaluated("a.safetensors", "--track", path, "--frames", "all", "--at-most", "3")
    assert spread["frames"] == 3
    assert by_name(spread)["a", "frame"]["psnr"] == pytest.approx((2 * 100 + DB) / 3, abs=1e-3)
    # one brighter step: the second difference is the step, twice (before and after the edge) of 18 triples
    summary = evaluated("a.safetensors", "--track", path, "--frames", "all")
    assert by_name(summary)["a", "head"]["jitter"] == pytest.approx(2 * BRIGHTER / 255 / 18, rel=1e-3)
    for frames in ("50:60", "x:y", "5:5", "some"):
        result = CliRunner().invoke(app, ["eval", "a.safetensors", "--track", str(path), "--frames", frames])
        assert result.exit_code in (1, 2) and result.stderr.splitlines()[-1].startswith("avatarkit: ")


def test_a_rendered_video_beside_an_avatar(
    subject: tuple[Path, Track], base: np.ndarray, tmp_path: Path
) -> None:
    path, track = subject
    save_avatar(tmp_path / "a.safetensors", *picture_avatar(track, base).state())
    with VideoWriter(tmp_path / "b.mp4", SIDE, SIDE, 25.0, crf=1) as writer:
        for _ in range(FRAMES):
            writer.write(base)
    rows = by_name(evaluated("a.safetensors", "b.mp4", "--track", path))
    assert rows["b", "frame"]["psnr"] == pytest.approx(rows["a", "frame"]["psnr"], abs=1.5)


def test_the_table_for_people_and_another_resolution(
    subject: tuple[Path, Track], base: np.ndarray, tmp_path: Path
) -> None:
    path, track = subject
    save_avatar(tmp_path / "a b.safetensors", *picture_avatar(track, base).state())
    result = CliRunner().invoke(
        app, ["eval", "a b.safetensors", "--track", str(path), "--resolution", "64", "-q"]
    )
    assert result.exit_code == 0, result.stderr
    assert "mean_image" in result.stdout and "nearest_frame" in result.stdout and "a b" in result.stdout
    assert f"{DB:.2f}"[:4] in result.stdout and "LPIPS" not in result.stdout


def test_an_avatar_of_another_clip_is_told(
    subject: tuple[Path, Track], base: np.ndarray, tmp_path: Path
) -> None:
    path, track = subject
    avatar = picture_avatar(track, base)
    avatar.header["clip"]["sha256"] = "0" * 64
    save_avatar(tmp_path / "a.safetensors", *avatar.state())
    result = CliRunner().invoke(app, ["eval", "a.safetensors", "--track", str(path), "--json"])
    assert result.exit_code == 0 and "another clip" in result.stderr


def test_the_torso_is_moved_from_where_it_was_taken(
    subject: tuple[Path, Track], base: np.ndarray, tmp_path: Path
) -> None:
    _, track = subject
    avatar = picture_avatar(track, base)
    avatar.header["reference"]["torso_taken"] = taken = [[1.0, 0.0, 7.0], [0.0, 1.0, -3.0]]
    save_avatar(tmp_path / "a.safetensors", *avatar.state())
    stage, _ = contest.at(Stage.load(tmp_path / "a.safetensors"), track, quiet=True)
    assert stage.scene.taken is not None
    np.testing.assert_array_equal(stage.scene.taken, taken)


def test_two_videos(tmp_path: Path, base: np.ndarray) -> None:
    for name, offset in (("a", 0), ("b", BRIGHTER)):
        folder = tmp_path / name
        folder.mkdir()
        for t in range(5):
            write_image(folder / f"{t}.png", base + np.uint8(offset * (t % 2)))
    summary = evaluated("a", "b")
    assert (summary["split"], summary["frames"]) == ("all", 5)
    (row,) = summary["rows"]
    assert (row["name"], row["region"]) == ("b", "frame")
    assert row["psnr"] == pytest.approx((3 * 100 + 2 * DB) / 5, abs=1e-3)
    assert row["jitter"] == pytest.approx(2 * BRIGHTER / 255, rel=1e-4)
    assert row["cpbd"] is None or 0 <= row["cpbd"] <= 1
    assert evaluated("a", "b", "--frames", "1:3")["frames"] == 2
    spread = evaluated("a", "b", "--at-most", "3")  # the first, the third and the last: all of them alike
    assert spread["frames"] == 3 and spread["rows"][0]["psnr"] == 100


def test_two_videos_of_a_person_are_compared_at_mouth_and_eyes(
    tmp_path: Path, clip: Callable[[str], Path], model: Callable[[str], Path]
) -> None:
    frames = [f for _, f in read_frames(clip("person05"), 0, 4, size=(256, 256))]
    for name, sigma in (("a", 0.0), ("b", 1.5)):
        (tmp_path / name).mkdir()
        for t, frame in enumerate(frames):
            write_image(
                tmp_path / name / f"{t}.png", cv2.GaussianBlur(frame, (0, 0), sigma) if sigma else frame
            )
    rows = by_name(evaluated("a", "b", "--weights", model("mobilefacenet_foamliu.pt").parent))
    assert set(rows) == {("b", "frame"), ("b", "mouth"), ("b", "eyes")}
    assert rows["b", "eyes"]["psnr"] < rows["b", "frame"]["psnr"]  # eyes have the finest detail to lose
    assert 0.7 < rows["b", "frame"]["csim"] < 0.999


def test_the_networks_are_used_where_their_weights_are(
    subject: tuple[Path, Track], base: np.ndarray, tmp_path: Path, model: Callable[[str], Path]
) -> None:
    path, track = subject
    save_avatar(tmp_path / "a.safetensors", *picture_avatar(track, base).state())
    weights = model("squeezenet11_features_f16.npz").parent
    summary = evaluated("a.safetensors", "--track", path, "--weights", weights, "--lpips", "squeeze")
    assert summary["lpips_network"] == "squeeze"
    row = by_name(summary)["a", "head"]
    assert 0 < row["lpips"] < 0.1 and 0.5 < row["csim"] <= 1
    assert by_name(summary)["a", "eyes"]["csim"] is None
    result = CliRunner().invoke(app, ["eval", "a.safetensors", "--track", str(path), "--lpips", "vgg"])
    assert result.exit_code == 1 and "--download" in result.stderr
