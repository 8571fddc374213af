"""Face capture files: what Live Link Face writes is read, what is written comes back, damage is told by its line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from avatarkit.files.errors import AvatarkitError
from avatarkit.files.facecap import COLUMNS, EXPRESSIONS, FaceCapture, load_capture, save_capture
from avatarkit.heads import arkit


def capture(frames: int = 70, fps: float = 30.0) -> FaceCapture:
    rng = np.random.default_rng(0)
    values = rng.random((frames, len(COLUMNS)))
    values[:, len(EXPRESSIONS) :] -= 0.5
    valid = np.ones(frames, bool)
    valid[[3, 4, frames - 1]] = False
    values[~valid] = 0
    return FaceCapture(np.arange(frames) / fps, valid, values)


def test_names_are_arkits() -> None:
    assert sorted(EXPRESSIONS) == sorted(arkit.NAMES)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@pytest.mark.parametrize("fps", [12.0, 25.0, 29.97, 59.94])
def test_round_trip(tmp_path: Path, suffix: str, fps: float) -> None:
    before = capture(fps=fps)
    path = tmp_path / f"face{suffix}"
    with open(path, "wb") as file:
        save_capture(before, suffix, fps, file)
    after = load_capture(path)
    np.testing.assert_array_equal(after.valid, before.valid)
    np.testing.assert_allclose(after.time, before.time, atol=2e-5)
    np.testing.assert_allclose(after.values, before.values, atol=1e-6)


def test_live_link_faces_own_file(tmp_path: Path) -> None:
    path = tmp_path / "take.csv"
    path.write_text(
        "Timecode,BlendshapeCount,EyeBlinkLeft,JawOpen,HeadYaw,SomethingNew\n"
        "14:03:52:28.500,61,0.5,1.5,-0.25,7\n"
        "14:03:52:59.500,0,,,,\n"
        "14:03:53:29.500,61,0.25,0.0,0.25,7\n\n"
    )
    found = load_capture(path)
    np.testing.assert_allclose(found.time, [0, 31 / 60, 61 / 60])
    assert found.valid.tolist() == [True, False, True]
    np.testing.assert_allclose(found.columns(["eyeBlinkLeft", "jawOpen", "headYaw"])[[0, 2]],
                               [[0.5, 1.0, -0.25], [0.25, 0.0, 0.25]])  # fmt: skip
    assert found.present == ("eyeBlinkLeft", "jawOpen", "headYaw")


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("a.csv", "Timecode,JawOpen\n00:00:00:00,0.1\n00:00:xx:01,0.1\n", "line 3"),
        ("b.csv", "Timecode,JawOpen\n00:00:00:00,zero\n", "line 2"),
        ("c.csv", "Timecode,JawOpen\n00:00:00:00,nan\n", "finite"),
        ("d.csv", "Timecode,JawOpen\n00:00:01:00,0\n00:00:00:00,0\n", "backwards"),
        ("e.csv", "time,jawOpen\n0,0\n", "Timecode"),
        ("f.csv", "Timecode,Nothing\n00:00:00:00,0\n", "ARKit"),
        ("g.csv", "", "Timecode"),
        ("h.jsonl", '{"time": 0, "jawOpen": 0.5}\n{"time": 1,\n', "line 2"),
        ("i.jsonl", '{"jawOpen": 0.5}\n', "time"),
        ("j.jsonl", "", "ARKit"),
        ("k.jsonl", '{"time": 0, "jawOpen": [1]}\n', "line 1"),
    ],
)
def test_damage_is_told_by_its_line(tmp_path: Path, name: str, text: str, word: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(AvatarkitError, match=word):
        load_capture(tmp_path / name)


def test_a_binary_file_is_no_capture(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(bytes(range(256)) * 9)
    with pytest.raises(AvatarkitError, match="not a text file"):
        load_capture(tmp_path / "x.csv")
