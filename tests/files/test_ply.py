"""Splats as PLY: an independent reader finds what was written."""

from __future__ import annotations

import io

import numpy as np
import pytest

from avatarkit.files.ply import save_splats

NAMES = [
    "x",
    "y",
    "z",
    "nx",
    "ny",
    "nz",
    "f_dc_0",
    "f_dc_1",
    "f_dc_2",
    "opacity",
    "scale_0",
    "scale_1",
    "scale_2",
    "rot_0",
    "rot_1",
    "rot_2",
    "rot_3",
]
PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def read(data: bytes) -> np.ndarray:
    """Structured array of a binary PLY's vertices, by its own header."""
    head, body = data.split(b"end_header\n", 1)
    lines = head.decode("ascii").splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    fields = [line.split() for line in lines if line.startswith("property ")]
    assert all(kind == "float" for _, kind, _ in fields)
    (count,) = (int(line.split()[-1]) for line in lines if line.startswith("element vertex "))
    table = np.frombuffer(body, [(name, "<f4") for _, _, name in fields])
    assert len(table) == count
    return table


def covariances(table: np.ndarray) -> np.ndarray:
    """[N, 6] R S S^T R^T, the quaternion's rotation written out."""
    q = np.stack([table[f"rot_{i}"] for i in range(4)], 1).astype(np.float64)
    w, x, y, z = (q / np.linalg.norm(q, axis=1, keepdims=True)).T
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    ).transpose(2, 0, 1)
    squares = np.exp(2 * np.stack([table[f"scale_{i}"] for i in range(3)], 1).astype(np.float64))
    whole = (turn * squares[:, None]) @ turn.transpose(0, 2, 1)
    return np.stack([whole[:, a, b] for a, b in PAIRS], 1)


def made(count: int) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(3)
    factor = random.normal(0, 1, (count, 3, 3)) * np.exp(random.uniform(-8, -4, (count, 1, 3)))
    whole = factor @ factor.transpose(0, 2, 1)
    covariance = np.stack([whole[:, a, b] for a, b in PAIRS], 1)
    mean, color = random.normal(0, 0.1, (count, 3)), random.uniform(0, 1, (count, 3))
    return tuple(a.astype(np.float32) for a in (mean, covariance, color, random.uniform(0.01, 0.98, count)))


def test_a_reader_of_its_own_finds_the_splats_again() -> None:
    mean, covariance, color, opacity = made(300)
    stream = io.BytesIO()
    assert save_splats(mean, covariance, color, opacity, stream) == 300
    table = read(stream.getvalue())
    assert list(table.dtype.names) == NAMES
    np.testing.assert_array_equal(np.stack([table[n] for n in "xyz"], 1), mean)
    rgb = 0.5 + 0.28209479 * np.stack([table[f"f_dc_{i}"] for i in range(3)], 1)
    np.testing.assert_allclose(rgb, color, atol=1e-6)
    np.testing.assert_allclose(1 / (1 + np.exp(-table["opacity"])), opacity, rtol=1e-5)
    assert not any(table[n].any() for n in ("nx", "ny", "nz"))
    error = np.abs(covariances(table) - covariance).max(1) / np.abs(covariance).max(1)
    assert error.max() < 1e-5


def test_what_nobody_would_see_is_left_out_and_the_rest_is_finite() -> None:
    mean, covariance, color, opacity = made(4)
    opacity[:2] = 0.003, 1.0
    covariance[2] = 0
    stream = io.BytesIO()
    assert save_splats(mean, covariance, color, opacity, stream) == 3
    table = read(stream.getvalue())
    assert all(np.isfinite(table[name]).all() for name in NAMES)
    assert 1 / (1 + np.exp(-table["opacity"][0])) == pytest.approx(0.99, abs=1e-5)
    stream = io.BytesIO()
    assert save_splats(mean[:0], covariance[:0], color[:0], opacity[:0], stream) == 0
    assert len(read(stream.getvalue())) == 0
    mean[3] = np.nan
    with pytest.raises(ValueError, match="finite"):
        save_splats(mean, covariance, color, opacity, io.BytesIO())
