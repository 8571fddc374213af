"""Whole frames: the rendered head over the torso over the background, at its place in the original frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Float = NDArray[np.float32]


@dataclass
class Scene:
    """What stays behind a head: a background and a torso, both at the size of the avatar's video.

    ``plate`` [H, W, 3] uint8; ``torso`` [H, W, 4] uint8 with straight alpha, or None; ``crop`` the square
    (x, y, size) of the frame that the avatar renders, which may reach over the frame's edge; ``taken`` [2, 3] where
    the torso was in the frame it was taken from (the track's ``torso``), None: where it is at rest.
    """

    plate: Image
    torso: Image | None
    crop: tuple[int, int, int]
    taken: Float | None = None

    @cached_property
    def _plate(self) -> Float:
        return self.plate.astype(np.float32) / 255

    @cached_property
    def _windows(self) -> dict[int, Image]:
        return {}

    def plate_window(self, resolution: int) -> Image:
        """``window`` of the plate, worked out once a ``resolution``; not to be written to."""
        found = self._windows.get(resolution)
        if found is None:
            found = self._windows[resolution] = np.asarray(self.window(self.plate, resolution), np.uint8)
        return found

    def behind(self, torso_motion: Float | None = None) -> Float:
        """[H, W, 3] float32 in [0, 1]: the plate under the torso moved by the affine map ``torso_motion`` [2, 3]."""
        image = self._plate
        if self.torso is None:
            return image
        layer, top = self.torso, 0
        if torso_motion is not None and not np.allclose(torso_motion, np.eye(2, 3), atol=1e-4):
            layer, top = self._moved(np.asarray(torso_motion, np.float64))
        rows = np.flatnonzero(layer[..., 3].any(1))
        if not len(rows):
            return image
        part = slice(int(rows[0]), int(rows[-1]) + 1)
        result = image.copy()
        place = result[top:][part]
        color = np.ascontiguousarray(layer[part, :, :3]).astype(np.float32) / 255
        alpha = _threefold(layer[part, :, 3].astype(np.float32) / 255)
        cv2.subtract(color, place, dst=color)
        cv2.multiply(color, alpha, dst=color)
        place += color
        return result

    @cached_property
    def _torso_corners(self) -> NDArray[np.float64]:
        """[3, 4] homogeneous corners of the box of the torso's pixels; [3, 0] where it has none.

        Where it touches the frame's edge it goes on beyond, as the replicated border does.
        """
        assert self.torso is not None
        spans = []
        for axis, length in ((0, self.torso.shape[1]), (1, self.torso.shape[0])):
            found = np.flatnonzero(self.torso[..., 3].any(axis))
            if not len(found):
                return np.empty((3, 0))
            spans.append(
                (found[0] if found[0] else -length, found[-1] if found[-1] < length - 1 else 2 * length)
            )
        x, y = np.meshgrid(*spans)
        return np.stack([x.ravel(), y.ravel(), np.ones(4)]).astype(np.float64)

    def _moved(self, motion: NDArray[np.float64]) -> tuple[Image, int]:
        """The torso moved by ``motion`` [2, 3], [H - top, W, 4] from the row ``top`` down; above is nothing of it."""
        height, width = self.plate.shape[:2]
        lowest = (motion @ self._torso_corners)[1].min(initial=height - 1)
        top = int(np.clip(np.floor(lowest) - 1, 0, height - 1))
        down = motion - [[0.0, 0.0, 0.0], [0.0, 0.0, top]]
        # Replicating the border keeps the torso attached to the lower edge of the frame when it moves up.
        moved = cv2.warpAffine(
            self.torso, down, (width, height - top), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(moved, np.uint8), top

    def motion(self, now: Float | None, rest: Float | None, pivots: tuple[Float, Float]) -> Float:
        """[2, 3] of the torso's picture to where it is ``now``, from where it was ``taken``.

        ``now`` and ``rest`` [2, 3] are the track's ``torso``; where it is not followed (None), the neck's ``pivots``
        [2] in the picture, now and at rest, stand in for it.
        """
        taken = rest if self.taken is None else self.taken
        if now is not None and taken is not None:
            return followed(taken, now)
        neck = torso_motion(*pivots)
        if taken is None or rest is None:
            return neck
        motion = followed(taken, rest)
        motion[:, 2] += neck[:, 2]
        return motion

    def window(self, image: NDArray[Any], resolution: int) -> Float:
        """The crop of a whole frame [H, W, C], edges replicated, resampled to ``resolution`` pixels."""
        x, y, size = self.crop
        height, width = image.shape[:2]
        rows = np.clip(np.arange(y, y + size), 0, height - 1)
        columns = np.clip(np.arange(x, x + size), 0, width - 1)
        patch = np.ascontiguousarray(image[rows[:, None], columns])
        method = cv2.INTER_AREA if resolution < size else cv2.INTER_CUBIC
        resized: Float = cv2.resize(patch, (resolution, resolution), interpolation=method)
        return np.clip(resized, 0, 1) if patch.dtype != np.uint8 else resized

    def over(self, behind: Float, rgb: Float, alpha: Float) -> Float:
        """``behind`` [H, W, 3] with the head (``rgb`` [R, R, 3], straight ``alpha`` [R, R]) laid into the crop."""
        x, y, size = self.crop
        height, width = behind.shape[:2]
        method = cv2.INTER_AREA if rgb.shape[0] > size else cv2.INTER_CUBIC
        color = cv2.resize(rgb * _threefold(alpha), (size, size), interpolation=method)
        opacity = cv2.resize(alpha, (size, size), interpolation=method)
        left, top, right, bottom = max(x, 0), max(y, 0), min(x + size, width), min(y + size, height)
        if left >= right or top >= bottom:
            return behind
        part = np.s_[top - y : bottom - y, left - x : right - x]
        result = behind.copy()
        place = result[top:bottom, left:right]
        # In place: fresh memory costs more than the arithmetic.
        through = cv2.subtract(1.0, np.clip(opacity[part], 0, 1))
        cv2.multiply(place, _threefold(through), dst=place)
        cv2.add(place, np.clip(color[part], 0, 1, out=color[part]), dst=place)
        np.clip(place, 0, 1, out=place)
        return result


def _threefold(alpha: Float) -> Float:
    """[H, W, 3] of ``alpha`` [H, W]: numpy is several times slower when it stretches a last axis of one."""
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(alpha, np.float32), cv2.COLOR_GRAY2RGB), np.float32)


def followed(rest: NDArray[np.floating], now: NDArray[np.floating]) -> Float:
    """[2, 3] motion of the torso from ``rest`` to ``now``, both [2, 3] from the clip's own neutral frame (track)."""
    end, start = (np.vstack([motion, [0.0, 0.0, 1.0]]) for motion in (now, rest))
    return np.asarray((end @ np.linalg.inv(start))[:2], np.float32)


def torso_motion(
    pivot_now: NDArray[np.floating], pivot_rest: NDArray[np.floating], share: float = 0.8
) -> Float:
    """[2, 3] translation (pixels) of the torso when the projected neck pivot moves from rest to now.

    Where nothing tracks the torso itself, a share of the neck's own motion looks right: the head leads.
    """
    motion = np.eye(2, 3, dtype=np.float32)
    motion[:, 2] = share * (np.asarray(pivot_now) - np.asarray(pivot_rest))
    return motion
