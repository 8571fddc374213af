"""Procedural texture: band-limited noise over space, and values of a mesh laid out in its texture atlas."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from avatarkit.ops import raster

Array = NDArray[np.float32]
_LATTICE = 64


def noise(points: Array, frequency: float, octaves: int = 1, seed: int = 0) -> Array:
    """Fractal value noise [N] in about [-1, 1] at ``points`` [N, 3]; ``frequency`` in cycles per unit of length.

    Each octave halves the amplitude and doubles the frequency; its lattice is turned, so that no axis shows.
    """
    total, amplitude, weight = np.zeros(len(points), np.float32), 1.0, 0.0
    for octave in range(octaves):
        lattice, turn, shift = _lattice(seed, octave)
        places = (points @ turn) * np.float32(2 * frequency) + shift
        cell = np.floor(places)
        smooth = places - cell
        places = cell + smooth * smooth * (3 - 2 * smooth)
        total += amplitude * ndimage.map_coordinates(lattice, places.T, order=1, mode="grid-wrap")
        weight += amplitude**2
        amplitude, frequency = amplitude / 2, frequency * 2
    return (total / np.sqrt(weight) * 1.6).astype(np.float32)


@lru_cache(maxsize=8)
def _lattice(seed: int, octave: int) -> tuple[Array, Array, Array]:
    """Random values [64, 64, 64], a rotation [3, 3] and a shift [3]."""
    rng = np.random.default_rng((seed, octave))
    values = rng.uniform(-1.0, 1.0, (_LATTICE,) * 3).astype(np.float32)
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    return values, turn.astype(np.float32), rng.uniform(0, _LATTICE, 3).astype(np.float32)


def bake(
    uv: Array, uv_triangles: NDArray[np.int32], triangles: NDArray[np.int32], attributes: Array, size: int
) -> tuple[Array, NDArray[np.bool_]]:
    """Vertex ``attributes`` [V, C] at the texels of a mesh's atlas: values [size, size, C] and which are covered."""
    places = np.stack([uv[:, 0] * size, (1 - uv[:, 1]) * size, np.ones(len(uv))], 1).astype(np.float32)
    charts = torch.from_numpy(np.ascontiguousarray(uv_triangles, np.int32))
    face, weights, _ = raster.rasterize(torch.from_numpy(places), charts, size, size, perspective=False)
    values = raster.interpolate(
        torch.from_numpy(np.ascontiguousarray(attributes, np.float32)),
        torch.from_numpy(np.ascontiguousarray(triangles, np.int32)), face, weights,
    )  # fmt: skip
    return values.numpy(), face.numpy() >= 0


def bleed(image: Array, covered: NDArray[np.bool_]) -> Array:
    """``image`` [H, W, C] with every uncovered texel taken from the nearest covered one: no seams when filtered."""
    if covered.all() or not covered.any():
        return image
    row, column = ndimage.distance_transform_edt(~covered, return_distances=False, return_indices=True)
    filled: Array = image[row, column]
    return filled
