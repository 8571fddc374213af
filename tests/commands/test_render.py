"""``render`` with an avatar whose brightness is its jaw: what was asked for can be read off the pixels."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from avatarkit.cli import app
from avatarkit.files.avatar import save_avatar
from avatarkit.files.images import read_image
from avatarkit.files.track import Track, save_track
from avatarkit.files.video import probe, read_frames
from avatarkit.heads import arkit
from avatarkit.methods import registry
from avatarkit.methods.registry import Drive, Frame
from avatarkit.rendering.camera import Camera
from tests.commands.picture_method import Picture, PictureAvatar, picture_avatar

JAW = arkit.INDEX["jawOpen"]
SIDE = 32


class JawAvatar(PictureAvatar):
    """A grey square, as bright as the jaw is open; the head's yaw tints it red."""

    def render(self, drive: Drive, camera: Camera) -> Frame:
        image = np.full((camera.height, camera.width, 3), drive.expression[JAW], np.float32)
        image[..., 0] = np.clip(drive.expression[JAW] + drive.rotation[0, 2], 0, 1)
        return Frame(image, np.ones(image.shape[:2], np.float32))


class Jaw(Picture):
    name = "picture"
    Avatar = JawAvatar


@pytest.fixture(autouse=True)
def _plugged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(registry.METHODS, "picture", "tests.commands.test_render:Jaw")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def track(make_track: Callable[..., Track], moving_clip: Path) -> Track:
    track = make_track(moving_clip)
    track.expression[:] = 0
    track.expression[:, JAW] = np.linspace(0, 0.9, len(track))
    track.landmarks[:] = track.landmarks[:1]  # it is the coefficients that say where the rest is
    return track


@pytest.fixture
def avatar(track: Track) -> Path:
    tensors, header = picture_avatar(track, np.zeros((SIDE, SIDE, 3), np.uint8)).state()
    path = Path("me.safetensors")
    save_avatar(path, tensors, header)
    return path


def rendered(*arguments: str | Path) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["render", *map(str, arguments), "--json", "--quiet", "--threads", "1"])
    assert result.exit_code == 0, (result.stderr, result.exception)
    summary: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return summary


def refused(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["render", *map(str, arguments), "--quiet"])
    return result.exit_code, result.stderr


def test_a_still_shows_what_was_set(avatar: Path) -> None:
    summary = rendered(avatar, "--set", "jawOpen=0.5", "-o", "still.png")
    assert summary["frames"] == 1 and summary["size"] == [96, 64] and summary["output"] == "still.png"
    image = read_image(Path("still.png"))
    assert image.shape == (64, 96, 3)
    np.testing.assert_allclose(image[32, 48], 128, atol=1)  # the avatar's crop: the middle 64 x 64
    np.testing.assert_array_equal(image[32, 4], 255)  # no plate in this avatar: white around it
    crop = rendered(avatar, "--set", "jawOpen=0.5", "--camera", "crop", "--resolution", 48, "-o", "crop.png")
    assert crop["size"] == [48, 48]
    turned = rendered(avatar, "--set", "jawOpen=0.5", "--yaw=20", "-o", "turned.png")
    assert turned["frames"] == 1
    red, green, _ = read_image(Path("turned.png"))[32, 48].astype(int)
    assert abs(red - green - 255 * np.sin(np.radians(20))) < 3


def view_file(path: str, **entries: Any) -> str:
    view = {"width": 120, "height": 80, "intrinsics": [[900, 0, 60], [0, 900, 40], [0, 0, 1]], **entries}
    Path(path).write_text(json.dumps(view))
    return path


def test_a_camera_of_ones_own_sees_the_turned_head(avatar: Path) -> None:
    side = [[np.cos(0.35), 0, np.sin(0.35)], [0, 1, 0], [-np.sin(0.35), 0, np.cos(0.35)]]
    view = view_file("side.json", rotation=side, translation=[0.0, 0.0, 0.0])
    summary = rendered(avatar, "--set", "jawOpen=0.5", "--camera", view, "-o", "side.png")
    assert summary["size"] == [120, 80]
    red, green, _ = read_image(Path("side.png"))[40, 60].astype(int)
    assert abs(abs(red - green) - 255 * np.sin(0.35)) < 4  # this avatar is as red as its head is turned


