"""Face parsing without a network: the tracked mesh says where, color models of the clip say what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.heads.landmarks import BROW_LEFT, BROW_RIGHT, EYE_LEFT, EYE_RIGHT, LIPS_OUTER, OVAL
from avatarkit.segmentation.colors import ColorModel, bins
from avatarkit.segmentation.geometry import Face, coordinates, polygon, ramp
from avatarkit.segmentation.window import GRID, compose, inverse, resample

Float = NDArray[np.float32]
Image = NDArray[np.uint8]

SKIN, HAIR, CLOTH, OTHER, EARS = range(5)
"""Channels of the class probabilities; OTHER is what none of the color models explains, EARS a part of SKIN."""
CLASSES = 4
"""Of which probabilities sum to 1: all but EARS."""
MAP, REACH = 128, 0.26
"""Side of a location map in cells, and half its side in meters around the head's center."""
SHOULDERS = -0.10
"""Meters on the location map (up from its middle): lower than this clothes must reach."""


@dataclass(frozen=True)
class Sample:
    """One frame on the work grid to learn from or to parse."""

    image: Image
    """[GRID, GRID, 3] sRGB."""
    matte: Float
    """[GRID, GRID] person matte."""
    face: Face
    frame_to_grid: NDArray[np.float64]
    detail: Image
    """[side, side, 3] the same view at the side the parser asks for."""


class Parser(Protocol):
    """Gives class probabilities on the work grid."""

    name: str
    side: int
    """of the image that ``probabilities`` looks at, pixels."""
    parts: tuple[int, ...]
    """channels that label maps are made of: skin, hair, clothes, and ears where they are told from skin."""

    def learn(self, samples: Sequence[Sample]) -> None:
        """Adapt to the clip; called once, before the first ``probabilities``."""
        ...

    def probabilities(self, sample: Sample) -> Float:
        """[GRID, GRID, CLASSES] float32, sums 1, and EARS where among ``parts``; meaningful where there is a person."""
        ...


class MeshParser:
    """Posterior of color and place: histograms in Lab, and location maps that move with the head.

    Both start from general anatomy (skin inside the face oval, hair above and around it, clothes below) and
    are refined on the clip itself by expectation maximization, so that a ponytail, a beard or a collar ends
    up where this person has it.
    """

    name = "mesh"
    side = GRID
    parts: tuple[int, ...] = (SKIN, HAIR, CLOTH)

    def __init__(self, rounds: int = 4) -> None:
        self.rounds = rounds
        self.colors = ColorModel(CLASSES)
        self.map: Float | None = None  # [MAP, MAP, CLASSES]
        # [MAP, MAP] how often hair at a place hung from the scalp: long hair if often, a dark collar if never
        self.hanging: Float = np.zeros((MAP, MAP), np.float32)
        self._anatomy, self._rim, self._core = _anatomy()

    def learn(self, samples: Sequence[Sample]) -> None:
        """Expectation maximization on a few frames spread over the clip. No frames: plain anatomy stays."""
        if not samples:
            return
        index = [bins(s.image) for s in samples]
        trust = [ramp(s.matte, 0.6, 0.95) for s in samples]
        for _ in range(self.rounds):
            self.colors.clear()
            place = np.zeros((MAP, MAP, CLASSES), np.float32)
            hair = np.zeros((MAP, MAP, 2), np.float32)
            for sample, i, w in zip(samples, index, trust, strict=True):
                posterior = self._posterior(sample, i)
                rooted, loose = _roots(posterior, sample)
                hair += _onto_map(np.dstack([rooted, rooted | loose]).astype(np.float32), sample)
                posterior = _without_floating_clothes(_without_loose_hair(posterior, loose, sample), sample)
                weighted = posterior * w[..., None]
                self.colors.see(i, _exemplary(sample, weighted))
                place += _onto_map(weighted, sample)
            self.colors.learn()
            _trim(self.colors.table)
            self.colors.spread_by_shading(SKIN, 0.1)
            _separate(self.colors.table)
            place = np.stack([cv2.GaussianBlur(place[..., c], (0, 0), 2.5) for c in range(CLASSES)], -1)
            seen = place.sum(-1, keepdims=True)
            count = np.minimum(seen / (0.2 * len(samples)), 1)
            learned = place / np.maximum(seen, 1e-6)
            hair = cv2.GaussianBlur(hair, (0, 0), 2.5)
            self.hanging = hair[..., 0] / np.maximum(hair[..., 1], 0.5)
            self.map = self._anatomy * (1 - 0.6 * count) + 0.6 * count * learned

    def probabilities(self, sample: Sample) -> Float:
        """[GRID, GRID, CLASSES]: see ``Parser``."""
        posterior = self._posterior(sample, bins(sample.image))
        _, loose = _roots(posterior, sample)
        to_map = compose(sample.frame_to_grid, inverse(_to_map(sample.face)))
        loose &= resample(self.hanging, to_map, GRID) < 0.5
        posterior = _without_floating_clothes(_without_loose_hair(posterior, loose, sample), sample)
        return cv2.GaussianBlur(posterior, (0, 0), 0.8)

    def _posterior(self, sample: Sample, index: NDArray[np.int32]) -> Float:
        belief = self.colors.likelihood(index) * self._prior(sample)
        total = cv2.transform(belief, np.ones((1, CLASSES), np.float32))
        return np.asarray(belief / total[..., None])

    def _prior(self, sample: Sample) -> Float:
        """[GRID, GRID, CLASSES] by place alone."""
        affine = compose(sample.frame_to_grid, inverse(_to_map(sample.face)))
        around = self._anatomy if self.map is None else self.map
        prior = resample(around, affine, GRID)
        for source, grow in ((self._rim, 1.05), (self._core, 0.88)):
            mask = polygon(sample.face, OVAL, sample.frame_to_grid, grow=grow)
            prior = cv2.copyTo(resample(source, affine, GRID), mask, prior)
        return np.asarray(prior)


