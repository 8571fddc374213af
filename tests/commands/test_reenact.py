"""``reenact`` with avatars whose brightness tells what drove them, and with real photos and clips."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from avatarkit.cli import app
from avatarkit.commands.casting import cast, stem, target
from avatarkit.files.avatar import save_avatar
from avatarkit.files.errors import AvatarkitError, UsageError
from avatarkit.files.images import read_image, write_image
from avatarkit.files.track import Track, save_track
from avatarkit.files.video import probe, read_frames
from avatarkit.heads import arkit
from avatarkit.methods import registry
from avatarkit.methods.registry import Drive, Frame
from avatarkit.rendering.camera import Camera
from tests.commands.picture_method import Picture, PictureAvatar, picture_avatar

JAW = arkit.INDEX["jawOpen"]


class JawAvatar(PictureAvatar):
    """A grey square, as bright as the jaw is open."""

    def render(self, drive: Drive, camera: Camera) -> Frame:
        image = np.full((camera.height, camera.width, 3), drive.expression[JAW], np.float32)
        return Frame(image, np.ones(image.shape[:2], np.float32))


class RigAvatar(JawAvatar):
    """Draws whole frames [40, 60]: red is 10 times the pixels the driver's chin is below its neutral frame's."""

    def start(self, neutral: Drive, camera: Camera) -> float:
        assert neutral.landmarks is not None and camera.width == 96
        return float(neutral.landmarks[152, 1])

    def frame(self, drive: Drive, motion: float | None) -> np.ndarray:
        image = np.zeros((40, 60, 3), np.uint8)
        if motion is not None and drive.landmarks is not None:
            image[..., 0] = np.clip(10 * (drive.landmarks[152, 1] - motion), 0, 255)
        image[..., 1] = 255 * drive.expression[JAW]
        image[..., 2] = self.picture[0, 0, 2]
        return image

    def before(self, change: Callable[[np.ndarray], np.ndarray]) -> RigAvatar:
        return RigAvatar(
            self.picture * 0 + int(change(np.full((40, 60, 3), 90, np.uint8))[0, 0, 2]), self.header
        )


class Jaw(Picture):
    name = "picture"
    Avatar = JawAvatar


class Rig(Picture):
    name = "rig"
    Avatar = RigAvatar


@pytest.fixture(autouse=True)
def _plugged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(registry.METHODS, "picture", "tests.commands.test_reenact:Jaw")
    monkeypatch.setitem(registry.METHODS, "rig", "tests.commands.test_reenact:Rig")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def track(make_track: Callable[..., Track], moving_clip: Path) -> Track:
    """The jaw opens over the clip, and the chin falls by a pixel a frame."""
    track = make_track(moving_clip)
    track.expression[:] = 0
    track.expression[:, JAW] = np.linspace(0, 0.9, len(track))
    track.landmarks[:] = track.landmarks[0]
    track.landmarks[:, 152, 1] += np.arange(len(track))
    save_track(track, Path("clip.track.npz"))
    return track


@pytest.fixture
def avatars(track: Track) -> list[Path]:
    tensors, header = picture_avatar(track, np.zeros((32, 32, 3), np.uint8)).state()
    header["reference"]["expression_range"] = [[0.0] * 52, [1.0] * 52]
    save_avatar(Path("jaw.safetensors"), tensors, header)
    save_avatar(Path("rig.safetensors"), tensors, header | {"method": "rig"})
    return [Path("jaw.safetensors"), Path("rig.safetensors")]


def reenacted(*arguments: str | Path) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["reenact", *map(str, arguments), "--json", "--quiet", "--threads", "1"])
    assert result.exit_code == 0, (result.stderr, result.exception)
    summary: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return summary


def refused(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["reenact", *map(str, arguments), "--quiet"])
    return result.exit_code, result.stderr


def test_an_avatar_is_moved_by_a_track(avatars: list[Path], track: Track) -> None:
    summary = reenacted(avatars[0], "clip.track.npz", "-o", "out.mp4")
    assert summary["frames"] == len(track) and summary["size"] == [96, 64] and summary["output"] == "out.mp4"
    assert summary["ms_per_frame_total"] > summary["ms_per_frame_render"] > 0 < summary["prepare_seconds"]
    assert "Synthetic" in probe(Path("out.mp4")).comment
    bright = [frame[32, 48, 1] / 255 for _, frame in read_frames(Path("out.mp4"))]
    np.testing.assert_allclose(bright, track.expression[:, JAW], atol=0.02)


def test_a_rig_sees_the_drivers_landmarks_and_its_neutral_frame(avatars: list[Path], track: Track) -> None:
    from avatarkit.methods.driving import neutral_frame

    rest = neutral_frame(track)
    summary = reenacted(avatars[1], "clip.track.npz", "-o", "f/%03d.png")
    assert summary["frames"] == len(track) and summary["size"] == [60, 40]
    red = [int(read_image(Path(f"f/{i:03d}.png"))[0, 0, 0]) for i in range(len(track))]
    np.testing.assert_allclose(red, np.maximum(10 * (np.arange(len(track)) - rest), 0), atol=1)
    reenacted(avatars[1], "clip.track.npz", "--parts", "pose", "-o", "g/%03d.png")
    for i in (0, len(track) - 1):  # nothing turns: jaw and chin stay where the neutral frame has them
        red, green, _ = read_image(Path(f"g/{i:03d}.png"))[0, 0].astype(int)
        assert red < 10 and abs(green - 255 * track.expression[rest, JAW]) <= 1


def test_invalid_frames_hold_the_last_good_one(avatars: list[Path], track: Track) -> None:
    track.valid[:2] = track.valid[8:11] = False
    save_track(track, Path("gaps.track.npz"))
    summary = reenacted(avatars[1], "gaps.track.npz", "-o", "f/%03d.png")
    assert summary["held"] == 5 and summary["frames"] == len(track)
    green = [int(read_image(Path(f"f/{i:03d}.png"))[0, 0, 1]) for i in range(len(track))]
    assert green[0] == green[1] == green[2] and green[7] == green[8] == green[10] < green[11]


def test_several_go_into_a_folder(avatars: list[Path], track: Track) -> None:
    summary = reenacted(*avatars, "clip.track.npz", "idle", "--max-frames", 5, "-o", "made")
    names = {f"{who}.{what}.reenact.mp4" for who in ("jaw", "rig") for what in ("clip", "idle")}
    assert {p.name for p in Path("made").iterdir()} == names
    assert summary["frames"] == 20 and len(summary["results"]) == 4 and len(summary["output"]) == 4


def test_idle_loops_without_a_seam(avatars: list[Path]) -> None:
    from avatarkit.rendering.performance import performance

    idle = performance("idle", 25.0)
    step = np.linalg.norm(np.diff(idle.rotation[:, :, 2], axis=0), axis=1)
    seam = float(np.linalg.norm(idle.rotation[0, :, 2] - idle.rotation[-1, :, 2]))
    assert seam < 1.5 * step.max()
    assert reenacted(avatars[1], "idle", "-o", "idle.mp4")["frames"] == len(idle) == 200


def test_a_still_a_background_a_size_and_a_mark(avatars: list[Path]) -> None:
    summary = reenacted(
        avatars[1], "--set", "jawOpen=0.5", "--background", "white", "--size", 120, "-o", "a.png"
    )
    assert summary["frames"] == 1 and summary["size"] == [120, 80]
    plain = read_image(Path("a.png"))
    np.testing.assert_array_equal(plain[20, 20], [0, 127, 255])
    reenacted(
        avatars[1], "--set", "jawOpen=0.5", "--background", "white", "--size", 120, "--mark", "-o", "b.png"
    )
    marked = read_image(Path("b.png"))
    assert (marked[:40] == plain[:40]).all() and (marked[-8:, -30:] != plain[-8:, -30:]).any()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["jaw.safetensors", "nothing.mp4"], 1, "no such file"),
        (["clip.track.npz"], 2, "nobody to move"),
        (["jaw.safetensors", "talk", "--parts", "nose"], 2, "--parts nose"),
        (["jaw.safetensors", "talk", "--set", "noSuchShape=1"], 2, "noSuchShape"),
        (["jaw.safetensors", "talk", "--background", "clip.track.npz"], 2, "picture file"),
        (["jaw.safetensors", "talk", "smile"], 2, "folder"),
        (["jaw.safetensors", "talk", "--start", "9"], 2, "lasts 7.2 seconds"),
        (["jaw.safetensors", "talk", "--start", "2", "--end", "1"], 2, "after the start"),
        (["jaw.safetensors", "talk", "--mouth", "generic"], 2, "avatar already"),
    ],
)
def test_refusals_are_one_line(avatars: list[Path], arguments: list[str], code: int, words: str) -> None:
    got, message = refused(*arguments, "-o", "result.mp4")
    assert got == code and words in message and message.count("\n") == 1
    assert not list(Path.cwd().glob("result*")) and not list(Path.cwd().glob(".*part*"))


def test_who_plays_whom(avatars: list[Path], tmp_path: Path) -> None:
    write_image(Path("me.png"), np.zeros((8, 8, 3), np.uint8))
    both = cast([Path("clip.track.npz"), Path("me.png"), Path("talk")], [], False)
    assert both.pairs == [(Path("me.png"), "talk"), (Path("me.png"), "clip.track.npz")] or both.pairs == [
        (Path("me.png"), "clip.track.npz"),
        (Path("me.png"), "talk"),
    ]
    folder = cast([tmp_path], ["smile"], False)
    assert [p.name for p in folder.sources] == ["jaw.safetensors", "me.png", "rig.safetensors"]
    assert folder.drivers[0] == "smile" and Path(folder.drivers[1]).name == "clip.track.npz"
    assert cast([Path("me.png")], [], True).pairs == [(Path("me.png"), None)]
    assert stem(Path("me.png"), "x/clip.track.npz") == "me.clip" and stem(Path("me.png"), "-") == "me.stdin"
    assert target(None, (Path("me.png"), "talk"), False) == Path("me.talk.reenact.mp4")
    with pytest.raises(UsageError, match="write - once"):
        cast([Path("me.png"), Path("-"), Path("-")], [], False)
    with pytest.raises(AvatarkitError, match="no performance"):
        cast([Path("me.png")], ["dance"], False)


def test_a_photo_without_a_person_leaves_with_3(clip: Callable[[str], Path]) -> None:
    code, message = refused(clip("notperson_dog"), "talk", "-o", "dog.mp4")
    assert code == 3 and "no person's face" in message and message.count("\n") == 1
    assert not Path("dog.mp4").exists()


def test_a_photo_moves_like_the_person_it_shows(clip: Callable[[str], Path]) -> None:
    """A clip's neutral frame driven by the clip comes closer to it than the unmoved frame, in 256 pixels."""
    from avatarkit.methods.driving import neutral_frame
    from avatarkit.tracking import TrackOptions
    from avatarkit.tracking.stream import TrackStream

    video = clip("person05")
    with TrackStream(video, TrackOptions(max_frames=50, windows=2), coefficients=False) as stream:
        rest = neutral_frame(stream.calibration)
    frames = [frame for _, frame in read_frames(video, 0, 50, size=(256, 256))]
    write_image(Path("me.png"), next(read_frames(video, rest, rest + 1))[1])
    summary = reenacted("me.png", video, "--max-frames", 50, "--size", 256, "-o", "out.mp4")
    assert summary["frames"] == 50 and summary["size"] == [256, 256] and summary["held"] == 0
    assert probe(Path("out.mp4")).has_audio
    made = [frame for _, frame in read_frames(Path("out.mp4"))]
    moved, unmoved = (
        float(np.mean([_psnr(a, b) for a, b in zip(some, frames, strict=True)]))
        for some in (made, [frames[rest]] * 50)
    )
    assert _psnr(made[rest], frames[rest]) > 32
    assert moved > unmoved + 1.0


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.square(a.astype(np.float64) - b).mean()
    return float(min(60.0, 10 * np.log10(255**2 / max(error, 1e-9))))


