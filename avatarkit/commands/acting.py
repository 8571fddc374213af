"""Drivers of ``reenact`` as streams of drives: a video while it is read, a track, or a built-in performance."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avatarkit.files.errors import NoFaceError

if TYPE_CHECKING:
    from avatarkit.files.track import Track
    from avatarkit.methods.registry import Drive
    from avatarkit.methods.steering import Steering
    from avatarkit.rendering.camera import Camera


@dataclass(frozen=True)
class Wishes:
    """What of a driver is wanted, and how."""

    transfer: str
    steering: Steering
    live: bool = False
    fps: float | None = None
    max_frames: int | None = None


class Acting(ABC):
    """One driver of one avatar: ``drives()`` yields (frame number, drive or None where there is no face).

    ``header`` is the avatar's. For avatars with a rig of their own (``rigged``) drives are in the driver's terms, to
    be compared with ``neutral`` seen by ``camera``; for all others they are in the avatar's. Where ``neutral``
    is None drives are in the avatar's terms, too: a performance.
    """

    fps: float
    frames: int | None
    """how many there will be, where that is known."""
    video: Path | None = None
    start: float = 0.0
    """seconds into ``video`` of the first frame."""
    neutral: Drive | None = None
    camera: Camera | None = None

    def __init__(self, header: dict[str, Any], wishes: Wishes, rigged: bool) -> None:
        self.header, self.wishes, self.rigged = header, wishes, rigged

    def __enter__(self) -> Acting:
        return self

    def __exit__(self, *details: object) -> None:
        return None

    @abstractmethod
    def drives(self) -> Iterator[tuple[int, Drive | None]]:
        """The frames in order."""


class Performed(Acting):
    """A built-in performance, on top of the avatar's own rest."""

    def __init__(self, name: str, header: dict[str, Any], wishes: Wishes, rigged: bool) -> None:
        from avatarkit.rendering.performance import performance

        super().__init__(header, wishes, rigged)
        self.fps = wishes.fps or 25.0
        self.performance = performance(name, self.fps)
        self.frames = min(len(self.performance), wishes.max_frames or len(self.performance))

    def drives(self) -> Iterator[tuple[int, Drive | None]]:
        """See ``Acting``."""
        import numpy as np

        from avatarkit.methods.driving import neutral_drive, performed

        names = tuple(self.header["expression_names"])
        rest = neutral_drive(self.header)
        k = np.asarray(self.header["camera"]["intrinsics"], np.float32)
        for index, drive in enumerate(performed(self.performance, self.header)[: self.frames]):
            yield index, self.wishes.steering.steered(drive, rest, names, k)


class Tracked(Acting):
    """A track: of a file, or of a video while it is read."""

    def __init__(self, path: Path, header: dict[str, Any], wishes: Wishes, rigged: bool) -> None:
        super().__init__(header, wishes, rigged)
        self.path = path
        self.begun: Track
        """what the neutral frame was looked for in; there once the driver is opened."""
        self.rest: Drive
        """that neutral frame, in the driver's terms."""

    def __enter__(self) -> Tracked:
        with ExitStack() as stack:
            begun, self._blocks = self._opened(stack)
            self._prepare(begun)
            self._open = stack.pop_all()
        return self

    def __exit__(self, *details: object) -> None:
        self._open.close()

    def _opened(self, stack: ExitStack) -> tuple[Track, Iterator[Track]]:
        from avatarkit.files.track import load_track

        with open(self.path, "rb") if self.path.is_file() else ExitStack() as file:
            zipped = self.path.is_file() and file.read(2) == b"PK"  # type: ignore[union-attr]
        most = self.wishes.max_frames
        if zipped:
            track = load_track(self.path)
            self.frames = min(len(track), most or len(track))
            return track, iter([track])
        from avatarkit.tracking import TrackOptions
        from avatarkit.tracking.stream import TrackStream

        # a rig follows the landmarks themselves; what coefficients decide needs them
        coefficients = not self.rigged or not self.wishes.steering.idle or self.wishes.transfer == "absolute"
        options = replace(TrackOptions(), max_frames=most)
        stream = stack.enter_context(TrackStream(self.path, options, self.wishes.live, coefficients))
        self.video = self.path
        self.frames = min(stream.info.frames, most or stream.info.frames)
        return stream.calibration, stream.blocks()

    def _prepare(self, begun: Track) -> None:
        import numpy as np

        from avatarkit.methods.driving import _named_like, neutral_drive, neutral_frame
        from avatarkit.methods.registry import Drive
        from avatarkit.methods.steering import imitating
        from avatarkit.rendering.camera import Camera

        if not begun.valid.any():
            raise NoFaceError(
                f"{self.path}: the driver holds no usable face: give a clip in which the face can be seen"
            )
        video = begun.meta["video"]
        self.fps = float(video["fps"])
        self.start = float(begun.frame[0]) / self.fps
        self.names = tuple(self.header["expression_names"])
        begun = _named_like(begun, list(self.names))
        transfer = self.wishes.transfer
        if transfer == "auto":
            own = not self.rigged and self.header.get("clip", {}).get("sha256") == video.get("sha256")
            transfer = "absolute" if own else "relative"
        self.transfer, self.begun = transfer, begun
        self.rest = Drive.of(begun, neutral_frame(begun))
        self.camera = Camera(
            np.asarray(begun.intrinsics, np.float32), int(video["width"]), int(video["height"])
        )
        if self.rigged:
            self.neutral = self.rest
            if transfer == "absolute":
                own_rest = neutral_drive(self.header)
                self.neutral = imitating(self.rest, own_rest, self.names, self.camera.intrinsics)

    def drives(self) -> Iterator[tuple[int, Drive | None]]:
        """See ``Acting``."""
        from avatarkit.methods import driving
        from avatarkit.methods.registry import Drive

        assert self.camera is not None
        steering, k, count = self.wishes.steering, self.camera.intrinsics, 0
        for block in self._blocks:
            track = driving._named_like(block, list(self.names))
            steered = [
                steering.steered(Drive.of(track, t), self.rest, self.names, k) if track.valid[t] else None
                for t in range(len(track))
            ]
            if not self.rigged:
                steered = driving.retargeted(steered, self.rest, self.header, self.transfer)
            for index, drive in zip(block.frame.tolist(), steered, strict=True):
                if self.wishes.max_frames is not None and count >= self.wishes.max_frames:
                    return
                count += 1
                yield index, drive


def opened(
    driver: str,
    path: Path,
    header: dict[str, Any],
    wishes: Wishes,
    rigged: bool,
    performances: tuple[str, ...],
) -> Acting:
    """The driver an argument names; ``path`` is its file (standard input already spooled)."""
    if driver in performances and not Path(driver).exists():
        return Performed(driver, header, wishes, rigged)
    return Tracked(path, header, wishes, rigged)
