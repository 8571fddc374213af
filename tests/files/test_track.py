"""The track file: a faithful round trip, fixed bytes, and every refusal of a damaged or hostile file."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avatarkit.files.errors import AvatarkitError
from avatarkit.files.source import resolve_video
from avatarkit.files.track import Track, load_track, save_track
from avatarkit.files.video import VideoWriter

Maker = Callable[..., Track]


@pytest.fixture
def full(make_track: Maker, moving_clip: Path) -> Track:
    track = make_track(moving_clip)
    random = np.random.default_rng(1)
    track.shapes = random.normal(size=(52, 60, 3)).astype(np.float16)
    track.torso = random.normal(size=(24, 2, 3)).astype(np.float32)
    track.torso_confidence = random.random(24).astype(np.float32)
    track.extra = random.normal(size=(24, 3)).astype(np.float32)
    track.extra_names = ("a", "b", "ç")
    track.mattes = [{"person": b"P%d" % t, "head": b"h" * t, "labels": b"L"} for t in range(24)]
    track.mattes[3] = {}
    track.video = moving_clip.read_bytes()
    track.more = {"future": np.arange(5)}
    return track


def rewritten(path: Path, **changes: Any) -> Path:
    """The track at ``path`` with some arrays replaced (None: removed)."""
    with np.load(path, allow_pickle=False) as arrays:
        kept = {k: arrays[k] for k in arrays.files}
    for key, value in changes.items():
        kept.pop(key, None)
        if value is not None:
            kept[key] = value
    out = path.with_name("changed.npz")
    np.savez(out, **kept)
    return out


def test_everything_comes_back(full: Track, tmp_path: Path) -> None:
    path = tmp_path / "a ü.track.npz"
    save_track(full, path)
    back = load_track(path)
    for f in fields(Track):
        a, b = getattr(full, f.name), getattr(back, f.name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
        elif f.name == "mattes":
            assert b == [
                {k: v for k, v in frame.items() if v} for frame in a
            ]  # empty pictures are no pictures
        elif f.name == "more":
            np.testing.assert_array_equal(b["future"], a["future"])
        elif f.name == "meta":
            assert {k: b[k] for k in a} == a and b["tool"].startswith("avatarkit ")
        else:
            assert a == b
    with np.load(path, allow_pickle=False) as arrays:  # readable anywhere
        assert json.loads(str(arrays["meta"]))["format"] == 1
        assert arrays["matte_offset"].shape == (24 * 3 + 1,)


def test_the_same_track_gives_the_same_bytes_to_files_and_pipes(full: Track, tmp_path: Path) -> None:
    class Pipe(io.RawIOBase):
        """Takes bytes, cannot seek."""

        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            self.data += bytes(data)
            return len(data)

    save_track(full, tmp_path / "a.npz")
    save_track(full, tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    pipe = Pipe()
    save_track(full, pipe)  # type: ignore[arg-type]
    back = load_track(io.BytesIO(bytes(pipe.data)))
    np.testing.assert_array_equal(back.landmarks, full.landmarks)
    assert back.video == full.video


def test_missing_keys_wrong_shapes_and_versions_are_named(
    make_track: Maker, moving_clip: Path, tmp_path: Path
) -> None:
    path = tmp_path / "t.npz"
    track = make_track(moving_clip)
    save_track(track, path)
    nan = track.rotation.copy()
    nan[4, 0, 0] = np.nan
    cases: list[tuple[dict[str, Any], str]] = [
        ({"rotation": None}, "'rotation' is missing"),
        ({"meta": None}, "'meta' is missing"),
        ({"meta": np.array("not json")}, "'meta'"),
        ({"meta": np.array(json.dumps({"format": 99}))}, "newer"),
        (
            {"translation": np.zeros((5, 3), np.float32)},
            r"'translation' has shape \[5, 3\], expected \[24, 3\]",
        ),
        ({"crop": np.array([0, 0, 0, 0], np.int32)}, "crop"),
        ({"rotation": nan}, "'rotation' holds numbers that are not finite"),
        ({"neutral": np.full((60, 3), np.inf, np.float32)}, "'neutral'"),
        ({"frame": track.frame[::-1].copy()}, "do not rise"),
        ({"matte_data": np.zeros(4, np.uint8)}, "segment"),
        (
            {
                "matte_data": np.zeros(4, np.uint8),
                "matte_offset": np.arange(25),
                "matte_names": np.array(["person"]),
            },
            "mattes do not fit",
        ),
    ]
    for changes, message in cases:
        with pytest.raises(AvatarkitError, match=message) as caught:
            load_track(rewritten(path, **changes))
        assert "\n" not in str(caught.value) and "changed.npz" in str(caught.value)


def test_numbers_may_be_missing_where_no_face_was_found(
    make_track: Maker, moving_clip: Path, tmp_path: Path
) -> None:
    track = make_track(moving_clip)
    track.valid[4] = False
    track.rotation[4] = np.nan
    track.landmarks[4] = np.nan
    save_track(track, tmp_path / "t.npz")
    assert not load_track(tmp_path / "t.npz").valid[4]


def test_nothing_is_ever_unpickled(make_track: Maker, moving_clip: Path, tmp_path: Path) -> None:
    touched = tmp_path / "touched"

    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (touched,))

    path = tmp_path / "t.npz"
    save_track(make_track(moving_clip), path)
    evil = rewritten(path, extra=np.array([Evil()], dtype=object))
    with pytest.raises(AvatarkitError, match="pickled"):
        load_track(evil)
    plain = tmp_path / "plain.npz"
    plain.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(AvatarkitError, match="not a whole track"):
        load_track(plain)
    assert not touched.exists()


def test_bombs_and_lying_headers_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.npz"
    with (
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("landmarks.npy", "w") as member,
    ):
        np.lib.format.write_array_header_1_0(
            member, {"descr": "<f4", "fortran_order": False, "shape": (25 << 20,)}
        )
        for _ in range(100):
            member.write(bytes(1 << 20))
    assert bomb.stat().st_size < 1 << 20
    with pytest.raises(AvatarkitError, match="refused"):
        load_track(bomb)
    liar = tmp_path / "liar.npz"
    with zipfile.ZipFile(liar, "w") as archive, archive.open("frame.npy", "w") as member:
        np.lib.format.write_array_header_1_0(
            member, {"descr": "<f8", "fortran_order": False, "shape": (1 << 45,)}
        )
    with pytest.raises(AvatarkitError, match="claims"):
        load_track(liar)


def test_truncated_text_and_empty_input(make_track: Maker, moving_clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    save_track(make_track(moving_clip), path)
    for content in (path.read_bytes()[:-200], path.read_bytes()[:5000], b"hello", b""):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(AvatarkitError, match="not a whole track"):
            load_track(tmp_path / "bad.npz")
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 3] ^= 0xFF
    (tmp_path / "bad.npz").write_bytes(bytes(damaged))
    with pytest.raises(AvatarkitError):
        load_track(tmp_path / "bad.npz")
    with pytest.raises(AvatarkitError, match="empty"):
        load_track(io.BytesIO(b""))
    with pytest.raises(AvatarkitError, match="no such file"):
        load_track(tmp_path / "missing.npz")


def test_a_track_that_cannot_be_used_is_not_written(
    make_track: Maker, moving_clip: Path, tmp_path: Path
) -> None:
    track = make_track(moving_clip)
    track.expression[2, 3] = np.nan
    with pytest.raises(AvatarkitError, match="'expression'"):
        save_track(track, tmp_path / "t.npz")
    assert list(tmp_path.iterdir()) == []


def test_the_video_of_a_track_is_found_and_checked(
    make_track: Maker, moving_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "other.mp4"
    with VideoWriter(other, 96, 64, 12.0) as writer:
        for _ in range(24):
            writer.write(np.zeros((64, 96, 3), np.uint8))
    track = make_track(moving_clip)
    assert resolve_video(track) == moving_clip
    with pytest.raises(AvatarkitError, match="not the video this track was made from"):
        resolve_video(track, other)
    track.meta["video"]["path"] = str(tmp_path / "gone.mp4")
    with pytest.raises(AvatarkitError, match="--video"):
        resolve_video(track)
    folder = tmp_path / "beside"
    folder.mkdir()
    (folder / moving_clip.name).write_bytes(moving_clip.read_bytes())
    assert resolve_video(track, None, folder / "t.track.npz") == folder / moving_clip.name
    track.video = moving_clip.read_bytes()
    assert resolve_video(track).read_bytes() == track.video
    assert resolve_video(track) == resolve_video(track)
