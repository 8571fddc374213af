from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from avatarkit.segmentation.steady import Steadier
from avatarkit.segmentation.window import GRID

TEXTURE = cv2.GaussianBlur(
    np.random.default_rng(5).integers(0, 256, (GRID, 2 * GRID)).astype(np.float32), (0, 0), 2.5
)
TEXTURE = np.clip((TEXTURE - TEXTURE.mean()) * 4 + 128, 0, 255).astype(np.uint8)


def scene(shift: float) -> tuple[np.ndarray, np.ndarray]:
    """A textured half plane that moves right: gray [G, G] uint8, true matte [G, G, 1] float32."""
    edge = 100 + shift
    x = np.arange(GRID) + 0.5
    matte = np.clip((edge - x) / 6 + 0.5, 0, 1).astype(np.float32)
    move = np.float32([[1, 0, shift], [0, 1, 0]])
    front = cv2.warpAffine(TEXTURE, move, (GRID, GRID), borderMode=cv2.BORDER_REFLECT)
    back = TEXTURE[::-1, :GRID] // 3
    gray = (front * matte + back * (1 - matte)).astype(np.uint8)
    return gray, np.ascontiguousarray(np.broadcast_to(matte[None, :, None], (GRID, GRID, 1)))


def run(steadier: Steadier, frames: list[tuple[int, np.ndarray, np.ndarray]]) -> list[tuple[Any, np.ndarray]]:
    result = []
    for index, gray, layer in frames:
        result += [(payload, layers[0]) for payload, layers in steadier.push(index, gray, (layer,), index)]
    return result + [(payload, layers[0]) for payload, layers in steadier.flush()]


def test_noise_on_a_moving_matte_is_more_than_halved_without_lag() -> None:
    random = np.random.default_rng(0)
    frames, truth = [], []
    for t in range(9):
        gray, matte = scene(1.7 * t)
        noise = cv2.GaussianBlur(random.normal(0, 1, (GRID, GRID)).astype(np.float32), (0, 0), 2)
        band = (matte[..., 0] > 0.02) & (matte[..., 0] < 0.98)
        noisy = np.clip(matte[..., 0] + noise * 1.2 * band, 0, 1)[..., None]
        frames.append((t, gray, noisy.astype(np.float32)))
        truth.append(matte)
    steady = [layer for _, layer in run(Steadier(2), frames)]
    rows = slice(40, -40)
    before = [np.abs(f[2] - m)[rows].mean() for f, m in zip(frames, truth, strict=True)]
    after = [np.abs(s - m)[rows].mean() for s, m in zip(steady, truth, strict=True)]
    assert np.mean(after[2:-2]) < 0.5 * np.mean(before[2:-2])
    # where the matte's edge is: an average that lags would trail a motion of 1.7 pixels a frame
    lag = [float((s - m)[rows].sum() / (GRID - 80)) for s, m in zip(steady, truth, strict=True)]
    assert abs(np.mean(lag[2:-2])) < 0.15


def test_frames_across_a_cut_or_a_gap_do_not_mix() -> None:
    dark, bright = np.full((GRID, GRID), 20, np.uint8), np.full((GRID, GRID), 220, np.uint8)
    zero, one = np.zeros((GRID, GRID, 1), np.uint8), np.full((GRID, GRID, 1), 255, np.uint8)
    cut = run(Steadier(2), [(0, dark, zero), (1, dark, zero), (2, bright, one), (3, bright, one)])
    assert [int(layer.mean()) for _, layer in cut] == [0, 0, 255, 255]
    gap = run(Steadier(2), [(0, dark, zero), (1, dark, zero), (5, dark, one), (6, dark, one)])
    assert [int(layer.mean()) for _, layer in gap] == [0, 0, 255, 255]


def test_every_frame_comes_out_once_in_order() -> None:
    gray, matte = scene(0)
    for radius in (0, 1, 3):
        for count in (1, 2, 7):
            out = run(Steadier(radius), [(t, gray, matte) for t in range(count)])
            assert [payload for payload, _ in out] == list(range(count))


def test_radius_zero_changes_nothing_and_types_are_kept() -> None:
    gray, matte = scene(3)
    coarse = (matte * 255).astype(np.uint8)
    steadier = Steadier(0)
    (_, (a, b)), *_ = list(steadier.push(0, gray, (matte, coarse), None))
    assert np.array_equal(a, matte) and np.array_equal(b, coarse)
    assert a.dtype == np.float32 and b.dtype == np.uint8
