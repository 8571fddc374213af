"""What users get wrong with ``reenact``: one clear line, the documented exit code, and no partial file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from avatarkit.files.avatar import save_avatar
from avatarkit.files.images import read_image, write_image
from avatarkit.files.probe import probe
from avatarkit.files.track import Track, load_track, save_track
from avatarkit.files.video import VideoWriter, read_frames
from avatarkit.methods import registry
from tests.commands.picture_method import picture_avatar
from tests.commands.test_bad_input import assert_refused, avatarkit, changed, said, small, start

Clip = Callable[[str], Path]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, so that every file the command leaves is seen."""
    monkeypatch.setitem(registry.METHODS, "picture", "tests.commands.picture_method:Picture")
    monkeypatch.setitem(registry.METHODS, "rig", "tests.commands.test_reenact:Rig")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def good(make_track: Callable[..., Track], moving_clip: Path, tmp_path: Path) -> Path:
    """A track outside the working directory, and ``me.safetensors`` beside it: avatars that cost nothing to draw."""
    track = make_track(moving_clip)
    path = tmp_path / "good.track.npz"
    save_track(track, path)
    tensors, header = picture_avatar(track, np.zeros((32, 32, 3), np.uint8)).state()
    save_avatar(tmp_path / "me.safetensors", tensors, header | {"method": "rig"})
    return path


def refused(code: int, words: tuple[str, ...], *arguments: str | Path) -> None:
    before = sorted(Path.cwd().iterdir())
    assert_refused(avatarkit("reenact", *arguments, "--quiet"), code, *words)
    assert sorted(Path.cwd().iterdir()) == before


def test_photos_and_avatars_that_are_none(folder: Path, good: Path, tmp_path: Path, clip: Clip) -> None:
    (tmp_path / "text.jpg").write_text("no picture\n" * 9)
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "cut.jpg").write_bytes(clip("photo02").read_bytes()[:9000])
    (tmp_path / "text.safetensors").write_text("no avatar\n" * 9)
    write_image(tmp_path / "dot.png", np.full((16, 16, 3), 90, np.uint8))
    save_avatar(tmp_path / "strange.safetensors", {"a": torch.zeros(1)}, {"method": "telepathy"})
    new = {"avatarkit": json.dumps({"format": 99, "method": "photo"})}
    save_file({"a": torch.zeros(1)}, tmp_path / "new.safetensors", metadata=new)
    save_avatar(tmp_path / "hollow.safetensors", {"a": torch.zeros(1)}, {"method": "photo"})
    for name, code, words in (
        ("no such ü.jpg", 1, ("no such", "ü.jpg")), ("text.jpg", 1, ("text.jpg", "neither")),
        ("empty.png", 1, ("empty.png", "neither")), ("text.safetensors", 1, ("text.safetensors", "neither")),
        ("cut.jpg", 1, ("cut.jpg",)),
        ("dot.png", 3, ("dot.png", "face")), ("strange.safetensors", 2, ("telepathy", "photo")),
        ("new.safetensors", 1, ("newer", "update")), ("hollow.safetensors", 1, ("fit it again",)),
    ):  # fmt: skip
        refused(code, words, tmp_path / name, "talk", "-o", "out.mp4")


