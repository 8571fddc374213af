"""Reading and writing clips: exact counts, upright pictures, honest colors, flat memory, clear refusals."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from avatarkit import __version__
from avatarkit.files import ffmpeg, video
from avatarkit.files.errors import AvatarkitError
from avatarkit.files.video import VideoWriter, probe, read_frames, read_frames_at
from tests.conftest import moving_frame


def run_ffmpeg(*arguments: str | Path) -> None:
    command = [ffmpeg.executable(), "-hide_banner", "-loglevel", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean(((a.astype(float) - b) / 255) ** 2)))


def test_a_written_clip_reads_back_whole_and_in_its_colors(moving_clip: Path) -> None:
    info = probe(moving_clip)
    assert (info.kind, info.width, info.height, info.fps, info.frames) == ("video", 96, 64, 12.0, 24)
    assert info.codec == "h264" and not info.has_audio and not info.variable_rate and info.rotation == 0
    frames = list(read_frames(moving_clip))
    assert [i for i, _ in frames] == list(range(24))
    bias = np.mean([f.astype(float) - moving_frame(i) for i, f in frames], axis=(0, 1, 2))
    assert np.abs(bias).max() < 0.5  # a quick yuv conversion is off by 1 to 2 levels
    assert min(psnr(f, moving_frame(i)) for i, f in frames) > 30


def test_ranges_thinning_and_picking_keep_the_clip_s_own_numbers(moving_clip: Path) -> None:
    whole = dict(read_frames(moving_clip))
    part = dict(read_frames(moving_clip, 5, 9))
    assert sorted(part) == [5, 6, 7, 8]
    assert all((part[i] == whole[i]).all() for i in part)
    assert [i for i, _ in read_frames(moving_clip, fps=6)] == list(range(0, 24, 2))
    assert [i for i, _ in read_frames(moving_clip, fps=100)] == list(range(24))
    picked = dict(read_frames_at(moving_clip, [20, 3, 3, 11]))
    assert sorted(picked) == [3, 11, 20] and (picked[20] == whole[20]).all()
    assert list(read_frames(moving_clip, 30, 40)) == []
    with pytest.raises(AvatarkitError, match="frame 24"):
        list(read_frames_at(moving_clip, [23, 24]))


def test_resizing_while_reading(moving_clip: Path) -> None:
    _, frame = next(read_frames(moving_clip, size=(48, 32)))
    expected = cv2.resize(moving_frame(0), (48, 32), interpolation=cv2.INTER_AREA)
    assert frame.shape == (32, 48, 3) and psnr(frame, expected) > 28


def test_stopping_early_leaves_no_process(moving_clip: Path) -> None:
    frames = read_frames(moving_clip)
    next(frames)
    frames.close()


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_display_rotation_is_applied(moving_clip: Path, tmp_path: Path, degrees: int) -> None:
    turned = tmp_path / "turned.mp4"
    run_ffmpeg("-display_rotation", degrees, "-i", moving_clip, "-c", "copy", turned)
    info = probe(turned)
    assert info.rotation == degrees
    assert (info.width, info.height) == ((64, 96) if degrees % 180 else (96, 64))
    _, frame = next(read_frames(turned))
    assert psnr(frame, np.rot90(moving_frame(0), degrees // 90)) > 30


def test_a_variable_rate_becomes_its_mean_with_a_note(moving_clip: Path, tmp_path: Path) -> None:
    variable = tmp_path / "variable.mp4"
    run_ffmpeg("-i", moving_clip, "-vf", "select=lt(n\\,12)+not(mod(n\\,3))", "-fps_mode", "vfr", variable)
    info = probe(variable)
    assert info.variable_rate and len(info.notes) == 1 and "variable frame rate" in info.notes[0]
    assert 8 < info.fps < 10
    frames = [f for _, f in read_frames(variable)]
    assert abs(len(frames) - info.frames) <= 1
    # the time of each shown frame is right: its square stands where it stood at that moment
    for k, frame in enumerate(frames):
        shown = np.flatnonzero(frame[32, :, 1].astype(int) > 100)[0]
        assert abs((shown - 8) / 2 / 12 - k / info.fps) < 0.26


def test_pixel_aspect_is_made_square(moving_clip: Path, tmp_path: Path) -> None:
    wide = tmp_path / "wide.mp4"
    run_ffmpeg("-i", moving_clip, "-vf", "setsar=2", wide)
    assert (probe(wide).width, probe(wide).height) == (192, 64)
    assert next(read_frames(wide))[1].shape == (64, 192, 3)


@pytest.mark.parametrize(("width", "height"), [(16, 16), (33, 21)])
def test_tiny_and_odd_sizes(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "odd.mp4"
    frame = np.random.default_rng(0).integers(0, 255, (height, width, 3)).astype(np.uint8)
    with VideoWriter(path, width, height, 25.0, crf=1) as writer:
        writer.write(frame)
    info = probe(path)
    assert (info.width, info.height) == (width + width % 2, height + height % 2)
    _, back = next(read_frames(path))
    luma = np.array([0.2126, 0.7152, 0.0722])
    assert np.abs(back[:height, :width] @ luma - frame @ luma).mean() < 6  # chroma is halved, luma is not


def test_grey_and_alpha_videos(moving_clip: Path, tmp_path: Path) -> None:
    for name, options in {
        "grey.mp4": ["-pix_fmt", "gray"],
        "alpha.mov": ["-vf", "format=rgba", "-c:v", "qtrle"],
    }.items():
        path = tmp_path / name
        run_ffmpeg("-i", moving_clip, *options, path)
        index, frame = next(read_frames(path))
        assert index == 0 and frame.shape == (64, 96, 3)


def test_sound_is_copied_and_the_video_says_that_it_is_synthetic(
    clip: Callable[[str], Path], tmp_path: Path
) -> None:
    source = clip("person01")
    path = tmp_path / "ein Film – ü.mp4"
    with VideoWriter(path, 64, 64, 30.0, audio_from=source, audio_start=1.0) as writer:
        for _ in range(45):
            writer.write(np.zeros((64, 64, 3), np.uint8))
    info = probe(path)
    assert info.has_audio and info.audio_codec == "aac" and info.frames == 45
    assert info.comment == f"Synthetic media made with avatarkit {__version__}"
    said = subprocess.run([ffmpeg.executable(), "-i", path], capture_output=True, check=False).stderr.decode()
    duration = said.split("Duration: ")[1].split(",")[0]
    assert float(duration.split(":")[2]) == pytest.approx(1.5, abs=0.1)


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "half.mp4"
    with pytest.raises(RuntimeError, match="midway"), VideoWriter(path, 32, 32, 25.0) as writer:
        writer.write(np.zeros((32, 32, 3), np.uint8))
        raise RuntimeError("midway")
    with pytest.raises(AvatarkitError, match="no frame"), VideoWriter(path, 32, 32, 25.0):
        pass
    with (
        pytest.raises(AvatarkitError, match="does not exist"),
        VideoWriter(tmp_path / "no" / "a.mp4", 32, 32, 25.0),
    ):
        pass
    with pytest.raises(AvatarkitError, match=r"\.mp4"), VideoWriter(tmp_path / "a.txt", 32, 32, 25.0):
        pass
    assert list(tmp_path.iterdir()) == []


def test_clear_refusals(moving_clip: Path, tmp_path: Path) -> None:
    data = moving_clip.read_bytes()
    bad = {
        "text.mp4": b"hello, I am no video\n" * 20,
        "zero.mp4": b"",
        "cut.mp4": data[: len(data) // 2],
        "header.mp4": data[:60],
    }
    for name, content in bad.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(AvatarkitError) as caught:
            probe(path)
        message = str(caught.value)
        assert name in message and "\n" not in message and "0x" not in message
    with pytest.raises(AvatarkitError, match="empty"):
        probe(tmp_path / "zero.mp4")
    with pytest.raises(AvatarkitError, match="truncated"):
        probe(tmp_path / "cut.mp4")
    with pytest.raises(AvatarkitError, match="no such file"):
        probe(tmp_path / "missing.mp4")
    sound = tmp_path / "sound.wav"
    run_ffmpeg("-f", "lavfi", "-i", "sine=duration=0.2", sound)
    with pytest.raises(AvatarkitError, match="no picture"):
        probe(sound)


def test_names_that_look_like_something_else(
    moving_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("-dash.mp4", "http:x.mp4", "a b ö%03d.mp4"):
        Path(name).write_bytes(moving_clip.read_bytes())
        assert sum(1 for _ in read_frames(Path(name))) == 24


def test_the_real_clips_hold_what_their_list_says(clip: Callable[[str], Path]) -> None:
    expected = {
        "person01": (480, 480, 30, 1008, True), "person02": (512, 512, 30, 354, True),
        "person03": (720, 1280, 30, 352, False), "person04": (1080, 1920, 25, 502, True),
        "person05": (512, 512, 25, 500, True), "person06": (360, 288, 24, 4800, False),
    }  # fmt: skip
    for name, facts in expected.items():
        info = probe(clip(name))
        assert (info.width, info.height, round(info.fps), info.frames, info.has_audio) == facts
    assert probe(clip("person01")).sha256.startswith("00e3ea79bbf28cbd")
    assert [i for i, _ in read_frames(clip("person05"), 495)] == list(range(495, 500))


@pytest.mark.parametrize(
    ("tags", "pixels", "planes"),
    [
        ("colorspace=bt709:range=tv", "yuv420p", "bt709"),
        ("colorspace=smpte170m:range=tv", "yuv420p", "bt601"),
        ("range=tv", "yuv420p", "bt601"),
        ("colorspace=bt709:range=pc", "yuv420p", ""),
        ("colorspace=smpte240m:range=tv", "yuv420p", ""),
        ("colorspace=bt709:range=tv", "yuv444p", ""),
    ],
)
def test_every_color_space_is_read_as_ffmpeg_reads_it(
    tmp_path: Path, tags: str, pixels: str, planes: str
) -> None:
    clip = tmp_path / "tagged.mkv"
    drawn = ["-f", "lavfi", "-i", "testsrc2=size=97x65:rate=12", "-frames:v", 2]
    run_ffmpeg(*drawn, "-vf", f"format={pixels},setparams={tags}", "-c:v", "libx264", "-qp", 0, clip)
    info = probe(clip)
    assert info.planes == planes
    theirs = dict(video._read(replace(info, planes=""), 0, None, None, lambda index: True))
    for index, frame in read_frames(clip):
        assert np.abs(frame.astype(int) - theirs[index]).max() <= 2