def _anatomy() -> tuple[Float, Float, Float]:
    """[MAP, MAP, CLASSES] what to expect around the face oval, at its rim, and well inside it.

    On the location map, v down the rows. Bangs may cover the forehead; hair color lower in the face is a
    beard, which counts as skin.
    """
    axis = (((np.arange(MAP) + 0.5) / MAP * 2 - 1) * REACH).astype(np.float32)
    u, v = np.meshgrid(axis, -axis)
    below = ramp(v, -0.075, -0.17)
    neck = ramp(np.abs(u), 0.08, 0.05) * ramp(v, -0.05, -0.09) * ramp(v, -0.2, -0.14)
    ear = ramp(np.abs(u), 0.11, 0.08) * ramp(v, 0.06, 0.02)
    throat = ramp(np.abs(u), 0.07, 0.05) * ramp(v, -0.05, -0.06) * ramp(v, -0.12, -0.09)
    skin = 0.1 + 0.25 * ear * (1 - below) + 0.9 * neck + 6 * throat
    # Long hair hangs beside the neck; farther out are the shoulders, which may rise above the chin.
    aside = ramp(np.abs(u), 0.10, 0.14) * ramp(v, -0.01, -0.05)
    clothed = np.maximum(0.85 * below, 0.75 * aside)
    hair = 0.75 * (1 - clothed)
    cloth = 0.01 + 0.75 * clothed
    around = np.stack([skin, hair, cloth, np.full_like(skin, 0.02)], -1)
    forehead = ramp(v, 0.055, 0.08)[..., None]
    rim = _mixed((0.88, 0.10, 0.010, 0.010), (0.50, 0.48, 0.001, 0.019), forehead)
    core = _mixed((0.985, 0.001, 0.001, 0.013), (0.80, 0.19, 0.001, 0.009), forehead)
    return np.asarray(around / around.sum(-1, keepdims=True), np.float32), rim, core


def _mixed(low: tuple[float, ...], high: tuple[float, ...], share: Float) -> Float:
    return np.asarray(np.asarray(low) * (1 - share) + np.asarray(high) * share, np.float32)


def _to_map(face: Face) -> NDArray[np.float64]:
    """[2, 3] frame pixels to location-map cells."""
    s = MAP / (2 * REACH)
    return compose(np.array([[s, 0, MAP / 2], [0, -s, MAP / 2]]), face.to_head)