def test_drivers_that_drive_nothing(
    folder: Path, good: Path, tmp_path: Path, moving_clip: Path, clip: Clip
) -> None:
    track = load_track(good)
    data = moving_clip.read_bytes()
    for name, content in (
        ("text.mp4", b"no video\n" * 50),
        ("empty.mp4", b""),
        ("cut.mp4", data[: len(data) // 2]),
    ):
        (tmp_path / name).write_bytes(content)
    bomb = tmp_path / "bomb.npz"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("meta.npy", "w") as member:
        for _ in range(80):
            member.write(bytes(1 << 20))
    with VideoWriter(tmp_path / "tiny.mp4", 16, 16, 25.0) as writer:
        for t in range(4):
            writer.write(np.full((16, 16, 3), 40 * t, np.uint8))
    me = tmp_path / "me.safetensors"
    for driver, code, words in (
        ("missing.mp4", 1, ("missing.mp4", "no performance")), (tmp_path / "text.mp4", 1, ("text.mp4",)),
        (tmp_path / "empty.mp4", 1, ("empty.mp4",)), (tmp_path / "cut.mp4", 1, ("cut.mp4",)),
        (bomb, 1, ("refused",)), (clip("notperson_dog"), 3, ("face",)),
        (tmp_path / "tiny.mp4", 3, ("face",)),
    ):  # fmt: skip
        refused(code, words, me, "--driver", driver, "-o", "out.mp4")
    for arrays, code, words in (
        ({"meta": np.array(json.dumps({**track.meta, "format": 99}))}, 1, ("newer", "update")),
        ({"extra": np.array([object()], dtype=object)}, 1, ("pickled",)),
        ({"translation": np.full_like(track.translation, np.nan)}, 1, ("'translation'", "NaN")),
        ({"valid": np.zeros_like(track.valid)}, 3, ("face",)),
    ):
        refused(code, words, me, changed(good, **arrays), "-o", "out.mp4")


def test_options_that_cannot_be_met(folder: Path, good: Path, tmp_path: Path, moving_clip: Path) -> None:
    me = tmp_path / "me.safetensors"
    lost = changed(good, meta=np.array(json.dumps(_elsewhere(load_track(good)))))
    for arguments, code, words in (
        ((good, "-o", "out.png"), 2, ("out.png", "%05d")),
        ((good, "-o", "out.txt"), 2, ("out.txt",)),
        ((good, "-o", "no such folder/out.mp4"), 1, ("no such folder",)),
        ((lost, "--side-by-side", "-o", "out.mp4"), 1, ("--video",)),
        (("idle", "--video", moving_clip, "--mouth", "driver", "-o", "out.mp4"), 2, ("avatar already",)),
        ((good, "--start", "99", "-o", "out.mp4"), 2, ("--start 99",)),
    ):
        refused(code, words, me, *arguments)


def _elsewhere(track: Track) -> dict[str, Any]:
    return {**track.meta, "video": {**track.meta["video"], "path": "/gone/clip.mp4", "name": "gone.mp4"}}


def test_a_cartoon_moves(folder: Path, clip: Clip) -> None:
    result = avatarkit(
        "reenact", clip("notperson_cartoon"), "smile", "--size", "128", "--max-frames", "30", "-o", "c.mp4", "--json"
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    frames = [frame.astype(int) for _, frame in read_frames(Path("c.mp4"))]
    assert len(frames) == 30 and np.abs(frames[-1] - frames[0]).max() > 40


def test_strange_photos_and_clips_work(folder: Path, clip: Clip, tmp_path: Path) -> None:
    """Grey, alpha, an odd size, two people; a driver with gaps, and a name that begins with a dash."""
    photo = small(read_image(clip("photo02"))[:550, :550], 360)
    write_image(folder / "grey ä.png", cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY))
    write_image(folder / "alpha.png", np.dstack([photo[:333, :301], np.full((333, 301), 255, np.uint8)]))
    other = small(read_image(clip("photo04"))[:550, :550], 360)
    write_image(folder / "two.png", np.concatenate([photo, other], 1))
    with VideoWriter(tmp_path / "some.mp4", 256, 256, 25.0) as writer:
        for t, (_, frame) in enumerate(read_frames(clip("person05"), 0, 12, size=(256, 256))):
            writer.write(frame if not 4 <= t < 8 else np.zeros_like(frame))
    (folder / "-some.mp4").write_bytes((tmp_path / "some.mp4").read_bytes())
    made = []
    for options, inputs in (
        ((), ("grey ä.png", "-some.mp4")), ((), ("alpha.png", "blink")), (("--face", "2"), ("two.png", "blink")),
    ):  # fmt: skip
        chosen = (*options, "--json", "--size", "96", "--max-frames", "12", "-o", "out.mp4")
        result = avatarkit("reenact", *chosen, "--", *inputs)
        assert result.exit_code == 0, result.stderr
        made.append(json.loads(result.stdout.splitlines()[-1]))
    assert [m["held"] for m in made] == [4, 0, 0] and made[0]["frames"] == 12
    assert made[1]["size"] == [86, 96] and probe(Path("out.mp4")).width == 96
    refused(2, ("--face",), "two.png", "blink", "--face", "both", "-o", "x.mp4")


def test_a_full_disk_and_a_reader_that_closes_early(folder: Path, good: Path, clip: Clip) -> None:
    photo = clip("photo02")
    if Path("/dev/full").exists():
        with open("/dev/full", "wb") as full:
            process = start("reenact", photo, "blink", "--size", "64", "-o", "-", "--quiet", stdout=full)
            assert said(process) == ["avatarkit: the disk is full"] and process.returncode == 1
    read, write = os.pipe()
    process = start("reenact", photo, "blink", "--size", "64", "--quiet", "-o", "-", stdout=write)
    os.close(write)
    os.close(read)
    assert said(process) == [] and process.returncode == 0
    assert list(folder.iterdir()) == []


def test_ctrl_c(folder: Path, clip: Clip) -> None:
    process = start("reenact", clip("photo02"), clip("person06"), "-o", "long.mp4", stdout=subprocess.DEVNULL)
    assert process.stderr is not None
    for _ in range(600):  # until frames are written
        if list(folder.iterdir()):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert said(process)[-1:] == ["avatarkit: interrupted"] and process.returncode == 130
    assert list(folder.iterdir()) == []
