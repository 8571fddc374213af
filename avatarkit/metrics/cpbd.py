"""Cumulative probability of blur detection: how much of an image looks sharp, without a reference."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK = 64
EDGE_SHARE = 0.002
"""A block counts as an edge block when more than this share of its pixels are edges."""
BETA = 3.6
JUST_NOTICEABLE_WIDTH = (5.0, 3.0)
"""Widths in pixels at which blur is just noticed, for a block contrast of up to 50 and above 50 grey levels."""
JUST_NOTICEABLE_PROBABILITY = 0.63

Float = NDArray[np.float64]


def cpbd(image: NDArray[np.uint8]) -> float:
    """Sharpness in [0, 1] of an [H, W, 3] or [H, W] uint8 image; NaN where it shows no edge to judge.

    Narvekar and Karam, "A No-Reference Image Blur Metric Based on the Cumulative Probability of Blur
    Detection", IEEE TIP 2011: the share of edges whose probability of visible blur,
    1 - exp(-|w / w_jnb|^3.6) with w the edge's width, is at most that of a just noticeable blur (63 %).
    """
    from skimage.feature import canny

    gray = _gray(image)
    widths = edge_widths(gray)
    edges = canny(gray)
    sharp = total = 0
    for y in range(0, gray.shape[0] - BLOCK + 1, BLOCK):
        for x in range(0, gray.shape[1] - BLOCK + 1, BLOCK):
            block = np.s_[y : y + BLOCK, x : x + BLOCK]
            if np.count_nonzero(edges[block]) <= EDGE_SHARE * BLOCK * BLOCK:
                continue
            contrast = int(gray[block].max() - gray[block].min())
            noticeable = JUST_NOTICEABLE_WIDTH[contrast > 50]
            found = widths[block][widths[block] > 0]
            probability = 1.0 - np.exp(-(np.abs(found / noticeable) ** BETA))
            # The authors judge a histogram in whole percents.
            sharp += int(np.count_nonzero(np.rint(100 * probability) <= 100 * JUST_NOTICEABLE_PROBABILITY))
            total += found.size
    return sharp / total if total else float("nan")


def _gray(image: NDArray[np.uint8]) -> Float:
    """Luma of ITU-R BT.601 in whole grey levels."""
    if image.ndim == 2:
        return image.astype(np.float64)
    gray: Float = np.rint(image[..., :3].astype(np.float64) @ np.array([0.299, 0.587, 0.114]))
    return gray


def edge_widths(gray: Float) -> Float:
    """[H, W] width in pixels of the vertical edge at each pixel, 0 where there is none.

    Marziliano et al. 2002: along the row, from the local minimum on one side of the edge to the local
    maximum on the other, for thinned Sobel edges whose gradient lies within 22.5 degrees of the row.
    """
    vertical, horizontal = np.gradient(gray)
    angle = 45 * np.rint(np.degrees(np.arctan2(vertical, horizontal)) / 45)
    edge = _sobel_edges(gray)
    edge[[0, -1]] = edge[:, [0, -1]] = False
    edge &= (horizontal != 0) | (vertical == 0)  # straight up and down is no edge of the row
    rising, falling = _run_lengths(gray), _run_lengths(-gray)
    return np.where(edge & (angle == 0), rising, np.where(edge & (np.abs(angle) == 180), falling, 0.0))


def _sobel_edges(gray: Float) -> NDArray[np.bool_]:
    """Strict local maxima, along the row or the column, of the squared horizontal Sobel response."""
    p = np.pad(gray, 1, mode="symmetric")
    across = (p[:, 2:] - p[:, :-2]) / 8
    strength = (across[:-2] + 2 * across[1:-1] + across[2:]) ** 2
    # The square against twice the root: so do Octave's edge() and with it the metric's public implementation.
    strength[strength <= 2 * np.sqrt(strength.mean())] = 0
    p = np.pad(strength, 1)
    in_row = (strength > p[1:-1, :-2]) & (strength > p[1:-1, 2:])
    in_column = (strength > p[:-2, 1:-1]) & (strength > p[2:, 1:-1])
    edges: NDArray[np.bool_] = in_row | in_column
    return edges


def _run_lengths(gray: Float) -> Float:
    """[H, W] length of the rise through each pixel: one step to either neighbor, and on while it keeps rising."""
    height, width = gray.shape
    rises = np.diff(gray, axis=1) > 0
    before = np.zeros((height, width))
    after = np.zeros((height, width))
    for x in range(1, width):
        before[:, x] = np.where(rises[:, x - 1], before[:, x - 1] + 1, 0)
        after[:, -1 - x] = np.where(rises[:, -x], after[:, -x] + 1, 0)
    lengths = np.zeros((height, width))
    lengths[:, 1:-1] = 2 + before[:, :-2] + after[:, 2:]
    return lengths