def test_a_view_that_cannot_be_is_refused_by_name(avatar: Path) -> None:
    mirror = view_file("mirror.json", rotation=[[-1, 0, 0], [0, 1, 0], [0, 0, 1]])
    for name, word in (
        (mirror, "rotation"),
        (view_file("wide.json", width=10**6), "width"),
        (view_file("nan.json", translation=[0, 0, float("nan")]), "translation"),
        (view_file("flat.json", intrinsics=[[0, 0, 1], [0, 1, 1], [0, 0, 1]]), "focal"),
        ("nothing.json", "cannot read"),
    ):
        code, message = refused(avatar, "--camera", name, "-o", "x.png")
        assert code == 1 and word in message and len(message.strip().splitlines()) == 1
    Path("text.json").write_text("frame")
    assert "not a JSON file" in refused(avatar, "--camera", "text.json", "-o", "x.png")[1]
    assert refused(avatar, "--camera", mirror, "--resolution", "64", "-o", "x.png")[0] == 2
    assert not Path("x.png").exists()


def test_its_own_clip_drives_it_absolutely_with_its_rate(avatar: Path, track: Track) -> None:
    save_track(track, Path("clip.track.npz"))
    summary = rendered(avatar, "--driver", "clip.track.npz", "-o", "out.mp4")
    assert summary["frames"] == len(track) and summary["held"] == 0
    assert summary["ms_per_frame_total"] > summary["ms_per_frame_render"] > 0
    assert probe(Path("out.mp4")).fps == pytest.approx(12.0)
    bright = [frame[32, 48, 1] / 255 for _, frame in read_frames(Path("out.mp4"))]
    np.testing.assert_allclose(bright, track.expression[:, JAW], atol=0.02)


def test_invalid_driver_frames_hold_the_last_good_one_and_are_counted(avatar: Path, track: Track) -> None:
    track.valid[5:8] = False
    save_track(track, Path("clip.track.npz"))
    summary = rendered(avatar, "--driver", "clip.track.npz", "-o", "f/%03d.png")
    assert summary["held"] == 3
    pictures = [read_image(Path(f"f/{i:03d}.png"))[32, 48, 1] for i in range(len(track))]
    assert pictures[5] == pictures[6] == pictures[7] == pictures[4] != pictures[8]


def test_another_rate_keeps_the_duration(avatar: Path, track: Track) -> None:
    save_track(track, Path("clip.track.npz"))
    summary = rendered(avatar, "--driver", "clip.track.npz", "--fps", 24, "-o", "out.mp4")
    assert summary["frames"] == 2 * len(track)
    assert probe(Path("out.mp4")).duration == pytest.approx(2.0, abs=0.05)


def test_a_face_capture_drives_like_a_performance(avatar: Path, track: Track) -> None:
    save_track(track, Path("clip.track.npz"))
    assert CliRunner().invoke(app, ["export", "clip.track.npz", "-o", "face.csv", "-q"]).exit_code == 0
    summary = rendered(avatar, "--driver", "face.csv", "-o", "f/%03d.png")
    assert summary["frames"] == len(track) and summary["held"] == 0
    bright = [read_image(Path(f"f/{t:03d}.png"))[32, 48, 1] / 255 for t in range(len(track))]
    assert np.corrcoef(bright, track.expression[:, JAW])[0, 1] > 0.99
    rendered(avatar, "--driver", "clip.track.npz", "-o", "g/%03d.png")  # as does the track itself
    same = [read_image(Path(f"g/{t:03d}.png"))[32, 48, 1] / 255 for t in range(len(track))]
    # a performance is acted on top of the avatar's rest, its own clip is not
    np.testing.assert_allclose(np.array(bright) - bright[0], np.array(same) - same[0], atol=0.03)


def test_side_by_side_shows_the_drivers_own_frames(avatar: Path, track: Track) -> None:
    save_track(track, Path("clip.track.npz"))
    summary = rendered(avatar, "--driver", "clip.track.npz", "--side-by-side", "-o", "f/%03d.png")
    assert summary["size"] == [192, 64]
    left = read_image(Path("f/010.png"))[:, :96]
    assert left[32, 8 + 20 + 8].astype(int).sum() > 400  # the clip's square in its tenth frame


