"""Normal maps in the format of Neural Head Avatars' data sets: read as written, refused where they do not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from avatarkit.data.normal_maps import NAME, NormalMaps
from avatarkit.files.errors import AvatarkitError
from avatarkit.files.track import Track

WIDTH, HEIGHT, FRAMES = 96, 64, 4
CROP = (30, 10, 60)
"""Reaches over the right and the lower edge of the frame."""
CENTER, RADIUS = (58.0, 34.0), 26.0


def ball(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """[..., 3] normals of a ball in the picture: x right, y down, z forward; 0 beside it."""
    side = np.stack([x - CENTER[0], y - CENTER[1]], -1) / RADIUS
    depth = 1 - (side**2).sum(-1)
    normals = np.concatenate([side, -np.sqrt(np.maximum(depth, 0))[..., None]], -1)
    return np.asarray(normals * (depth > 0)[..., None])


def written(folder: Path, index: int, width: int, height: int) -> Path:
    """The ball's map of one frame at ``width`` x ``height``, as the authors' script writes it."""
    path = folder / NAME.format(index)
    path.parent.mkdir(parents=True, exist_ok=True)
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    normals = ball(x * WIDTH / width, y * HEIGHT / height) * (1, -1, -1)
    cv2.imwrite(str(path), ((normals + 1) / 2 * 255).astype(np.uint8)[..., ::-1])
    return path


@pytest.fixture
def track(subject: tuple[Track, Path]) -> Track:
    video = {**subject[0].meta["video"], "width": WIDTH, "height": HEIGHT, "frames": FRAMES}
    frame = np.arange(FRAMES, dtype=np.int32)
    return replace(
        subject[0],
        frame=frame,
        meta={**subject[0].meta, "video": video},
        crop=np.array([*CROP, CROP[2]], np.int32),
    )


@pytest.mark.parametrize(("width", "height"), [(WIDTH, HEIGHT), (288, 192), (49, 33)])
def test_maps_come_cropped_in_camera_space(track: Track, tmp_path: Path, width: int, height: int) -> None:
    for index in (1, 3):
        written(tmp_path, index, width, height)
    maps = NormalMaps.open(tmp_path, track, np.array([1, 3]))
    found = maps.of(3, 40)
    scale = CROP[2] / 40
    x, y = np.meshgrid(np.arange(40) + 0.5, np.arange(40) + 0.5)
    truth = ball(x * scale + CROP[0], y * scale + CROP[1])
    known = np.linalg.norm(found, axis=-1) > 0
    inner = np.hypot(x * scale + CROP[0] - CENTER[0], y * scale + CROP[1] - CENTER[1]) < RADIUS - 6
    inner &= y * scale + CROP[1] < HEIGHT - 5
    assert known[inner].all() and not known[np.linalg.norm(truth, axis=-1) == 0].any()
    np.testing.assert_allclose(np.linalg.norm(found[known], axis=-1), 1, atol=1e-5)
    assert np.abs(found - truth)[inner].max() < 0.06  # 8 bits, and a grid of another size


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / NAME.format(2)).unlink(), "1 of the 4 frames .* first is frame_0002"),
        (lambda folder: written(folder, 1, 64, 64), "64x64, which is not the shape .*96x64"),
        (lambda folder: written(folder, 1, 48, 32), "frame_0001.* is 48x32, but .* 96x64"),
        (lambda folder: written(folder, 7, WIDTH, HEIGHT), "5 maps for a video of 4 frames"),
        (lambda folder: (folder / NAME.format(0)).write_bytes(b"GIF89a"), "not a PNG"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(
    track: Track, tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    for index in range(FRAMES):
        written(tmp_path, index, WIDTH, HEIGHT)
    spoil(tmp_path)
    with pytest.raises(AvatarkitError, match=message) as caught:
        NormalMaps.open(tmp_path, track, np.arange(FRAMES))
    assert "\n" not in str(caught.value)


def test_no_folder_and_damaged_files(track: Track, tmp_path: Path) -> None:
    with pytest.raises(AvatarkitError, match="no such folder"):
        NormalMaps.open(tmp_path / "none", track, np.arange(FRAMES))
    path = written(tmp_path, 0, WIDTH, HEIGHT)
    path.write_bytes(path.read_bytes()[:60])
    maps = NormalMaps.open(tmp_path, track, np.array([0]))
    with pytest.raises(AvatarkitError, match="damaged"):
        maps.of(0, 32)
