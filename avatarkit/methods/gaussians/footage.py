"""What a fit needs of pictures: those of a clip, or those a teacher draws."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from avatarkit.files.track import Track
from avatarkit.rendering.camera import Camera

Image = NDArray[np.uint8]


class Footage(Protocol):
    """Head crops [R, R] by position in a track; see ``avatarkit.data.clip.ClipFrames``."""

    track: Track
    resolution: int
    camera: Camera

    @property
    def visible(self) -> tuple[int, int, int, int]:
        """left, top, right, bottom of what is known."""
        ...

    def rgb(self, position: int) -> Image:
        """[R, R, 3]"""
        ...

    def person(self, position: int) -> Image:
        """[R, R] matte of the whole person."""
        ...

    def head(self, position: int) -> Image:
        """[R, R] matte of the head."""
        ...
