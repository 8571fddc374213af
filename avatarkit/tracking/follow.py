"""Which face of a frame is the person's, and where the cuts are."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.tracking.detectors import Face

Float = NDArray[np.float32]
Image = NDArray[np.uint8]

LOOK_AROUND = 50
"""Frames between looks for more than one person."""
FORGET = 15
"""Frames after which a face that was lost is looked for anywhere, not only where it was."""


class Cutter:
    """Finds jump cuts: a change of the whole picture far above that of the frames before."""

    LEAST = 14.0
    """Gray levels of mean change below which nothing is a cut."""
    ABOVE = 5.0
    """Times the usual change."""

    def __init__(self) -> None:
        self._last: Float | None = None
        self._changes: deque[float] = deque(maxlen=12)

    def cut(self, image: Image) -> bool:
        """Whether the next frame ``image`` [H, W, 3] begins a new shot."""
        small = _thumbnail(image)
        last, self._last = self._last, small
        if last is None:
            return False
        change = float(np.abs(small - last).mean())
        usual = float(np.median(self._changes)) if self._changes else 0.0
        cut = change > max(self.LEAST, self.ABOVE * usual) if self._changes else change > 4 * self.LEAST
        if cut:
            self._changes.clear()
        else:
            self._changes.append(change)
        return cut


def _thumbnail(image: Image) -> Float:
    """A gray picture [24, 24]-ish of block means, from every few pixels."""
    step = max(min(image.shape[:2]) // 96, 1)
    thin = image[::step, ::step].copy().astype(np.float32)  # copied while it is bytes: it lies far apart
    rows, columns = (max(size // 24, 1) for size in thin.shape[:2])
    size = thin.shape[1] // columns, thin.shape[0] // rows
    blocks = cv2.resize(thin[: size[1] * rows, : size[0] * columns], size, interpolation=cv2.INTER_AREA)
    return np.asarray(blocks.mean(-1), np.float32)


class Chooser:
    """Keeps to one person: first by the user's rule, then by being where they were a frame ago."""

    def __init__(self, rule: str) -> None:
        self.rule = rule
        self.forget()

    def forget(self) -> None:
        """The next face is chosen by the rule again."""
        self._last: tuple[float, float, float] | None = None
        self._face: Face | None = None
        self._missing = 0

    def choose(self, faces: list[Face], width: int, height: int) -> Face | None:
        """The person's face among ``faces`` of an image of that size, or None."""
        if self._last is not None and self._missing > FORGET:
            self.forget()
        chosen = self._by_rule(faces, width, height) if self._last is None else self._by_place(faces)
        if chosen is None:
            self._missing += 1
        else:
            self._last, self._face, self._missing = chosen.box, chosen, 0
        return chosen

    @property
    def last(self) -> Face | None:
        """The face of the frame before, if it held one."""
        return None if self._missing else self._face

    def _by_rule(self, faces: list[Face], width: int, height: int) -> Face | None:
        if not faces:
            return None
        if self.rule == "largest":
            return max(faces, key=lambda f: f.box[2])
        if self.rule == "center":
            return min(faces, key=lambda f: float(np.hypot(f.box[0] - width / 2, f.box[1] - height / 2)))
        number = int(self.rule)
        ordered = sorted(faces, key=lambda f: f.box[0])
        return ordered[number - 1] if number <= len(ordered) else None

    def _by_place(self, faces: list[Face]) -> Face | None:
        assert self._last is not None
        x, y, size = self._last
        reach = 0.5 * size * min(1 + self._missing, 3)

        def far(face: Face) -> float:
            return float(np.hypot(face.box[0] - x, face.box[1] - y))

        near = [f for f in faces if far(f) < reach and 0.6 < f.box[2] / size < 1.6]
        return min(near, key=far, default=None)


LEAP = 0.25
"""Share of the face's size by which landmarks move between two frames only in a jump cut."""


def leaps(before: Face, after: Face) -> bool:
    """Whether the face is in another place, or of another size, than a head could be within one frame."""
    moved = np.linalg.norm((after.points - before.points)[:, :2], axis=1)
    return float(np.nanmean(moved)) > LEAP * before.box[2]
