"""Which pixels a training step sees: drawn from the step's number alone, so that resumed runs see the same."""

from __future__ import annotations

from dataclasses import dataclass

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
        order = [
            self.positions[self._generator(epoch, 1).permutation(total)[index]]
            for epoch, index in (divmod(first + i, total) for i in range(self.images))
        ]
        return np.asarray(order)

    def batch(self, step: int, patches: bool) -> Batch:
        """The rays of a step; with ``patches`` every second image of the run gives one patch instead."""
        generator = self._generator(step, 0)
        positions = self.frames(step)
        each = self.rays // self.images
        rows: list[tuple[Float, Float, Float, Float]] = []
        kinds, places = [], []
        for i, position in enumerate(positions):
            as_patch = patches and (step * self.images + i + step) % 2 == 0
            pixels = (
                self._patch(generator, int(position))
                if as_patch
                else self._scattered(generator, int(position), each)
            )
            rows.append(self._rays(int(position), pixels))
            kinds.append(as_patch)
            places.append(pixels)
        origins, directions, rgb, matte = (np.concatenate(column) for column in zip(*rows, strict=True))
        seed = int(generator.integers(0, 2**32))
        shown = tuple(int(p) for p in positions)
        return Batch(shown, tuple(kinds), origins, directions, rgb, matte, np.concatenate(places), seed)

    def _generator(self, count: int, stream: int) -> np.random.Generator:
        return np.random.Generator(
            np.random.Philox(key=[self.seed & (2**63 - 1), stream], counter=[0, 0, count, 0])
        )

    def _rays(self, position: int, pixels: NDArray[np.int64]) -> tuple[Float, Float, Float, Float]:
        track, clip = self.clip.track, self.clip
        centers = pixels.astype(np.float32) + 0.5
        origins, directions = pixel_rays(
            clip.camera, track.rotation[position], track.translation[position], centers, self.box
        )
        at = pixels[:, 1], pixels[:, 0]
        rgb = clip.rgb(position)[at].astype(np.float32) / 255
        return origins, directions, rgb, clip.head(position)[at].astype(np.float32) / 255

    def _scattered(self, generator: np.random.Generator, position: int, count: int) -> NDArray[np.int64]:
        """[count, 2] columns and rows."""
        left, top, right, bottom = self.clip.visible
        many = count if self.outside >= 1 else 3 * count
        pixels = generator.integers((left, top), (right, bottom), (many, 2))
        if self.outside < 1:
            matte = self.clip.head(position)[pixels[:, 1], pixels[:, 0]]
            luck = generator.random(many)
            # A stable sort keeps the order of the draw among those accepted and among the reserve.
            pixels = pixels[np.argsort((matte == 0) & (luck >= self.outside), kind="stable")[:count]]
        focused = round(count * self.focus)
        if focused:
            boxes = self.clip.boxes(position)
            which = generator.choice(3, focused, p=(0.5, 0.25, 0.25))
            chosen = boxes[which]
            spread = generator.random((focused, 2))
            inside = chosen[:, :2] + spread * (chosen[:, 2:] - chosen[:, :2])
            good = np.isfinite(inside).all(1)
            inside = np.clip(np.nan_to_num(inside), (left, top), (right - 1, bottom - 1)).astype(np.int64)
            pixels[:focused][good] = inside[good]
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
