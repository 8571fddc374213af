"""Small grey pictures of the head, one per frame, kept in a file so that memory does not grow with the clip."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from threading import Lock
from types import TracebackType
from typing import IO

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]

SIZE = 192
"""Pixels of a picture's side."""
REACH = 2.0
"""Side of a picture over the face's height (landmarks 10 to 152)."""


class Stored:
    """Pictures [SIZE, SIZE] uint8 in a file, each read when it is asked for, by any thread.

    (Not mapped into memory: the pages of a mapping count as the process's own while they are looked at.)
    """

    def __init__(self, file: IO[bytes], rows: range, lock: Lock | None = None) -> None:
        self._file, self._rows, self._lock = file, rows, lock or Lock()

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> NDArray[np.uint8]:
        with self._lock:
            self._file.seek(self._rows[row] * SIZE * SIZE)
            data = self._file.read(SIZE * SIZE)
        return np.frombuffer(data, np.uint8).reshape(SIZE, SIZE)

    def part(self, rows: slice) -> Stored:
        """The pictures ``rows`` of these."""
        return Stored(self._file, self._rows[rows], self._lock)


@dataclass(frozen=True)
class Windows:
    """N pictures and where they lie in the image."""

    pictures: Stored
    corner: Float
    """[N, 2] x, y of their upper left corner, pixels of the image."""
    zoom: Float
    """[N] their pixels per pixel of the image."""

    def __len__(self) -> int:
        return len(self.pictures)

    def part(self, rows: slice) -> Windows:
        """The windows ``rows`` of these."""
        return Windows(self.pictures.part(rows), self.corner[rows], self.zoom[rows])


class HeadPictures:
    """Collects pictures while a clip is read; a context manager that owns the temporary file."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="avatarkit-")  # noqa: SIM115
        self._corners: list[tuple[float, float]] = []
        self._zooms: list[float] = []

    def __enter__(self) -> HeadPictures:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._zooms)

    def add(self, image: NDArray[np.uint8], points: Float) -> None:
        """Keep the head of ``image`` [H, W, 3] whose landmarks [478, 3] are ``points`` (pixels)."""
        import cv2

        top, chin = points[10, :2].astype(np.float64), points[152, :2].astype(np.float64)
        side = max(16, round(REACH * float(np.linalg.norm(chin - top))))
        # the window holds the hair: its middle lies at the brows
        x, y = np.round(0.65 * top + 0.35 * chin - side / 2).astype(int)
        height, width = image.shape[:2]
        left, upper = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
        right, lower = max(min(x + side, width), left + 1), max(min(y + side, height), upper + 1)
        grey = cv2.cvtColor(image[upper:lower, left:right], cv2.COLOR_RGB2GRAY)
        grey = cv2.copyMakeBorder(
            grey,
            upper - y,
            max(y + side - lower, 0),
            left - x,
            max(x + side - right, 0),
            cv2.BORDER_REPLICATE,
        )[:side, :side]
        kernel = cv2.INTER_AREA if side > SIZE else cv2.INTER_LINEAR
        self._file.write(np.ascontiguousarray(cv2.resize(grey, (SIZE, SIZE), interpolation=kernel)).data)
        self._corners.append((float(x), float(y)))
        self._zooms.append(SIZE / side)

    def windows(self) -> Windows:
        """All pictures so far, to be looked at when no more are added."""
        corner, zoom = np.array(self._corners, np.float32), np.array(self._zooms, np.float32)
        return Windows(Stored(self._file, range(len(self))), corner.reshape(-1, 2), zoom)
