"""Drivers that come through standard input while they happen: frames, or coefficients."""

from __future__ import annotations

import gc
import re
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avatarkit.commands.acting import Acting, Tracked, Wishes
from avatarkit.files.errors import AvatarkitError, UsageError
from avatarkit.files.feed import NAME, CaptureFeed, Feed, beginning, kind_of

if TYPE_CHECKING:
    from avatarkit.files.track import Track
    from avatarkit.methods.registry import Drive

GLIDE = 15
"""Frames in which a neutral frame gives way to a better one."""
CAPTURE_FPS = 60.0
"""Frames a second of coefficients (Live Link Face's), where ``--fps`` does not say it."""
TURN = 0.005
"""Seconds for which one thread may keep the interpreter from another."""


def fed(size: str | None, fps: float | None, live: bool, at_once: bool) -> Feed | CaptureFeed | None:
    """Standard input as a stream, not yet entered; None where it must be read to its end first.

    ``size`` WIDTHxHEIGHT: raw frames; ``live``: only the newest counts; ``at_once``: results are wanted while frames
    come. A track is never a stream, a movie with its index at the end cannot be one. Raises UsageError for a size
    that is none, AvatarkitError where ``live`` asks for what cannot be.
    """
    if size is not None:
        return Feed(_size(size), fps, live)
    start = beginning(sys.stdin.buffer)
    if start is None:
        return None
    if not start:
        raise AvatarkitError("standard input is empty: the command before the pipe gave nothing")
    kind = kind_of(start)
    if kind in ("csv", "jsonl"):
        return CaptureFeed(kind == "csv", live)
    if kind in ("y4m", "mjpeg") or (kind in ("mp4", "other") and (live or at_once)):
        return Feed(None, fps, live)
    if live:
        what = "a track" if kind == "track" else "a movie with its index at the end"
        raise AvatarkitError(f"--live: {NAME} is {what}, which is read as a whole: leave --live out")
    return None


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", text.strip())
    if match is None or not (16 <= int(match[1]) <= 16384 and 16 <= int(match[2]) <= 16384):
        raise UsageError(f"--input-size {text}: give WIDTHxHEIGHT in pixels, like 640x480")
    return int(match[1]), int(match[2])


class _Clock:
    """How late frames of a ``feed`` reach the viewer."""

    def __init__(self, feed: Feed | CaptureFeed) -> None:
        self.feed, self.late, self.drawn = feed, list[float](), list[float]()
        self.begun = time.perf_counter()
        self.first: float | None = None
        self.missed_before = 0

    def wrote(self, index: int, spotted: float | None = None) -> None:
        """The frame ``index`` is out; its landmarks were known at ``spotted``."""
        now = time.perf_counter()
        came = self.feed.arrived.pop(index, None)
        if self.first is None:
            # frames that came while the avatar was made ready are nobody's delay
            self.first, self.missed_before = now - self.begun, self.feed.dropped
        elif came is not None:
            self.late.append(1000 * (now - came))
            if spotted is not None:
                self.drawn.append(1000 * (now - spotted))

    def figures(self) -> dict[str, Any]:
        """Entries of a summary; milliseconds are median and 95th percentile."""
        import numpy as np

        def shares(times: list[float]) -> list[float | None]:
            return np.percentile(times, [50, 95]).round(2).tolist() if times else [None, None]

        late, drawn = shares(self.late), shares(self.drawn)
        return {
            "latency_ms_median": late[0],
            "latency_ms_p95": late[1],
            "landmarks_to_pixels_ms_median": drawn[0],
            "landmarks_to_pixels_ms_p95": drawn[1],
            "first_frame_seconds": None if self.first is None else round(self.first, 3),
            "dropped": self.feed.dropped - self.missed_before,
            "dropped_at_start": self.missed_before,
            "torn": self.feed.torn,
        }


