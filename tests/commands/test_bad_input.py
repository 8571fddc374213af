"""What users get wrong, command by command: one clear line, the documented exit code, and no partial file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from avatarkit.cli import app
from avatarkit.files.avatar import save_avatar
from avatarkit.files.images import read_image, write_image
from avatarkit.files.track import Track, load_track, save_track
from avatarkit.files.video import VideoWriter, read_frames
from avatarkit.methods import registry
from tests.commands.picture_method import picture_avatar

Result = Any  # of whichever click typer brings
Clip = Callable[[str], Path]
Maker = Callable[..., Track]


def avatarkit(*arguments: str | Path, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)


def assert_refused(result: Result, code: int, *words: str) -> None:
    assert result.exit_code == code, (result.exit_code, result.stderr, result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    told = [line for line in result.stderr.splitlines() if line.startswith("avatarkit: ")]
    assert len(told) == 1, result.stderr
    for word in words:
        assert word in told[0], told[0]
    assert "Traceback" not in result.stderr


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, so that every file a command leaves is seen."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory, moving_clip: Path) -> dict[str, Path]:
    """Files that are not what their names say."""
    root = tmp_path_factory.mktemp("bad")
    data = moving_clip.read_bytes()
    contents = {
        "text.mp4": b"no video at all\n" * 50,
        "empty.mp4": b"",
        "cut.mp4": data[: len(data) // 2],
        "text.npz": b"no track",
        "empty.npz": b"",
        "text.safetensors": b"no avatar",
    }
    for name, content in contents.items():
        (root / name).write_bytes(content)
    return {name: root / name for name in contents}


COMMANDS: dict[str, Sequence[str]] = {
    "track": ("track", "{}", "-o", "out.npz"),
    "segment": ("segment", "{}", "-o", "out.npz"),
    "fit": ("fit", "{}", "-o", "out.safetensors"),
    "render": ("render", "{}", "-o", "out.png"),
    "eval": ("eval", "{}", "--track", "{}"),
    "info": ("info", "{}"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_file(folder: Path, command: str) -> None:
    arguments = [a.format("no such ü.file") for a in COMMANDS[command]]
    assert_refused(avatarkit(*arguments), 1, "no such", "ü.file")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("track", "text.mp4"), ("track", "empty.mp4"), ("track", "cut.mp4"),
        ("segment", "text.npz"), ("segment", "empty.npz"), ("segment", "text.mp4"),
        ("fit", "text.npz"), ("fit", "cut.mp4"),
        ("render", "text.safetensors"), ("render", "text.npz"), ("render", "empty.mp4"),
        ("eval", "text.safetensors"),
        ("info", "text.mp4"), ("info", "empty.mp4"), ("info", "cut.mp4"), ("info", "text.safetensors"),
    ],
)  # fmt: skip
def test_another_kind_of_file(folder: Path, bad: dict[str, Path], command: str, name: str) -> None:
    arguments = [a.format(bad[name]) for a in COMMANDS[command]]
    assert_refused(avatarkit(*arguments), 1, name)
    assert list(folder.iterdir()) == []


def test_two_videos_of_which_one_is_none(folder: Path, bad: dict[str, Path], moving_clip: Path) -> None:
    assert_refused(avatarkit("eval", moving_clip, bad["cut.mp4"]), 1, "cut.mp4", "truncated")
    assert_refused(avatarkit("eval", moving_clip), 2, "second video")
    assert_refused(avatarkit("eval", moving_clip, moving_clip, "--frames", "9:3"), 2, "9:3")
    assert_refused(avatarkit("eval", moving_clip, moving_clip, "--csv", "no/folder.csv"), 1, "does not exist")


@pytest.fixture
def track_file(folder: Path, make_track: Maker, moving_clip: Path) -> Path:
    path = folder / "good.track.npz"
    save_track(make_track(moving_clip), path)
    return path


def changed(path: Path, **arrays: Any) -> Path:
    with np.load(path, allow_pickle=False) as old:
        kept = {**{k: old[k] for k in old.files}, **arrays}
    out = path.with_name("bad.track.npz")
    np.savez(out, **kept)
    return out


def test_tracks_that_are_newer_pickled_or_full_of_nan(track_file: Path) -> None:
    track = load_track(track_file)
    nan = np.full_like(track.expression, np.nan)
    for arrays, words in (
        ({"meta": np.array(json.dumps({**track.meta, "format": 99}))}, ("newer", "update")),
        ({"extra": np.array([object()], dtype=object)}, ("pickled",)),
        ({"expression": nan}, ("'expression'", "NaN")),
        ({"rotation": np.zeros((3, 3), np.float32)}, ("'rotation'", "shape")),
    ):
        bad_file = changed(track_file, **arrays)
        for arguments in (
            ("segment", bad_file, "-o", "o.npz"),
            ("fit", bad_file, "-o", "o.st"),
            ("info", bad_file),
        ):
            assert_refused(avatarkit(*arguments), 1, *words)
    assert sorted(p.name for p in track_file.parent.iterdir()) == ["bad.track.npz", "good.track.npz"]


def test_a_bomb(folder: Path) -> None:
    bomb = folder / "bomb.npz"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("meta.npy", "w") as member:
        for _ in range(80):
            member.write(bytes(1 << 20))
    for command in ("segment", "fit", "info"):
        assert_refused(avatarkit(*[a.format(bomb) for a in COMMANDS[command]]), 1, "refused")
    assert list(folder.iterdir()) == [bomb]


def test_a_track_of_another_video(track_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.mp4"
    with VideoWriter(other, 96, 64, 12.0) as writer:
        for _ in range(24):
            writer.write(np.zeros((64, 96, 3), np.uint8))
    for command in ("segment", "fit"):
        result = avatarkit(command, track_file, "--video", other, "-o", "out.bin")
        assert_refused(result, 1, "other.mp4", "not the video this track was made from")
    assert list(track_file.parent.iterdir()) == [track_file]


def test_an_avatar_of_an_unknown_method(folder: Path, track_file: Path) -> None:
    avatar = folder / "strange.safetensors"
    save_avatar(avatar, {"a": torch.zeros(1)}, {"method": "telepathy"})
    assert_refused(avatarkit("render", avatar, "-o", "out.png"), 2, "telepathy", "nerfblendshape")
    assert_refused(avatarkit("eval", avatar, "--track", track_file), 2, "telepathy")
    assert_refused(avatarkit("fit", track_file, "--method", "telepathy", "-o", "o.st"), 2, "telepathy")
    assert sorted(p.name for p in folder.iterdir()) == ["good.track.npz", "strange.safetensors"]


def test_an_avatar_of_a_newer_format(folder: Path, track_file: Path) -> None:
    avatar = folder / "new.safetensors"
    header = json.dumps({"format": 99, "method": "nerfblendshape"})
    save_file({"a": torch.zeros(1)}, avatar, metadata={"avatarkit": header})
    assert_refused(avatarkit("render", avatar, "-o", "out.png"), 1, "newer", "update")
    assert_refused(avatarkit("eval", avatar, "--track", track_file), 1, "newer")
    assert_refused(avatarkit("info", avatar), 1, "newer")


def test_drivers_that_drive_nothing(
    folder: Path, track_file: Path, bad: dict[str, Path], clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.METHODS, "picture", "tests.commands.picture_method:Picture")
    track = load_track(track_file)
    save_avatar(folder / "me.safetensors", *picture_avatar(track, np.zeros((64, 64, 3), np.uint8)).state())
    before = sorted(folder.iterdir())
    nan = changed(track_file, translation=np.full_like(track.translation, np.nan))
    blind = changed(track_file, valid=np.zeros_like(track.valid)).rename(folder / "blind.track.npz")
    nan = changed(track_file, translation=np.full_like(track.translation, np.nan))
    for arguments, code, word in (
        (("--driver", "missing.mp4"), 1, "missing.mp4"),
        (("--driver", bad["text.mp4"]), 1, "text.mp4"),
        (("--driver", bad["cut.mp4"]), 1, "truncated"),
        (("--driver", nan), 1, "NaN"),
        (("--driver", blind), 3, "face"),
        (("--driver", clip("notperson_dog")), 3, "face"),
        (("--set", "jawOpenWide=1"), 2, "jawOpenWide"),
        (("--set", "jawOpen"), 2, "NAME=NUMBER"),
        (("--background", bad["text.mp4"]), 1, "text.mp4"),
    ):
        assert_refused(
            avatarkit("render", "me.safetensors", *arguments, "-o", "out.png", "--quiet"), code, word
        )
    nan.unlink()
    blind.unlink()
    assert sorted(folder.iterdir()) == before


def test_a_head_model_that_is_none(folder: Path, bad: dict[str, Path], clip: Clip) -> None:
    for head in (bad["text.npz"], "atlantis"):
        result = avatarkit("track", clip("photo02"), "--head", head, "-o", "o.npz", "--quiet")
        assert result.exit_code in (1, 2)
        assert_refused(result, result.exit_code, str(head))
    assert list(folder.iterdir()) == []


def test_an_avatar_without_a_track(folder: Path) -> None:
    avatar = folder / "a.safetensors"
    save_avatar(avatar, {"a": torch.zeros(1)}, {"method": "nerfblendshape"})
    assert_refused(avatarkit("eval", avatar), 2, "--track")


def test_empty_standard_input(folder: Path) -> None:
    for command in ("track", "segment", "fit", "info"):
        assert_refused(avatarkit(command, "-", stdin=b""), 1, "standard input is empty")
    assert list(folder.iterdir()) == []


# ---------------------------------------------------------------------------------- pictures a detector looks at


def test_no_face_at_all(folder: Path, clip: Clip) -> None:
    assert_refused(avatarkit("track", clip("notperson_dog"), "-o", "dog.npz", "--quiet"), 3, "face")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("width", "height"), [(16, 16), (33, 21)])
def test_tiny_and_odd_clips(folder: Path, tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "tiny.mp4"
    with VideoWriter(path, width, height, 25.0) as writer:
        for t in range(4):
            writer.write(np.full((height, width, 3), 40 * t, np.uint8))
    assert_refused(avatarkit("track", path, "-o", "t.npz", "--quiet"), 3, "face")
    assert list(folder.iterdir()) == []


def small(frame: np.ndarray, side: int = 256) -> np.ndarray:
    return np.asarray(cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


@pytest.fixture(scope="module")
def talking(clip: Clip) -> list[np.ndarray]:
    """A dozen 256 x 256 frames of a real person."""
    return [small(frame) for _, frame in read_frames(clip("person05"), 0, 12)]


def test_a_face_in_some_frames_only(folder: Path, tmp_path: Path, talking: list[np.ndarray]) -> None:
    path = tmp_path / "some.mp4"
    with VideoWriter(path, 256, 256, 25.0) as writer:
        for t, frame in enumerate(talking):
            writer.write(frame if not 4 <= t < 8 else np.zeros_like(frame))
    result = avatarkit("track", path, "-o", "some.npz", "--json", "--quiet")
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout.splitlines()[-1])
    assert summary["frames"] == 12 and summary["valid"] == 8
    assert np.flatnonzero(~load_track(folder / "some.npz").valid).tolist() == [4, 5, 6, 7]


def test_two_faces(folder: Path, clip: Clip) -> None:
    pictures = [small(read_image(clip(name))[:550, :550], 360) for name in ("photo02", "photo04")]
    write_image(folder / "two.png", np.concatenate(pictures, 1))
    centers = []
    for face in ("1", "2"):
        result = avatarkit("track", "two.png", "--face", face, "-o", f"{face}.npz", "--quiet")
        assert result.exit_code == 0, result.stderr
        centers.append(float(np.nanmean(load_track(folder / f"{face}.npz").landmarks[..., 0])))
    assert centers[0] < 360 < centers[1]
    assert_refused(avatarkit("track", "two.png", "--face", "both", "-o", "x.npz"), 2, "--face")


def test_grey_alpha_and_turned_pictures(folder: Path, talking: list[np.ndarray]) -> None:
    frame = talking[0]
    write_image(folder / "grey.png", cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))
    write_image(folder / "alpha.png", np.dstack([frame, np.full((256, 256), 255, np.uint8)]))
    for name in ("grey.png", "alpha.png"):
        result = avatarkit("track", name, "-o", "out.npz", "--quiet")
        assert result.exit_code == 0, result.stderr


def test_a_turned_clip_with_a_variable_rate_and_a_strange_name(
    folder: Path, tmp_path: Path, talking: list[np.ndarray]
) -> None:
    from tests.files.test_video import run_ffmpeg

    plain, name = tmp_path / "plain.mp4", "-ein Gesicht é.mp4"
    with VideoWriter(plain, 256, 256, 25.0) as writer:
        for frame in talking:
            writer.write(np.rot90(frame))
    uneven = tmp_path / "uneven.mp4"
    run_ffmpeg("-i", plain, "-vf", "select=lt(n\\,6)+not(mod(n\\,3))", "-fps_mode", "vfr", "-g", "1", uneven)
    run_ffmpeg("-display_rotation", "270", "-i", uneven, "-c", "copy", folder / name)
    result = avatarkit("track", "-o", "-out é.npz", "--", name)
    assert result.exit_code == 0, result.stderr
    assert "variable frame rate" in result.stderr
    track = load_track(folder / "-out é.npz")
    assert track.valid.all() and track.meta["video"]["rotation"] == 270


# ---------------------------------------------------------------------------------- whole processes


def start(*arguments: str | Path, **options: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "avatarkit", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, **options)


def said(process: subprocess.Popen[bytes]) -> list[str]:
    _, stderr = process.communicate(timeout=120)
    text = stderr.decode()
    assert "Traceback" not in text, text
    return [line for line in text.splitlines() if line.startswith("avatarkit: ")]


def test_a_full_disk(folder: Path, track_file: Path, clip: Clip) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with open("/dev/full", "wb") as full:
        process = start("track", clip("photo02"), "-o", "-", "--quiet", stdout=full)
        lines = said(process)
    assert process.returncode == 1 and lines == ["avatarkit: the disk is full"]
    with open("/dev/full", "wb") as full:
        process = start("info", track_file, "--json", stdout=full)
        lines = said(process)
    assert process.returncode == 1 and lines == ["avatarkit: the disk is full"]


def test_a_disk_that_fills_while_a_video_is_written(folder: Path) -> None:
    code = (
        "import resource, signal, numpy as np\n"
        "from avatarkit.commands import console\n"
        "from avatarkit.files.video import VideoWriter\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "@console.run\n"
        "def work():\n"
        "    random = np.random.default_rng(0)\n"
        "    with VideoWriter('out.mp4', 256, 256, 25.0) as writer:\n"
        "        for _ in range(100):\n"
        "            writer.write(random.integers(0, 255, (256, 256, 3)).astype(np.uint8))\n"
        "import typer; app = typer.Typer(); app.command()(work); app()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    lines = said(process)
    assert process.returncode == 1 and len(lines) == 1 and "writing the video failed" in lines[0]
    assert list(folder.iterdir()) == []


def test_a_reader_that_closes_early(folder: Path, track_file: Path, clip: Clip) -> None:
    for arguments in (("track", clip("photo02"), "--quiet"), ("info", track_file)):
        read, write = os.pipe()
        process = start(*arguments, stdout=write)
        os.close(write)
        os.close(read)
        assert said(process) == [] and process.returncode == 0
    assert list(folder.iterdir()) == [track_file]


def test_ctrl_c(folder: Path, clip: Clip) -> None:
    process = start("track", clip("person06"), "-o", "long.npz", stdout=subprocess.DEVNULL)
    assert process.stderr is not None
    time.sleep(1)
    line = process.stderr.readline()  # something is going on: progress, or the detector's own log
    assert line
    process.send_signal(signal.SIGINT)
    assert said(process)[-1:] == ["avatarkit: interrupted"] and process.returncode == 130
    assert list(folder.iterdir()) == []
