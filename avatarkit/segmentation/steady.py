"""Temporal steadying of mattes: a motion-compensated, edge-aware average over a few frames before and after."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.segmentation.window import GRID

Float = NDArray[np.float32]
Layers = tuple[NDArray[Any], ...]
"""Arrays [G, G, C] of at most 4 channels, uint8 or float32."""


@dataclass
class _Entry:
    index: int
    guide: NDArray[np.uint8]
    """[G, G] gray."""
    layers: Layers
    """what is steadied."""
    payload: Any
    forward: Float | None = None
    """[G, G, 2] flow to the next entry; None: there is none, or a cut lies between."""
    backward: Float | None = None
    """[G, G, 2] flow to the previous entry."""


class Steadier:
    """Replaces each frame's layers by an average along motion over ``radius`` frames to both sides.

    Optical flow (Kroeger et al. 2016, DIS) brings the neighbors onto the frame; a neighbor counts at a pixel
    as far as its warped gray value agrees there (a bilateral weight, ``tolerance`` gray levels), so that
    moving edges stay sharp and disocclusions fall back to the frame itself. The window is symmetric: no lag.
    Frames whose indices are not consecutive, and those across a cut, do not mix. Memory: 2 radius + 1 frames.
    """

    def __init__(self, radius: int = 2, tolerance: float = 12.0, cut: float = 40.0) -> None:
        self.radius, self.tolerance, self.cut = radius, tolerance, cut
        self._agreement = [_agreement(tolerance, d, radius) for d in range(radius + 1)]
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._window: deque[_Entry] = deque()
        self._ready = 0  # entries of the window that have been given out already
        grid = np.mgrid[:GRID, :GRID].astype(np.float32)
        self._here: Float = np.ascontiguousarray(grid[::-1].transpose(1, 2, 0))

    def push(
        self, index: int, guide: NDArray[np.uint8], layers: Layers, payload: Any
    ) -> Iterator[tuple[Any, Layers]]:
        """Take frame ``index``; give (payload, layers) of every frame that has its neighbors now."""
        entry = _Entry(index, guide, layers, payload)
        if self._window:
            last = self._window[-1]
            changed = float(cv2.norm(last.guide, guide, cv2.NORM_L1)) / guide.size
            if index == last.index + 1 and changed < self.cut:
                last.forward = self._flow.calc(last.guide, guide, None)
                entry.backward = self._flow.calc(guide, last.guide, None)
        self._window.append(entry)
        if len(self._window) - self._ready > self.radius:
            yield self._next()

    def flush(self) -> Iterator[tuple[Any, Layers]]:
        """Give the frames that still wait for neighbors."""
        while self._ready < len(self._window):
            yield self._next()

    def _next(self) -> tuple[Any, Layers]:
        at = self._ready
        entry = self._window[at]
        result = self._average(at)
        self._ready += 1
        if self._ready > self.radius:
            self._window.popleft()
            self._ready -= 1
        return entry.payload, result

    def _average(self, at: int) -> Layers:
        center = self._window[at]
        totals = [layer.astype(np.float32) for layer in center.layers]
        weight = np.ones((GRID, GRID), np.float32)
        for step in (1, -1):
            place: Float = self._here
            for distance in range(1, self.radius + 1):
                previous = at + step * (distance - 1)
                flow = self._window[previous].forward if step > 0 else self._window[previous].backward
                if flow is None or not 0 <= previous + step < len(self._window):
                    break
                place = place + (flow if distance == 1 else _warped(flow, place))
                other = self._window[previous + step]
                apart = cv2.blur(cv2.absdiff(_warped(other.guide, place), center.guide), (3, 3))
                agree = cv2.LUT(apart, self._agreement[distance])
                for i, layer in enumerate(other.layers):
                    totals[i] += _times(_warped(layer, place), agree)
                weight += agree
        share = 1 / weight
        return tuple(
            np.asarray(_times(total, share) + 0.5, np.uint8)
            if layer.dtype == np.uint8
            else _times(total, share)
            for total, layer in zip(totals, center.layers, strict=True)
        )


def _times(layer: NDArray[Any], weight: Float) -> Float:
    """[G, G, C] float32 ``layer`` times ``weight`` [G, G]."""
    product = cv2.multiply(layer.astype(np.float32), cv2.merge([weight] * layer.shape[2]))
    return np.asarray(product).reshape(layer.shape)  # OpenCV drops a single channel's axis


def _agreement(tolerance: float, distance: int, radius: int) -> Float:
    """[256] weight of a neighbor ``distance`` frames away by its gray difference."""
    gray = np.arange(256, dtype=np.float32)
    near = np.exp(-0.5 * (distance / (0.6 * radius + 0.4)) ** 2)
    return np.asarray(near * np.exp(-0.5 * (gray / tolerance) ** 2), np.float32)


def _warped(image: NDArray[Any], place: Float) -> NDArray[Any]:
    """``image`` read at ``place`` [G, G, 2] (x, y pixels), bilinear, edges repeated."""
    result = cv2.remap(image, place, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(result).reshape(*place.shape[:2], *image.shape[2:])
