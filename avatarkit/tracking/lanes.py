"""Detectors that take the frames of a clip in turn, each in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle

from avatarkit.tracking.detectors import Face, Image, LandmarkDetector


class Lanes:
    """``count`` detectors, the n-th of which sees frames n, n + count, n + 2 count ... of those given.

    A detector follows its face from one of its own frames to the next, so what it finds depends on the frames alone
    and not on timing or cores. With one lane the caller's thread does the work.
    """

    def __init__(self, opened: Callable[[int], LandmarkDetector], most: int, count: int) -> None:
        self.count = count
        self._detectors = [opened(most)]
        self._pools: list[ThreadPoolExecutor] = []
        if count > 1:
            self._detectors += [opened(most) for _ in range(count - 1)]
            self._pools = [ThreadPoolExecutor(1, f"detector {lane}") for lane in range(count)]
        self._turn = cycle(range(count))

    def submit(self, image: Image) -> Future[list[Face]]:
        """The faces of the next frame, to come."""
        lane = next(self._turn)
        if self._pools:
            return self._pools[lane].submit(self._detectors[lane].detect, image)
        done: Future[list[Face]] = Future()
        done.set_result(self._detectors[lane].detect(image))
        return done

    def reset(self) -> None:
        """What is submitted from here on belongs to another shot."""
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
