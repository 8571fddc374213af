"""Where rendered frames go: a video, one picture, numbered pictures, or raw bytes on standard output."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from avatarkit.files.errors import UsageError
from avatarkit.files.images import write_image
from avatarkit.files.video_writer import VideoWriter

Image = NDArray[np.uint8]
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
VIDEOS = (".mp4", ".m4v", ".mov", ".mkv")


class Sink(Protocol):
    """Takes [H, W, 3] uint8 frames one by one."""

    def write(self, frame: Image) -> None:
        """Append a frame."""
        ...


class _Raw(AbstractContextManager["_Raw"]):
    """rgb24 frames on standard output, for ``ffmpeg -f rawvideo -pix_fmt rgb24``."""

    def write(self, frame: Image) -> None:
        sys.stdout.buffer.write(np.ascontiguousarray(frame).data)
        sys.stdout.buffer.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            sys.stdout.buffer.flush()


class _Y4m(_Raw):
    """The same as YUV4MPEG2 (4:4:4, BT.601), which says what it is: ``ffplay -`` needs no options."""

    MATRIX = np.array(
        [[65.481, 128.553, 24.966, 16], [-37.797, -74.203, 112.0, 128], [112.0, -93.786, -18.214, 128]]
    ) / [[255, 255, 255, 1]]  # fmt: skip

    def __init__(self, width: int, height: int, fps: float) -> None:
        rate = Fraction(fps).limit_denominator(1001)
        header = f"YUV4MPEG2 W{width} H{height} F{rate.numerator}:{rate.denominator} Ip A1:1 C444\n"
        self._header = header.encode()

    def write(self, frame: Image) -> None:
        import cv2

        out = sys.stdout.buffer
        out.write(self._header + b"FRAME\n")
        self._header = b""
        for plane in cv2.split(cv2.transform(frame, self.MATRIX)):
            out.write(np.ascontiguousarray(plane).data)
        out.flush()


class _Pictures(AbstractContextManager["_Pictures"]):
    """One picture, or one per frame where the name holds a number such as %05d."""

    def __init__(self, path: Path) -> None:
        self.path, self.frames = path, 0

    def write(self, frame: Image) -> None:
        path = self.path
        if "%" in path.name:
            path = path.with_name(path.name % self.frames)
        write_image(path, frame)
        self.frames += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


def holds_one_frame(path: Path | None) -> bool:
    """Whether the name is that of a single picture."""
    return path is not None and path.suffix.lower() in PICTURES and "%" not in path.name


def open_sink(
    path: Path | None,
    width: int,
    height: int,
    fps: float,
    audio_from: Path | None = None,
    audio_start: float = 0.0,
    y4m: bool = False,
) -> AbstractContextManager[Sink]:
    """The sink a name asks for; None is standard output, raw or as ``y4m``.

    Raises UsageError for unknown kinds of file.
    """
    if path is None:
        return _Y4m(width, height, fps) if y4m else _Raw()
    suffix = path.suffix.lower()
    if suffix in PICTURES:
        try:
            path.name % 0 if "%" in path.name else None
        except (TypeError, ValueError) as error:
            raise UsageError(f"{path}: number pictures with %05d in the name") from error
        return _Pictures(path)
    if suffix in VIDEOS:
        return VideoWriter(path, width, height, fps, audio_from, audio_start)  # type: ignore[return-value]
    raise UsageError(f"{path}: the output is a video ({' '.join(VIDEOS)}) or pictures ({' '.join(PICTURES)})")
