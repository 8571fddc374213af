"""Real clips, tracked and segmented once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from avatarkit.data.labels import decode
from avatarkit.files.track import Track
from avatarkit.files.video import read_frames_at
from avatarkit.segmentation import segment
from avatarkit.segmentation.window import Window
from avatarkit.tracking import TrackOptions, track


@dataclass(frozen=True)
class Segmented:
    """A short piece of a real clip."""

    source: Path
    track: Track

    @property
    def window(self) -> Window:
        video = self.track.meta["video"]
        return Window.of(self.track.crop, video["width"], video["height"], 512)

    def mattes(self, kind: str) -> np.ndarray:
        """[T, S, S] uint8"""
        assert self.track.mattes is not None
        return np.stack([decode(mattes[kind]) for mattes in self.track.mattes])

    def canvases(self) -> np.ndarray:
        """[T, S, S, 3] the crops themselves."""
        return np.stack([self.window.canvas_of(f) for _, f in read_frames_at(self.source, self.track.frame)])

    def points(self, t: int) -> np.ndarray:
        """[478, 2] landmarks in pixels of the crop's mattes."""
        x, y, side = self.track.crop[:3]
        return (self.track.landmarks[t, :, :2] - [x, y]) * self.window.size / side


@pytest.fixture(scope="session")
def segmented(clip: Callable[[str], Path]) -> Callable[[str], Segmented]:
    """``segmented("person02")``: the first frames of a real clip, tracked and segmented."""
    done: dict[str, Segmented] = {}

    def make(name: str) -> Segmented:
        if name not in done:
            source = clip(name)
            tracked = track(source, TrackOptions(max_frames=20, refine=False))
            done[name] = Segmented(source, segment(tracked, source))
        return done[name]

    return make