def test_a_photo_moves_like_somebody_else(clip: Callable[[str], Path]) -> None:
    """The landmarks of what comes out follow the driver's mouth and turns; those of the unmoved photo do not."""
    from avatarkit.methods.photo.frames import motion_of
    from avatarkit.methods.photo.rules import measured
    from avatarkit.tracking import TrackOptions
    from avatarkit.tracking.stream import TrackStream

    part = ("--start", "9", "--max-frames", "40")
    reenacted(clip("photo03"), clip("person02"), *part, "--size", 288, "--crop", "head", "-o", "out.mp4")

    def seen(path: Path, start: float = 0.0) -> np.ndarray:
        with TrackStream(path, TrackOptions(start=start, max_frames=40), coefficients=False) as stream:
            blocks = list(stream.blocks())
        assert all(block.valid.all() for block in blocks)
        return np.concatenate([block.landmarks for block in blocks])

    def followed(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lip gap over the face's height, and the head's turn since the first frame."""
        faces = points.astype(np.float64)
        gaps = np.array([measured(motion_of(faces[0], face).undone(face)).lip_gap for face in faces])
        return gaps, np.stack([motion_of(faces[0], face).rotation for face in faces])

    gap, turn = followed(seen(clip("person02"), 9.0))
    made_gap, made_turn = followed(seen(Path("out.mp4")))
    cosine = (np.einsum("tij,tij->t", turn, made_turn) - 1) / 2
    unmoved = (np.trace(turn, axis1=1, axis2=2) - 1) / 2
    error, without = (np.degrees(np.arccos(np.clip(c, -1, 1))).mean() for c in (cosine, unmoved))
    assert np.corrcoef(gap, made_gap)[0, 1] > 0.93
    assert np.ptp(made_gap) > 0.6 * np.ptp(gap) > 0.05
    assert error < 5.0 and without > 7.0


def test_live_smoothing_is_close_to_the_whole_and_loses_no_frame(clip: Callable[[str], Path]) -> None:
    photo, driver = clip("photo02"), clip("person05")
    for name, extra in (("whole.mp4", ()), ("live.mp4", ("--live-smoothing",))):
        summary = reenacted(photo, driver, "--max-frames", 30, "--size", 128, *extra, "-o", name)
        assert summary["frames"] == 30 and summary["held"] == 0
    whole, live = ([f.astype(float) for _, f in read_frames(Path(n))] for n in ("whole.mp4", "live.mp4"))
    moved = np.mean([np.abs(frame - whole[0]).mean() for frame in whole])
    assert np.mean([np.abs(a - b).mean() for a, b in zip(whole, live, strict=True)]) < 2 * moved


def test_rates_and_spans(avatars: list[Path], track: Track) -> None:
    """--fps repeats or leaves out frames, --start and --end cut, and a track's own video stands beside the result."""
    whole = reenacted(avatars[1], "clip.track.npz", "-o", "a/%03d.png")
    double = reenacted(avatars[1], "clip.track.npz", "--fps", 24, "-o", "b/%03d.png")
    assert double["frames"] == 2 * whole["frames"]
    for i in (0, 5, 20):
        a, b = read_image(Path(f"a/{i:03d}.png")), read_image(Path(f"b/{2 * i:03d}.png"))
        np.testing.assert_array_equal(a, b)
    part = reenacted(avatars[1], "clip.track.npz", "--start", 0.5, "--end", 1.0, "-o", "c/%03d.png")
    assert part["frames"] == 6
    np.testing.assert_array_equal(read_image(Path("a/006.png")), read_image(Path("c/000.png")))
    beside = reenacted(avatars[1], "clip.track.npz", "--side-by-side", "--start", 0.5, "-o", "d/%03d.png")
    assert beside["size"] == [120, 40]
    left = read_image(Path("d/000.png"))[:, :60].astype(int)
    bright = np.flatnonzero(left[20, :, 0] > 170).mean() * 96 / 60
    assert abs(bright - (8 + 2 * 6 + 8)) < 3  # where the clip's square is in frame 6


def test_paced() -> None:
    from avatarkit.commands.acting import paced

    assert list(paced("abcd", 25.0, 25.0)) == list("abcd")
    assert list(paced("abcd", 25.0, 50.0)) == list("aabbccdd")
    assert list(paced("abcdef", 30.0, 10.0)) == list("ad")
    assert list(paced("abcde", 25.0, 30.0)) == list("aabcde")