def test_a_performance_needs_no_file(avatar: Path) -> None:
    summary = rendered(avatar, "--driver", "talk", "--max-frames", 40, "--camera", "crop", "-o", "t/%03d.png")
    assert summary["frames"] == 40
    jaw = [read_image(Path(f"t/{i:03d}.png"))[16, 16, 1] for i in range(40)]
    assert max(jaw) - min(jaw) > 60


def test_backgrounds(avatar: Path) -> None:
    rendered(avatar, "--background", "black", "-o", "black.png")
    np.testing.assert_array_equal(read_image(Path("black.png"))[32, 4], 0)
    rendered(avatar, "--background", "black.png", "-o", "image.png")
    np.testing.assert_array_equal(read_image(Path("image.png"))[32, 4], 0)
    code, message = refused(avatar, "--background", "me.safetensors", "-o", "bad.png")
    assert code == 1 and "plate, white, black" in message and not Path("bad.png").exists()


def test_orbit_swings_to_both_sides(avatar: Path) -> None:
    rendered(avatar, "--set", "jawOpen=0.4", "--orbit", 20, "--max-frames", 8, "-o", "o/%d.png")
    red = [int(read_image(Path(f"o/{i}.png"))[32, 48, 0]) for i in range(8)]
    assert red[2] < red[0] - 60 and red[6] > red[0] + 60


def test_raw_frames_go_to_a_pipe(avatar: Path, track: Track) -> None:
    save_track(track, Path("clip.track.npz"))
    program = (
        "from avatarkit.methods import registry;"
        "registry.METHODS['picture'] = 'tests.commands.test_render:Jaw';"
        "from avatarkit.cli import main; main()"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            program,
            "render",
            avatar,
            "--driver",
            "clip.track.npz",
            "--quiet",
            "--threads",
            "1",
        ],
        capture_output=True,
        env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"},
        check=True,
    )
    frames = np.frombuffer(done.stdout, np.uint8).reshape(-1, 64, 96, 3)
    assert len(frames) == len(track)
    np.testing.assert_allclose(frames[:, 32, 48, 1] / 255, track.expression[:, JAW], atol=0.005)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--set", "jawOpen"], 2, "NAME=NUMBER"),
        (["--set", "noSuchShape=1"], 2, "noSuchShape"),
        (["--driver", "talk", "--yaw", "5"], 2, "make a still"),
        (["--driver", "talk", "--side-by-side"], 2, "needs a driver with a video"),
        (["--driver", "talk", "-o", "one.png"], 2, "frames need .mp4"),
        (["--driver", "nothing.mp4"], 1, "no such file"),
        (["-o", "still.gif"], 2, "pictures"),
        (["-o", "no/such/folder/still.png"], 1, "does not exist"),
    ],
)
def test_refusals_are_one_line(avatar: Path, arguments: list[str], code: int, words: str) -> None:
    if "-o" not in arguments:
        arguments = [*arguments, "-o", "result.mp4" if "talk" in arguments else "result.png"]
    got, message = refused(avatar, *arguments)
    assert got == code and words in message and message.count("\n") == 1
    assert not list(Path.cwd().glob("result*")) and not list(Path.cwd().glob(".*part*"))


def test_a_track_without_any_face_leaves_with_3(avatar: Path, track: Track) -> None:
    track.valid[:] = False
    track.landmarks[:] = np.nan
    save_track(track, Path("none.track.npz"))
    code, message = refused(avatar, "--driver", "none.track.npz", "-o", "out.mp4")
    assert code == 3 and "face" in message and not Path("out.mp4").exists()


def test_a_torn_avatar_is_told(avatar: Path, track: Track) -> None:
    tensors, header = picture_avatar(track, np.zeros((SIDE, SIDE, 3), np.uint8)).state()
    save_avatar(avatar, tensors | {"plate": torch.zeros(9, dtype=torch.uint8)}, header)
    code, message = refused(avatar, "-o", "out.png")
    assert code == 1 and "plate" in message