class LiveTracked(Tracked):
    """The person in the frames of a ``feed``. The neutral frame is found among the first few, and found again once
    two seconds are known; drives glide from the one to the other."""

    def __init__(self, feed: Feed, header: dict[str, Any], wishes: Wishes, rigged: bool) -> None:
        super().__init__(Path(NAME), header, wishes, rigged)
        self.feed, self.clock, self.hurried = feed, _Clock(feed), feed.newest

    def _opened(self, stack: ExitStack) -> tuple[Track, Iterator[Track]]:
        from avatarkit.commands.acting import solved
        from avatarkit.tracking import TrackOptions
        from avatarkit.tracking.live import LiveStream

        wishes = self.wishes
        options = TrackOptions(start=wishes.start, end=wishes.end, face=wishes.face)
        self.stream = LiveStream(self.feed, options, solved(wishes, self.rigged), self.rigged)
        stack.enter_context(self.stream)
        self.rate, self.count = self.stream.info.fps, None
        return self.stream.calibration, self.stream.blocks()

    def drives(self) -> Iterator[tuple[int, Drive | None]]:
        """See ``Acting``; at the rate of the feed."""
        return islice(self._drives(), self.wishes.max_frames)

    def _drives(self) -> Iterator[tuple[int, Drive | None]]:
        from avatarkit.methods.driving import between, named_like, neutral_frame
        from avatarkit.methods.registry import Drive

        self.fps, known = self.rate, self.stream.calibration
        start = goal = self.rest
        gone = GLIDE
        for block in self._blocks:
            yield from self._of_block(block)
            if self.stream.calibration is not known:
                known = self.stream.calibration
                better = named_like(known, list(self.names))
                start, goal, gone = self.rest, Drive.of(better, neutral_frame(better)), 0
            if gone < GLIDE:
                gone += 1
                self._rest_at(between(start, goal, gone / GLIDE))

    def wrote(self, index: int) -> None:
        """See ``Acting``."""
        self.clock.wrote(index, self.stream.spotted if self.hurried else None)

    def figures(self) -> dict[str, Any]:
        """See ``Acting``."""
        return self.clock.figures()


class LiveCaptured(Acting):
    """Coefficients and angles of a ``feed``, on top of the avatar's own rest."""

    def __init__(self, feed: CaptureFeed, header: dict[str, Any], wishes: Wishes, rigged: bool) -> None:
        super().__init__(header, wishes, rigged)
        if wishes.watched:
            raise UsageError("coefficients have no picture: leave --side-by-side and --mouth driver out")
        self.feed, self.clock, self.hurried = feed, _Clock(feed), feed.newest
        self.fps, self.frames = wishes.fps or CAPTURE_FPS, None

    def drives(self) -> Iterator[tuple[int, Drive | None]]:
        """See ``Acting``."""
        return islice(self._drives(), self.wishes.max_frames)

    def _drives(self) -> Iterator[tuple[int, Drive | None]]:
        import numpy as np

        from avatarkit.methods.driving import neutral_drive, performed
        from avatarkit.rendering.captured import captured

        names = tuple(self.header["expression_names"])
        rest = neutral_drive(self.header)
        k = np.asarray(self.header["camera"]["intrinsics"], np.float32)
        for index, row in self.feed.rows():
            acted, lost = captured(row, NAME, self.fps)
            drive = performed(acted, self.header)[0]
            yield index, None if lost[0] else self.wishes.steering.steered(drive, rest, names, k)

    def wrote(self, index: int) -> None:
        """See ``Acting``."""
        self.clock.wrote(index)

    def figures(self) -> dict[str, Any]:
        """See ``Acting``."""
        return self.clock.figures()


def prompt() -> None:
    """Let nothing hold a frame up: threads take short turns, and what is there by now is no longer searched for
    garbage (a tenth of a second)."""
    sys.setswitchinterval(TURN)
    gc.collect()
    gc.freeze()


def actor(feed: Feed | CaptureFeed, header: dict[str, Any], wishes: Wishes, rigged: bool) -> Acting:
    """The driver that a feed is. Raises UsageError for wishes that need a file."""
    if isinstance(feed, CaptureFeed):
        return LiveCaptured(feed, header, wishes, rigged)
    if wishes.watched:
        raise UsageError(
            "--side-by-side and --mouth driver need the driver's video as a file: name it, or leave them out"
        )
    return LiveTracked(feed, header, wishes, rigged)
