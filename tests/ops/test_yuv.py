"""Colors of planar video: against the twin, against ffmpeg, and there and back."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from avatarkit.files import ffmpeg
from avatarkit.ops import yuv
from avatarkit.ops.reference import yuv as twin

SIZES = [(2, 2), (1, 1), (5, 7), (34, 70), (270, 481)]


def planes_of(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, yuv.size(height, width), np.uint8)


@pytest.mark.parametrize("standard", list(yuv.SHARES))
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_kernels_agree_with_their_twins(height: int, width: int, standard: str) -> None:
    planes = planes_of(height, width)
    rgb = yuv.to_rgb(planes, height, width, standard)
    expected = twin.to_rgb(planes, height, width, *yuv.SHARES[standard])
    # both round to the nearest, of sums that are added in another order
    assert np.abs(rgb.astype(int) - expected).max() <= 1 and (rgb != expected).mean() < 0.01
    made, wanted = yuv.from_rgb(rgb, standard), twin.from_rgb(rgb, *yuv.SHARES[standard])
    assert np.abs(made.astype(int) - wanted).max() <= 1 and (made != wanted).mean() < 0.01


def test_no_pixels_and_wrong_sizes() -> None:
    assert yuv.to_rgb(planes_of(0, 4), 0, 4).shape == (0, 4, 3)
    assert yuv.from_rgb(np.zeros((0, 4, 3), np.uint8)).shape == (0,)
    with pytest.raises(ValueError, match="must be"):
        yuv.to_rgb(np.zeros(5, np.uint8), 2, 2)
    with pytest.raises(ValueError, match="must be"):
        yuv.from_rgb(np.zeros((2, 2), np.uint8))


@pytest.mark.parametrize("standard", list(yuv.SHARES))
def test_a_gray_ramp_and_plain_colors_come_back(standard: str) -> None:
    colors = np.array([[0, 0, 0], [255, 255, 255], [90, 90, 90], [200, 150, 120], [10, 60, 220]], np.uint8)
    picture = np.repeat(np.repeat(colors[None], 2, 0), 2, 1)
    again = yuv.to_rgb(yuv.from_rgb(picture, standard), *picture.shape[:2], standard)
    assert np.abs(again.astype(int) - picture).max() <= 2


@pytest.mark.parametrize("standard", list(yuv.SHARES))
def test_ffmpeg_s_accurate_conversion_gives_the_same_colors(standard: str) -> None:
    height, width = 64, 96
    y, x = np.mgrid[:height, :width]
    picture = np.stack([2.6 * x, 255 - 3.9 * y, 127 + 90 * np.sin(x / 9 + y / 7)], -1).astype(np.uint8)
    planes = yuv.from_rgb(picture, standard)
    matrix = {"bt601": "bt601", "bt709": "bt709"}[standard]
    command = [
        ffmpeg.executable(), "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{width}x{height}",
        "-i", "-", "-vf", f"scale=in_color_matrix={matrix}:flags=neighbor+accurate_rnd+full_chroma_int",
        "-pix_fmt", "rgb24", "-f", "rawvideo", "-",
    ]  # fmt: skip
    done = subprocess.run(command, input=planes.tobytes(), capture_output=True, check=True)
    theirs = np.frombuffer(done.stdout, np.uint8).reshape(height, width, 3)
    ours = yuv.to_rgb(planes, height, width, standard)
    assert np.abs(ours.astype(int) - theirs).max() <= 2
    assert np.abs((ours.astype(float) - theirs).mean((0, 1))).max() < 0.25
