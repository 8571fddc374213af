"""What expressions leave unexplained on one clip: principal components of the landmark residual."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatarkit.tracking.basis import Basis
from avatarkit.tracking.camera import linearize, robust
from avatarkit.tracking.observed import Observations
from avatarkit.tracking.solver import Motion, lifted

Float = NDArray[np.float32]

COUNT = 14
"""Components kept: what measured best as further inputs of an avatar."""
LEAST_FRAMES = 4 * COUNT
"""Clips with fewer frames have no components to speak of."""
FITTED = 1000
"""Frames they are found in, evenly spread; every frame gets its values."""
CHUNK = 128


def names(count: int) -> tuple[str, ...]:
    """What the components are called in a track."""
    return tuple(f"residual{i + 1:02d}" for i in range(count))


def of_residual(person: Basis, motion: Motion, seen: Observations, good: NDArray[np.bool_]) -> Float | None:
    """[N, P] the values of the clip's own P components in every frame; the first one's deviation is 1.

    The residual in head space, at the model's depth, is decomposed over the ``good`` frames. All components have the
    first one's scale, so that noise stays small beside it. None for clips too short.
    """
    rows = np.flatnonzero(good)
    if len(rows) < LEAST_FRAMES:
        return None
    sample = rows[np.unique(np.linspace(0, len(rows) - 1, min(FITTED, len(rows))).round().astype(int))]
    data = np.concatenate([_residual(person, motion, seen, part) for part in _chunks(sample)])
    middle = data.mean(0)
    data = (data - middle).astype(np.float64)
    # frames are fewer than coordinates: the components from the small matrix of the two
    _, vectors = np.linalg.eigh(data @ data.T)
    directions = (data.T @ vectors[:, ::-1][:, :COUNT]).T
    directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
    values = np.concatenate(
        [
            (_residual(person, motion, seen, part) - middle) @ directions.T
            for part in _chunks(np.arange(len(good)))
        ]
    )
    signs = np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(1)])
    scale = max(float(values[good, 0].std()), 1e-9)
    return np.asarray(values * signs / scale, np.float32)


def _chunks(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [rows[i : i + CHUNK] for i in range(0, len(rows), CHUNK)]


def _residual(person: Basis, motion: Motion, seen: Observations, rows: NDArray[np.int64]) -> Float:
    """[n, 3 P] in solver units; what was not seen is 0."""
    rotation, translation = motion.rotation[rows], motion.translation[rows]
    linear = linearize(
        person.moved(motion.expression[rows]), rotation, translation, seen.plane(rows), person.unit
    )
    weight = robust(linear, OUTLIER)
    return (lifted(linear, rotation) * weight[..., None]).reshape(len(rows), -1) / np.float32(person.unit)


OUTLIER = 10.0
"""Error in solver units at which a landmark begins to count as an outlier."""
