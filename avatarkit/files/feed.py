"""Standard input as frames that come one by one: raw rgb24, Y4M, MJPEG, or any container a pipe can carry."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from avatarkit.files import ffmpeg
from avatarkit.files.errors import AvatarkitError
from avatarkit.files.facecap import FaceCapture, streamed
from avatarkit.files.probe import FOLDER_FPS, VideoInfo
from avatarkit.files.slot import Slot

Image = NDArray[np.uint8]

NAME = "standard input"
PIECE = 1 << 16
"""Bytes passed on at a time."""
PIPE = 1 << 20
"""Bytes that a pipe holds where the system lets it: a frame at once, not in pieces that each wake somebody."""
QUICK = ("-flags", "low_delay", "-threads", "1", "-analyzeduration", "0")
"""How ffmpeg reads without looking ahead: a decoder with several threads keeps a frame back for each of them."""


def kind_of(beginning: bytes) -> str:
    """What the first bytes of a stream announce: ``track``, ``y4m``, ``mjpeg``, ``csv``, ``jsonl``, ``mp4`` (its
    index comes first), ``whole`` (its index comes last: it cannot be read while it comes) or ``other``."""
    if beginning.startswith(b"PK"):
        return "track"
    if beginning.startswith(b"YUV4MPEG2"):
        return "y4m"
    if beginning.startswith(b"\xff\xd8\xff"):
        return "mjpeg"
    text = beginning.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"{"):
        return "jsonl"
    if text[:8].lower() == b"timecode":
        return "csv"
    return _movie(beginning) if beginning[4:8] == b"ftyp" else "other"


def _movie(beginning: bytes) -> str:
    at = 0
    while at + 8 <= len(beginning):
        size, name = struct.unpack_from(">I4s", beginning, at)
        if name in (b"moov", b"moof"):
            return "mp4"
        if name == b"mdat" or size < 8:
            return "whole"
        at += size
    return "whole"


def beginning(source: BinaryIO, count: int = 4096) -> bytes | None:
    """First bytes of ``source``, at most ``count``, left there to be read; None where they cannot be looked at."""
    look: Callable[[int], bytes] | None = getattr(source, "peek", None)
    return None if look is None else look(count)[:count]


class CaptureFeed(AbstractContextManager["CaptureFeed"]):
    """Rows of a face capture on standard input (``comma``: Live Link Face CSV, else JSON lines) as they come.

    With ``newest`` a row that was not taken before the next one came is dropped. ``source`` stands in for standard
    input.
    """

    def __init__(self, comma: bool, newest: bool, source: BinaryIO | None = None) -> None:
        self.comma, self.newest, self._source = comma, newest, source or sys.stdin.buffer
        self._slot: Slot[tuple[int, FaceCapture, float]] = Slot(newest)
        self.arrived: dict[int, float] = {}
        self.torn = False

    @property
    def dropped(self) -> int:
        """Rows that came and were never taken."""
        return self._slot.dropped

    def rows(self) -> Iterator[tuple[int, FaceCapture]]:
        """(number, capture of one frame) as they come; numbers count the dropped ones, too."""
        while (item := self._slot.take()) is not None:
            index, row, came = item
            self.arrived[index] = came
            yield index, row

    def __enter__(self) -> CaptureFeed:
        threading.Thread(target=self._read, daemon=True, name="feed").start()
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def close(self) -> None:
        """Whoever waits for the next row gets the end."""
        self._slot.close()

    def _read(self) -> None:
        try:
            for index, row in enumerate(streamed(self._lines(self._source), self.comma, NAME)):
                if not self._slot.put((index, row, time.perf_counter())):
                    return
            self._slot.end()
        except (AvatarkitError, OSError) as error:
            self._slot.end(error)
        except UnicodeDecodeError:
            self._slot.end(AvatarkitError(f"{NAME} is not text: give a Live Link Face CSV or JSON lines"))

    def _lines(self, source: BinaryIO) -> Iterator[str]:
        """Whole lines; what is left of one at the end is torn."""
        rest = b""
        for piece in iter(_pieces(source).__next__, b""):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield line.decode("utf-8-sig") + "\n"
        self.torn = bool(rest.strip())


class Feed(AbstractContextManager["Feed"]):
    """Frames [H, W, 3] uint8 sRGB of standard input, read from the moment the feed is opened.

    ``size`` (width, height): frames are raw rgb24; None: ffmpeg finds out what they are. ``fps`` is their rate where
    it is known better than the stream tells (raw and MJPEG streams do not tell: 25). With ``newest`` a frame that
    was not taken before the next one came is dropped. Use in a ``with`` statement; ``info`` waits for the first
    frame and raises AvatarkitError where none comes. ``source`` stands in for standard input.
    """

    def __init__(
        self,
        size: tuple[int, int] | None,
        fps: float | None,
        newest: bool,
        source: BinaryIO | None = None,
    ) -> None:
        self.newest, self._source = newest, source or sys.stdin.buffer
        self._slot: Slot[tuple[int, Image, float]] = Slot(newest)
        self._size, self._fps = size, fps
        self._first: tuple[int, Image, float] | None = None
        self._info: VideoInfo | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._said: list[str] = []
        self._described = threading.Event()
        """whether ffmpeg has said what it reads"""
        self.arrived: dict[int, float] = {}
        """seconds of ``time.perf_counter`` at which a frame that was taken had come, by its number"""
        self.torn = False
        """whether the stream ended within a frame."""

    @property
    def dropped(self) -> int:
        """Frames that came and were never taken."""
        return self._slot.dropped

    @property
    def info(self) -> VideoInfo:
        """Size and rate; the number of frames is not known and 0."""
        if self._info is None:
            self._first = self._slot.take()
            if self._first is None:
                raise AvatarkitError(f"{NAME}: {self._why()}")
            height, width = self._first[1].shape[:2]
            self._info = VideoInfo(Path(NAME), "stream", width, height, self._fps or self._told(), 0)
        return self._info

    def frames(
        self, start: int = 0, end: int | None = None, size: tuple[int, int] | None = None
    ) -> Iterator[tuple[int, Image]]:
        """(number, frame) as they come, scaled to ``size``; numbers count the dropped ones, too."""
        item = self._first if self.info else None
        while item is not None:
            index, image, came = item
            if end is not None and index >= end:
                return
            if index >= start:
                self.arrived[index] = came
                yield index, _sized(image, size)
            item = self._slot.take()

    def __enter__(self) -> Feed:
        source = self._source
        if self._size is None:
            command = [ffmpeg.executable(), "-hide_banner", *QUICK]
            if kind_of(beginning(source) or b"") == "mjpeg":
                command += ["-fpsprobesize", "0", "-f", "mjpeg"]
                if self._fps:
                    command += ["-framerate", str(self._fps)]
            command += [
                "-protocol_whitelist",
                "pipe",
                "-i",
                "pipe:0",
                "-map",
                "0:v:0",
                "-fps_mode",
                "passthrough",
            ]
            command += ["-vf", "scale=iw*sar:ih:flags=bicubic+accurate_rnd+full_chroma_int,setsar=1"]
            command += ["-c:v", "ppm", "-pix_fmt", "rgb24", "-f", "image2pipe", "-flush_packets", "1", "-"]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pipesize=PIPE,
            )
            assert self._process.stdin and self._process.stdout and self._process.stderr
            self._begin(self._pump, source, self._process.stdin)
            self._listening = self._begin(self._listen, self._process.stderr)
            reading = self._begin(self._read, self._process.stdout)
            self._ends = ((self._listening, self._process.stderr), (reading, self._process.stdout))
        else:
            self._begin(self._read, source)
        return self

    def close(self) -> None:
        """Whoever waits for the next frame gets the end."""
        self._slot.close()

    def __exit__(self, *details: object) -> None:
        self.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for thread, pipe in self._ends:
                thread.join()
                pipe.close()

    def _begin(self, work: Callable[..., None], *arguments: object) -> threading.Thread:
        # daemons: one that waits for more input must not keep the program from ending
        thread = threading.Thread(target=work, args=arguments, daemon=True, name=f"feed{work.__name__}")
        thread.start()
        return thread

    def _pump(self, source: BinaryIO, sink: BinaryIO) -> None:
        with suppress(OSError, ValueError):  # ffmpeg ended first
            for piece in iter(_pieces(source).__next__, b""):
                sink.write(piece)
                sink.flush()
        with suppress(OSError, ValueError):
            sink.close()

    def _listen(self, errors: BinaryIO) -> None:
        for line in errors:
            self._said.append(line.decode("utf-8", "replace"))
            if line.startswith(b"Output #0"):
                self._described.set()
            if len(self._said) > 200:
                del self._said[100:150]
        self._described.set()

    def _read(self, source: BinaryIO) -> None:
        """Whole frames into the slot until the stream ends."""
        stream = source if self._size is None else _Stream(source)
        index, size = 0, self._size
        try:
            while (shape := self._size or _header(source)) is not None:
                frame = np.empty((shape[1], shape[0], 3), np.uint8)
                got = _fill(stream, memoryview(frame.data).cast("B"))
                if got < frame.size:
                    self.torn = self.torn or got > 0
                    break
                size = size or shape
                if shape != size:
                    raise AvatarkitError(f"{NAME}: the size of its frames changes at frame {index}")
                if not self._slot.put((index, frame, time.perf_counter())):
                    return
                index += 1
            if self._process is not None:
                self._process.wait()
                self._listening.join()
                self.torn = any(
                    "runcat" in line or "partial" in line or "rror" in line for line in self._said
                )
            self._slot.end()
        except (OSError, ValueError) as error:
            self._slot.end(AvatarkitError(f"{NAME}: reading failed: {error}"))
        except AvatarkitError as error:
            self._slot.end(error)

    def _told(self) -> float:
        """The rate ffmpeg found."""
        if self._process is not None:
            self._described.wait()
        for line in list(self._said):
            if "Video:" in line and (rate := re.search(r"([\d.]+) fps", line)) and 0 < float(rate[1]) <= 240:
                return float(rate[1])
        return FOLDER_FPS

    def _why(self) -> str:
        """Why there was no frame at all."""
        if self._size is not None:
            width, height = self._size
            return f"it ended before one {width}x{height} frame of {3 * width * height} bytes was there"
        return ffmpeg.reason("".join(self._said)) if self._said else "it is empty"


def _sized(image: Image, size: tuple[int, int] | None) -> Image:
    if size is None:
        return image
    import cv2

    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


class _Stream:
    """Standard input without Python's buffer: a thread that waits in it holds a lock the interpreter needs to end."""

    def __init__(self, source: BinaryIO) -> None:
        self._left, self._file = memoryview(_held(source)), source.fileno()

    def readinto(self, view: memoryview) -> int:
        """Bytes read into ``view``, 0 at the end."""
        if not self._left:
            return os.readv(self._file, [view])
        count = min(len(view), len(self._left))
        view[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


def _held(source: BinaryIO) -> bytes:
    """What lies in the buffer of ``source``, which is empty then."""
    held: bytes = source.peek(1)  # type: ignore[attr-defined]
    return source.read(len(held))


def _pieces(source: BinaryIO) -> Iterator[bytes]:
    """What ``source`` holds in its buffer, then what comes, without its lock; empty bytes at the end."""
    yield _held(source)
    while True:
        yield os.read(source.fileno(), PIECE)


def _header(stream: BinaryIO) -> tuple[int, int] | None:
    """Width and height of the next PPM picture (ffmpeg writes three short lines); None at the end."""
    if stream.readline() != b"P6\n":
        return None
    size = stream.readline().split()
    stream.readline()
    return (int(size[0]), int(size[1])) if len(size) == 2 else None


def _fill(stream: BinaryIO | _Stream, view: memoryview) -> int:
    """Read into ``view`` until it is full or the stream ends; the number of bytes read."""
    got = 0
    while got < len(view):
        count = stream.readinto(view[got:])  # type: ignore[union-attr]
        if not count:
            break
        got += count
    return got
