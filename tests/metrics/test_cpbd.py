"""CPBD against its definition, and against the values of its public implementation (cpbd 1.0.7 on PyPI)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from avatarkit.files.images import read_image
from avatarkit.metrics.cpbd import cpbd, edge_widths


def shapes(sigma: float) -> np.ndarray:
    """[256, 256] slanted bright bars on grey, blurred by ``sigma``."""
    image = np.full((256, 256), 60, np.uint8)
    for i in range(8):
        cv2.line(image, (20 + 32 * i, 10), (26 + 32 * i, 246), 190, 12, cv2.LINE_AA)
    return cv2.GaussianBlur(image, (0, 0), sigma) if sigma else image


@pytest.mark.parametrize("width", [3, 5, 7])
def test_the_width_of_an_edge_is_the_length_of_its_rise(width: int) -> None:
    # a raised cosine has its steepest place, and so its thinned edge, in the middle of an odd number of steps
    rise = 0.5 - 0.5 * np.cos(np.pi * np.clip((np.arange(40) - 15.3) / width, 0, 1))
    row = 50 + 150 * rise
    steps = np.count_nonzero(np.diff(row) > 0)
    found = edge_widths(np.repeat(row[None], 9, 0))
    assert set(found[found > 0].tolist()) == {float(steps)}
    assert set(edge_widths(np.repeat(row[None, ::-1], 9, 0)).ravel().tolist()) == {0.0, float(steps)}


def test_sharp_bars_are_sharp_and_blur_lowers_the_score() -> None:
    scores = [cpbd(shapes(sigma)) for sigma in (0, 1.0, 2.5)]
    assert scores[0] > 0.9 and scores[0] > scores[1] > scores[2] and scores[2] < 0.1


def test_a_flat_image_has_no_edge_to_judge() -> None:
    assert np.isnan(cpbd(np.full((128, 128, 3), 90, np.uint8)))


@pytest.mark.parametrize(
    ("name", "sigma", "reference"),
    [
        ("photo01", 0, 0.38368207), ("photo01", 1, 0.12454283), ("photo02", 0, 0.34474916),
        ("photo02", 2, 0.00823913), ("photo04", 0, 0.23203614), ("notperson_dog", 1, 0.03569911),
    ],
)  # fmt: skip
def test_agrees_with_the_public_implementation_to_1e3(
    clip: Callable[[str], Path], name: str, sigma: float, reference: float
) -> None:
    image = read_image(clip(name))
    if sigma:
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    assert cpbd(image) == pytest.approx(reference, abs=1e-3)
