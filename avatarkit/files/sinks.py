"""Where rendered frames go: a video, one picture, numbered pictures, or raw bytes on standard output."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            sys.stdout.buffer.flush()


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
) -> AbstractContextManager[Sink]:
    """The sink a name asks for; None is raw standard output. Raises UsageError for unknown kinds of file."""
    if path is None:
        return _Raw()
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