def _onto_map(layers: Float, sample: Sample) -> Float:
    """``layers`` [GRID, GRID, C] on the location map [MAP, MAP, C], 0 outside the frame."""
    affine = compose(_to_map(sample.face), inverse(sample.frame_to_grid))
    return np.asarray(resample(layers, affine, MAP, cv2.BORDER_CONSTANT))


def _exemplary(sample: Sample, posterior: Float) -> Float:
    """``posterior`` without what would blur the models: features, which are skin by place but not by color,
    and skin below the jaw, where a pale collar passes for a neck."""
    mask = np.zeros((GRID, GRID), np.uint8)
    for ring in (EYE_LEFT, EYE_RIGHT, BROW_LEFT, BROW_RIGHT, LIPS_OUTER):
        mask |= polygon(sample.face, ring, sample.frame_to_grid, grow=1.25)
    _, v = coordinates(compose(sample.face.to_head, inverse(sample.frame_to_grid)), GRID, GRID)
    result = posterior * (mask == 0)[..., None]
    result[..., SKIN] *= v > -0.06
    return np.asarray(result)


def _roots(posterior: Float, sample: Sample) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """[GRID, GRID] hair that grows from scalp or chin (a beard), and what has its color but hangs nowhere."""
    u, v = coordinates(compose(sample.face.to_head, inverse(sample.frame_to_grid)), GRID, GRID)
    hair = (posterior[..., HAIR] > 0.5) & (sample.matte > 0.3)
    oval = polygon(sample.face, OVAL, sample.frame_to_grid) > 0
    chin = (polygon(sample.face, OVAL, sample.frame_to_grid, grow=1.06) > 0) & (np.abs(u) < 0.045)
    count, parts = cv2.connectedComponents(hair.astype(np.uint8), connectivity=4)
    root = np.zeros(count, np.bool_)
    root[parts[((v > 0.02) | chin) & ~oval & hair]] = True
    rooted = root[parts] & hair
    return rooted, (posterior[..., HAIR] > 0.05) & ~rooted & (oval | (v < 0))


def _without_loose_hair(posterior: Float, loose: NDArray[np.bool_], sample: Sample) -> Float:
    """``posterior`` with hair at ``loose`` pixels turned into skin (a highlight, a shadow) or, outside the face,
    into clothes."""
    oval = polygon(sample.face, OVAL, sample.frame_to_grid) > 0
    result = posterior.copy()
    for there, c in ((loose & oval, SKIN), (loose & ~oval, CLOTH)):
        result[..., c][there] += result[..., HAIR][there]
    result[..., HAIR][loose] = 0
    return result


def _without_floating_clothes(posterior: Float, sample: Sample) -> Float:
    """``posterior`` with clothes that do not reach down to the shoulders turned into hair: what looks like clothes
    beside the face is background seen through loose hair."""
    _, v = coordinates(compose(sample.face.to_head, inverse(sample.frame_to_grid)), GRID, GRID)
    clothes = ((posterior[..., CLOTH] > 0.5) & (sample.matte > 0.3)).astype(np.uint8)
    count, parts = cv2.connectedComponents(clothes, connectivity=4)
    worn = np.zeros(count, np.bool_)
    worn[parts[(v < SHOULDERS) & (clothes > 0)]] = True
    floating = (clothes > 0) & ~worn[parts]
    if not floating.any():
        return posterior
    result = posterior.copy()
    result[..., HAIR][floating] += result[..., CLOTH][floating]
    result[..., CLOTH][floating] = 0
    return result


def _trim(table: Float) -> None:
    """Damp colors far below the peak of skin and hair: a ribbon in the hair is no hair color."""
    for c, share in ((SKIN, 0.03), (HAIR, 0.04)):
        table[:, c] *= table[:, c] / (table[:, c] + share * float(table[:, c].max()))


def _separate(table: Float) -> None:
    """Clothes are not skin-colored, else bare shoulders would count as clothes; OTHER has no color of its own."""
    table[:, CLOTH] *= 1 / (1 + table[:, SKIN] / (0.05 * float(table[:, SKIN].max())))
    table[:, OTHER] = 0.2
