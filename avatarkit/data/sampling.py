"""Which pixels a training step sees: drawn from the step's number alone, so that resumed runs see the same."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from avatarkit.data.clip import ClipFrames
from avatarkit.data.rays import SceneBox, pixel_rays

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Batch:
    """Rays of B images, those of one image together; targets in [0, 1]."""

    positions: tuple[int, ...]
    """[B] frames of the track."""
    patch: tuple[bool, ...]
    """[B] whether the image's rays form a square patch, row by row, instead of scattered pixels."""
    origins: Float
    """[R, 3] unit cube."""
    directions: Float
    """[R, 3]"""
    rgb: Float
    """[R, 3]"""
    matte: Float
    """[R] head matte."""
    pixels: NDArray[np.int64]
    """[R, 2] columns and rows"""
    seed: int
    """32 bits of chance for jitter and backgrounds of this step."""


@dataclass(frozen=True)
class Sampler:
    """Draws the batches of a clip's training ``positions``.

    ``mouth_share`` of all patches is centered on the mouth; ``focus`` of the scattered rays fall into the
    boxes of mouth and eyes; a pixel outside the head matte is taken with ``outside`` of the chance of one inside.
    """

    clip: ClipFrames
    positions: NDArray[np.int64]
    box: SceneBox
    images: int
    rays: int
    seed: int
    patch_size: int = 32
    mouth_share: float = 0.5
    focus: float = 0.0
    outside: float = 1.0

    def frames(self, step: int) -> NDArray[np.int64]:
        """[B] positions of a step: the clip is gone through in a new random order every epoch."""
        total = len(self.positions)
        first = step * self.images
        places = (divmod(first + i, total) for i in range(self.images))
        return self.positions[[_order(self.seed, epoch, total)[index] for epoch, index in places]]

    def batch(self, step: int, patches: bool) -> Batch:
        """The rays of a step; with ``patches`` every second image of the run gives one patch instead."""
        generator = _generator(self.seed, step, 0)
        positions = self.frames(step)
        each = self.rays // self.images
        rows: list[tuple[Float, Float, Float, Float]] = []
        kinds, places = [], []
        for i, position in enumerate(positions):
            as_patch = patches and (step * self.images + i + step) % 2 == 0
            head = self.clip.head(position)
            pixels = (
                self._patch(generator, int(position))
                if as_patch
                else self._scattered(generator, int(position), head, each)
            )
            rows.append(self._rays(int(position), head, pixels))
            kinds.append(as_patch)
            places.append(pixels)
        origins, directions, rgb, matte = (np.concatenate(column) for column in zip(*rows, strict=True))
        seed = int(generator.integers(0, 2**32))
        shown = tuple(int(p) for p in positions)
        return Batch(shown, tuple(kinds), origins, directions, rgb, matte, np.concatenate(places), seed)

    def _rays(
        self, position: int, head: NDArray[np.uint8], pixels: NDArray[np.int64]
    ) -> tuple[Float, Float, Float, Float]:
        track, clip = self.clip.track, self.clip
        centers = pixels.astype(np.float32) + 0.5
        origins, directions = pixel_rays(
            clip.camera, track.rotation[position], track.translation[position], centers, self.box
        )
        at = pixels[:, 1] * clip.resolution + pixels[:, 0]
        rgb = clip.rgb(position).reshape(-1, 3).take(at, 0).astype(np.float32) / np.float32(255)
        return origins, directions, rgb, head.ravel().take(at).astype(np.float32) / np.float32(255)

    def _scattered(
        self, generator: np.random.Generator, position: int, head: NDArray[np.uint8], count: int
    ) -> NDArray[np.int64]:
        """[count, 2] columns and rows."""
        left, top, right, bottom = self.clip.visible
        many = count if self.outside >= 1 else 3 * count
        row, column = np.divmod(generator.integers(0, (right - left) * (bottom - top), many), right - left)
        pixels = np.stack([column + left, row + top], 1)
        if self.outside < 1:
            matte = head.ravel().take(pixels[:, 1] * self.clip.resolution + pixels[:, 0])
            rejected = (matte == 0) & (generator.random(many, np.float32) >= self.outside)
            # Those accepted in the order of the draw, and the others in reserve.
            order = np.concatenate([np.flatnonzero(~rejected), np.flatnonzero(rejected)])
            pixels = pixels.take(order[:count], 0)
        focused = round(count * self.focus)
        if focused:
            # Half of them on the mouth, a quarter on each eye.
            chosen = self.clip.boxes(position)[np.array([0, 0, 1, 2])[generator.integers(0, 4, focused)]]
            inside = chosen[:, :2] + generator.random((focused, 2)) * (chosen[:, 2:] - chosen[:, :2])
            good = np.isfinite(inside).all(1)
            pixels[:focused][good] = np.clip(inside[good], (left, top), (right - 1, bottom - 1))
        return pixels

    def _patch(self, generator: np.random.Generator, position: int) -> NDArray[np.int64]:
        """[patch_size^2, 2] columns and rows of a patch on the mouth or anywhere, inside the video frame."""
        left, top, right, bottom = self.clip.visible
        size = self.patch_size
        low, high = np.array([left, top]), np.array([right, bottom]) - size
        high = np.maximum(high, low)
        corner = generator.integers(low, high + 1)
        if generator.random() < self.mouth_share:
            mouth = self.clip.boxes(position)[0]
            if np.isfinite(mouth).all():
                center = (mouth[:2] + mouth[2:]) / 2 + generator.uniform(-0.25, 0.25, 2) * (
                    mouth[2:] - mouth[:2]
                )
                corner = np.clip((center - size / 2).astype(np.int64), low, high)
        y, x = np.mgrid[:size, :size]
        pixels = np.stack([x.ravel(), y.ravel()], 1) + corner
        return np.clip(pixels, 0, self.clip.resolution - 1)


def _generator(seed: int, count: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed & (2**63 - 1), stream], counter=[0, 0, count, 0]))


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, total: int) -> NDArray[np.int64]:
    """The frames of one epoch: steps ask for them one by one."""
    return _generator(seed, epoch, 1).permutation(total)
