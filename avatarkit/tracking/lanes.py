"""Detectors that take the frames of a clip in turn, each in a thread of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from avatarkit.tracking.detectors import Face, Image, LandmarkDetector

HELD = 96 << 20
"""Bytes of frames that a detector may have before it."""
LONGEST = 32
"""Frames that a detector takes, at most, before it is another one's turn."""
WARM = 4
"""Frames before its turn that a detector looks at, too, to come to where the face is."""


class Lanes:
    """``count`` detectors that take runs of frames in turn.

    A detector looks for the face where it found it a frame ago, and its landmarks lean on that by up to a pixel. So
    each takes many frames in a row, and looks at the last WARM before them first, after which it finds what one alone
    would have found, to a few hundredths of a pixel. What is found depends on the frames alone, not on timing or
    cores. With one lane the caller's thread does the work.
    """

    def __init__(self, opened: Callable[[int], LandmarkDetector], most: int, count: int) -> None:
        self._detectors = [opened(most) for _ in range(count)]
        self._pools = (
            [ThreadPoolExecutor(1, f"detector {lane}") for lane in range(count)] if count > 1 else []
        )
        self._last: deque[Image] = deque(maxlen=WARM)
        self._lane = self._done = self._run = 0

    @property
    def waiting(self) -> int:
        """Frames to submit before the first result is waited for: no detector is idle then."""
        return len(self._pools) * self._run

    def submit(self, image: Image) -> Future[list[Face]]:
        """The faces of the next frame, to come."""
        if not self._pools:
            done: Future[list[Face]] = Future()
            done.set_result(self._detectors[0].detect(image))
            return done
        self._run = self._run or min(max(HELD // image.nbytes, 2 * WARM), LONGEST)
        if self._done == self._run:
            self._lane, self._done = (self._lane + 1) % len(self._pools), 0
            for before in self._last:
                self._pools[self._lane].submit(self._detectors[self._lane].detect, before)
        self._done += 1
        self._last.append(image)
        return self._pools[self._lane].submit(self._detectors[self._lane].detect, image)

    def reset(self) -> None:
        """What is submitted from here on belongs to another shot."""
        self._last.clear()
        if not self._pools:
            self._detectors[0].reset()
        for pool, detector in zip(self._pools, self._detectors, strict=False):
            pool.submit(detector.reset)

    def close(self) -> None:
        """Finish what was submitted and free the detectors."""
        for pool in self._pools:
            pool.shutdown()
        for detector in self._detectors:
            detector.close()
