"""Detail for a smoothly filled background: what continues best over the edge, copied from beside it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]

DIRECTIONS, DISTANCES = 16, (0.4, 0.7, 1.1)
"""Shifts that are tried: so many directions, at these distances in ``reach``."""
SOFT = 0.12
"""Size of the windows in which shifts are compared and mixed, in ``reach``."""
COARSE = 3
"""Shifts are compared in a picture so many times smaller."""
MEAN = np.full((1, 3), 1 / 3)


def detailed(filled: Float, source: Float, known: Float, reach: float) -> Float:
    """``filled`` [H, W, 3] with detail within ``reach`` pixels of where ``source`` is ``known`` [H, W] (0 or 1).

    Structures are continued by shifted copies of the picture (the idea of shift maps, Pritch et al. 2009, and of
    statistics of patch offsets, He and Sun 2012): each place takes the shift whose copy fits the picture best on
    the nearest part of the edge. A copy gives its detail, the smooth fill keeps colors and shading continuous.
    Where no shift leads to known picture, the fill stays.
    """
    height, width = known.shape
    if not known.any() or known.all():
        return filled
    soft = max(1.0, SOFT * reach)
    shifts = np.concatenate([_circle(distance * reach) for distance in DISTANCES]).astype(np.int64)
    small = (max(1, width // COARSE), max(1, height // COARSE))
    ratio = np.array([small[0] / width, small[1] / height])
    fine = source - cv2.GaussianBlur(filled, (0, 0), 2 * soft)
    coarse = cv2.resize(fine, small, interpolation=cv2.INTER_AREA)
    sure = (cv2.resize(known, small, interpolation=cv2.INTER_AREA) > 0.99).astype(np.float32)
    choice = _fitting(coarse, sure, np.round(shifts * ratio), reach * ratio[0], soft * ratio[0])
    label = cv2.resize(choice, (width, height), interpolation=cv2.INTER_NEAREST)
    label = cv2.medianBlur(label, 5)  # steps of the coarse picture, rounded
    rows, columns = np.nonzero((label >= 0) & _large(known < 0.5, reach**2))
    moved = shifts[label[rows, columns]]
    from_x, from_y = columns - moved[:, 0], rows - moved[:, 1]
    good = (from_x >= 0) & (from_x < width) & (from_y >= 0) & (from_y < height)
    good[good] = known[from_y[good], from_x[good]] > 0.5
    result = fine * known[..., None]
    result[rows[good], columns[good]] = fine[from_y[good], from_x[good]]
    weight = np.zeros((height, width), np.float32)
    weight[rows[good], columns[good]] = 1
    # Borders between shifts are hidden by mixing, the far end by fading.
    away = cv2.distanceTransform((known < 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    fade = np.clip(2 - 2 * away / reach, 0, 1) * np.minimum(
        weight, cv2.GaussianBlur(weight, (0, 0), 1.0) * 1.5
    )
    low = cv2.GaussianBlur(result, (0, 0), 2 * soft)
    return np.asarray(filled + fade[..., None] * (result - low), np.float32)


def _large(where: NDArray[np.bool_], least: float) -> NDArray[np.bool_]:
    """Parts of ``where`` [H, W] of at least ``least`` pixels: small holes are filled well without detail."""
    _, parts, stats, _ = cv2.connectedComponentsWithStats(where.astype(np.uint8))
    large = stats[:, cv2.CC_STAT_AREA] >= least
    large[0] = False
    found: NDArray[np.bool_] = large[parts]
    return found


def _circle(radius: float) -> NDArray[np.float64]:
    angles = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    return np.round(radius * np.column_stack([np.cos(angles), np.sin(angles)]))


def _fitting(
    fine: Float, known: Float, shifts: NDArray[np.float64], reach: float, soft: float
) -> NDArray[np.int16]:
    """[h, w] which of ``shifts`` [S, 2] fits best at each pixel that is not ``known`` [h, w]; -1: none leads anywhere.

    A copy is compared with the picture ``fine`` [h, w, 3] along the edge of what is known, in windows of size ``soft``.
    """
    height, width = known.shape
    ring = known * (1 - cv2.erode(known, _disk(2 * soft)))
    wanted = (1 - known) * cv2.dilate(known, _disk(reach)) > 0
    near = _around(ring, 5 * soft)
    best = np.full((height, width), np.inf, np.float32)
    choice = np.full((height, width), -1, np.int16)
    for number, (x, y) in enumerate(shifts):
        move = np.array([[1.0, 0, x], [0, 1, y]])
        there = cv2.warpAffine(known, move, (width, height), flags=cv2.INTER_NEAREST)
        possible = wanted & (there > 0)
        if not possible.any():
            continue
        copy = cv2.warpAffine(fine, move, (width, height), flags=cv2.INTER_NEAREST)
        both = ring * there
        apart = _around(cv2.transform(np.square(copy - fine), MEAN) * both, 5 * soft)
        cost = apart / np.maximum(_around(both, 5 * soft), 1e-4 * near + 1e-9)
        better = possible & (cost * (1 + 0.1 * number / len(shifts)) < best)
        best[better] = cost[better]
        choice[better] = number
    return choice


def _around(values: Float, sigma: float) -> Float:
    """``values`` [h, w] averaged with weights of a Gaussian; so wide a one is as good in a picture half the size."""
    size = (max(1, values.shape[1] // 2), max(1, values.shape[0] // 2))
    small = cv2.GaussianBlur(cv2.resize(values, size, interpolation=cv2.INTER_AREA), (0, 0), sigma / 2)
    return np.asarray(cv2.resize(small, values.shape[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def _disk(radius: float) -> NDArray[np.uint8]:
    size = 2 * max(1, round(radius)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)
