"""The table of a comparison: every metric over every region for several competitors, one frame at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatarkit.metrics import image as metrics
from avatarkit.metrics.cpbd import cpbd
from avatarkit.metrics.csim import IdentitySimilarity
from avatarkit.metrics.lpips import LPIPS
from avatarkit.metrics.temporal import Jitter

Image = NDArray[np.uint8]
Float = NDArray[np.float32]
METRICS = ("psnr", "ssim", "ms_ssim", "l1", "mse", "lpips", "csim", "cpbd", "jitter")
SMALLEST_FOR_LPIPS = 64
"""Pixels a side below which the deepest stages of the network see nothing."""
WHOLE = ("frame", "head")
"""Regions large enough for the metrics that need structure: MS-SSIM and CPBD."""


@dataclass(frozen=True)
class Truth:
    """One true frame: ``rgb`` [H, W, 3] uint8, its regions' weights [H, W] in [0, 1], landmarks in its pixels."""

    index: int
    """number of the frame in its video; consecutive numbers are neighbors in time"""
    rgb: Image
    regions: dict[str, Float]
    landmarks: Float | None = None
    """[478, >= 2]"""


@dataclass
class _Tally:
    """Per-frame values of one competitor in one region."""

    values: dict[str, list[float]] = field(default_factory=dict)
    jitter: Jitter = field(default_factory=Jitter)

    def add(self, **values: float) -> None:
        for key, value in values.items():
            self.values.setdefault(key, []).append(value)

    def mean(self, key: str) -> float | None:
        """Mean over the frames where the metric has a value; None where it has none."""
        found = [v for v in self.values.get(key, ()) if not math.isnan(v)]
        return float(np.mean(found)) if found else None


class Evaluation:
    """Collects frames and gives the rows of design section 3.

    A region's error is weighted by its mask; PSNR is the mean over frames, at most 100 dB each. LPIPS of
    a region is the mean of LPIPS' spatial map under its mask; CPBD looks at the region's bounding box; CSIM
    compares the aligned faces and is given for head and frame. Metrics whose network is None, and those that make
    no sense in a region, are null.
    """

    def __init__(self, lpips: LPIPS | None = None, csim: IdentitySimilarity | None = None) -> None:
        self.lpips, self.csim = lpips, csim
        self._tallies: dict[tuple[str, str], _Tally] = {}
        self.frames = 0

    @torch.no_grad()
    def add(self, truth: Truth, pictures: dict[str, Image]) -> None:
        """Compare each competitor's picture [H, W, 3] uint8 of one frame with the truth."""
        self.frames += 1
        target = _tensor(truth.rgb)
        large = min(truth.rgb.shape[:2]) >= SMALLEST_FOR_LPIPS
        known = self.lpips.features(target) if self.lpips is not None and large else None
        masks = {
            name: torch.from_numpy(np.ascontiguousarray(m))[None, None] for name, m in truth.regions.items()
        }
        masks = {name: mask for name, mask in masks.items() if float(mask.sum()) > 0}
        boxes = {name: _bounds(truth.regions[name]) for name in masks}
        for name, picture in pictures.items():
            pred = _tensor(picture)
            perceptual = self.lpips.spatial(pred, target, known) if self.lpips is not None and large else None
            identity = float("nan")
            if self.csim is not None and truth.landmarks is not None:
                identity = self.csim(picture, truth.rgb, truth.landmarks)
            structure = metrics.SsimPyramid(pred, target)
            for region, mask in masks.items():
                tally = self._tallies.setdefault((name, region), _Tally())
                error = float(metrics.mse(pred, target, mask))
                tally.add(
                    mse=error,
                    psnr=-10 * math.log10(max(error, 1e-10)),
                    l1=float(metrics.l1(pred, target, mask)),
                    ssim=float(structure.ssim(mask)),
                )
                if perceptual is not None:
                    tally.add(lpips=_weighted(perceptual, mask))
                if region in WHOLE:
                    y0, y1, x0, x1 = boxes[region]
                    tally.add(ms_ssim=float(structure.ms_ssim(mask)), cpbd=cpbd(picture[y0:y1, x0:x1]))
                    tally.add(csim=identity)
                tally.jitter.add(truth.index, pred[0], target[0], mask[0])

    def rows(self, split: str) -> list[dict[str, Any]]:
        """One row for each competitor and region, in the order they first came."""
        rows = []
        for (name, region), tally in self._tallies.items():
            jitter = tally.jitter.value()
            row: dict[str, Any] = {
                "name": name,
                "region": region,
                "split": split,
                "frames": len(tally.values["mse"]),
            }
            for key in METRICS:
                row[key] = tally.mean(key) if key != "jitter" else None if math.isnan(jitter) else jitter
            rows.append(row)
        return rows


def _tensor(picture: Image) -> Tensor:
    return torch.tensor(picture).permute(2, 0, 1)[None].float() / 255


def _bounds(mask: Float) -> tuple[int, int, int, int]:
    """top, bottom, left, right (exclusive) of the part above one half, or of all of it where nothing is."""
    inside = mask > 0.5
    inside = inside if inside.any() else mask > 0
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _weighted(values: Tensor, mask: Tensor) -> float:
    """Mean of a map [1, 1, H, W] under ``mask``."""
    return float((values * mask).sum() / mask.sum())


def nearest_rows(
    features: Float, training: NDArray[np.int64], wanted: NDArray[np.int64]
) -> NDArray[np.int64]:
    """For each of ``wanted`` the other member of ``training`` whose row of ``features`` [T, D] is closest.

    A training frame is never its own neighbor (unless it is the only one), or it would be its own answer.
    """
    chosen = np.empty(len(wanted), np.int64)
    known = features[training].astype(np.float64)
    for i, row in enumerate(wanted):
        distance = ((known - features[row]) ** 2).sum(1)
        distance[training == row] = np.inf
        chosen[i] = training[int(np.argmin(distance))]
    return chosen


def motion_features(
    rotation: Float,
    translation: Float,
    expression: Float,
    eyes: Float,
    training: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> Float:
    """[T, D] what a head does, comparable by Euclidean distance: turn, place, expression and gaze weigh alike.

    ``rotation`` [T, 3, 3], ``translation`` [T, 3], ``expression`` [T, E], ``eyes`` [T, 2, 3]. Each group is
    divided by its total standard deviation over the ``training`` rows. Only ``rows`` are filled, the rest is NaN.
    """
    from scipy.spatial.transform import Rotation

    mean = Rotation.from_matrix(rotation[training]).mean()
    turns = np.full((len(rotation), 3), np.nan)
    turns[rows] = (Rotation.from_matrix(rotation[rows]) * mean.inv()).as_rotvec()
    groups = []
    for values in (turns, translation, expression, eyes.reshape(len(eyes), -1)):
        deviation = float(np.sqrt(values[training].var(0).sum()))
        groups.append(np.asarray(values, np.float64) / max(deviation, 1e-6))
    features = np.full((len(rotation), sum(g.shape[1] for g in groups)), np.nan, np.float32)
    features[rows] = np.concatenate(groups, 1)[rows]
    return features
