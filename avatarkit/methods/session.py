"""What every fit needs around its training: interruption, header, identity of a track, samples of frames, cores."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatarkit.files.track import Track
from avatarkit.methods.driving import reference


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Ctrl-C waits for the end of the iteration, so that a checkpoint holds whole steps; a second one does not."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    asked: list[bool] = []

    def handle(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(True)

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, before)


def clip_header(
    method: str, track: Track, config: Any, training: NDArray[np.int64], policy: str
) -> dict[str, Any]:
    """What the header of every avatar fitted to a clip holds: options, reference frame, clip, camera, background."""
    video = track.meta["video"]
    kept = {
        name: value
        for name, value in asdict(config).items()
        if name not in ("checkpoint", "resume", "preview")
    }
    return {
        "method": method,
        "config": kept,
        "head": track.meta.get("head", {}),
        "expression_names": list(track.expression_names),
        "reference": reference(track, training),
        "clip": {key: video.get(key) for key in ("name", "sha256", "width", "height", "fps", "frames")},
        "camera": {
            "intrinsics": np.asarray(track.intrinsics).tolist(),
            "width": int(video["width"]),
            "height": int(video["height"]),
        },
        "crop": [int(v) for v in track.crop],
        "resolution": config.resolution,
        "background": policy,
        "seed": config.seed,
        "device": "cpu",
    }


def track_hash(track: Track) -> str:
    """SHA-256 of what a fit reads of a track, apart from the video."""
    digest = hashlib.sha256()
    for values in (track.frame, track.valid, track.rotation, track.translation, track.expression, track.crop):
        digest.update(np.ascontiguousarray(values).tobytes())
    for mattes in track.mattes or []:
        digest.update(mattes.get("head", b""))
    return digest.hexdigest()


def some(positions: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most ``most`` of ``positions``, evenly spread."""
    if len(positions) <= most:
        return positions
    chosen: NDArray[np.int64] = positions[np.linspace(0, len(positions) - 1, most).round().astype(int)]
    return chosen


def cores() -> int:
    """CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def peak_memory() -> float:
    """Megabytes this process has had at most."""
    unit = 1024 if sys.platform != "darwin" else 1024**2
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
