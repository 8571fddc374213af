"""Drivers of ``reenact`` as streams of drives: a video while it is read, a track, or a built-in performance."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from avatarkit.commands.moving import PERFORMANCES
from avatarkit.files.errors import AvatarkitError, NoFaceError, UsageError
from avatarkit.files.facecap import is_capture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from avatarkit.commands.early import Early
    from avatarkit.files.track import Track
    from avatarkit.methods.registry import Drive
    from avatarkit.methods.steering import Steering
    from avatarkit.rendering.camera import Camera
    from avatarkit.tracking.stream import TrackStream

Item = TypeVar("Item")


@dataclass(frozen=True)
class Wishes:
    """What of a driver is wanted, and how."""

    transfer: str
    steering: Steering
    live: bool = False
    fps: float | None = None
    """frames per second of the result; None: the driver's."""
    max_frames: int | None = None
    """of the result."""
    start: float = 0.0
    """seconds into the driver."""
    end: float | None = None
    face: str = "largest"
    """whose face in the driver."""
    video: Path | None = None
    """of a track that is no longer where it was."""
    watched: bool = False
    """whether the driver's pictures are needed."""

    def __post_init__(self) -> None:
        if self.end is not None and self.end <= self.start:
            raise UsageError(f"--start {self.start:g} --end {self.end:g}: the end must come after the start")


class Acting(ABC):
    """One driver of one avatar: ``drives()`` yields (frame number, drive or None where there is no face).

    ``header`` is the avatar's. For avatars with a rig of their own (``rigged``) drives are in the driver's terms, to
    be compared with ``neutral`` seen by ``camera``; for all others they are in the avatar's. Where ``neutral``
    is None drives are in the avatar's terms, too: a performance.
    """

    fps: float
    """of the result."""
    frames: int | None
    """how many there will be, where that is known."""
    video: Path | None = None
    first: int = 0
    """number in ``video`` of the first frame."""
    start: float = 0.0
    """the same in seconds."""
    neutral: Drive | None = None
    camera: Camera | None = None
    hurried: bool = False
    """whether frames must not wait for each other."""

    def __init__(self, header: dict[str, Any], wishes: Wishes, rigged: bool) -> None:
        self.header, self.wishes, self.rigged = header, wishes, rigged

    def __enter__(self) -> Acting:
        return self

    def __exit__(self, *details: object) -> None:
        return None

    def wrote(self, index: int) -> None:
        """Called when the frame ``index`` has reached the viewer."""
        return None

    def figures(self) -> dict[str, Any]:
        """What a summary tells of this driver beyond the usual."""
        return {}

    @abstractmethod
    def drives(self) -> Iterator[tuple[int, Drive | None]]:
        """The frames in order."""


class Performed(Acting):
    """A built-in performance or a face capture, on top of the avatar's own rest."""

    def __init__(self, name: str, header: dict[str, Any], wishes: Wishes, rigged: bool) -> None:
        from avatarkit.rendering.captured import acted

        super().__init__(header, wishes, rigged)
        self.performance, self.lost = acted(name, wishes.fps)
        self.fps = self.performance.fps
        length = len(self.performance)
        self.first = round(wishes.start * self.fps)
        last = length if wishes.end is None else min(round(wishes.end * self.fps), length)
        if last <= self.first:
            raise UsageError(f"--start {wishes.start:g}: {name} lasts {length / self.fps:g} seconds")
        self.frames = min(last - self.first, wishes.max_frames or length)

    def drives(self) -> Iterator[tuple[int, Drive | None]]:
        """See ``Acting``."""
        import numpy as np

        from avatarkit.methods.driving import neutral_drive, performed

        names = tuple(self.header["expression_names"])
        rest = neutral_drive(self.header)
        k = np.asarray(self.header["camera"]["intrinsics"], np.float32)
        assert self.frames is not None
        acted = performed(self.performance, self.header)[self.first : self.first + self.frames]
        for index, drive in enumerate(acted):
            lost = self.lost[self.first + index]
            yield index, None if lost else self.wishes.steering.steered(drive, rest, names, k)


class Tracked(Acting):
    """A track: of a file, or of a video while it is read."""

    def __init__(
        self,
        path: Path,
        header: dict[str, Any],
        wishes: Wishes,
        rigged: bool,
        early: Early[TrackStream] | None = None,
    ) -> None:
        """``early``: a stream that was ``watched`` already."""
        super().__init__(header, wishes, rigged)
        self.path, self.early = path, early
        self.begun: Track
        """what the neutral frame was looked for in; there once the driver is opened."""
        self.count: int | None
        """frames of the driver, where that is known."""
        self.rest: Drive
        """that neutral frame, in the driver's terms."""
        self.span: tuple[int, int | None] = (0, None)
        """rows of a block that are wanted."""
        self._seen_torso: NDArray[np.float32] | None = None

    def __enter__(self) -> Tracked:
        with ExitStack() as stack:
            begun, self._blocks = self._opened(stack)
            self._prepare(begun)
            self._open = stack.pop_all()
        return self

    def __exit__(self, *details: object) -> None:
        self._open.close()

    def _opened(self, stack: ExitStack) -> tuple[Track, Iterator[Track]]:
        if is_track(self.path):
            return self._read()
        wishes, early = self.wishes, self.early
        if early is None:
            stream = stack.enter_context(watched(self.path, wishes, self.rigged))
        else:
            stream = early.take()
            stack.push(stream)
        rate, most = stream.info.fps, stream.options.max_frames
        self.video, self.rate = self.path, rate
        span = stream.info.frames - round(wishes.start * rate)
        if wishes.end is not None:
            span = min(span, round((wishes.end - wishes.start) * rate))
        self.count = min(span, most or span)
        return stream.calibration, stream.blocks()

    def _read(self) -> tuple[Track, Iterator[Track]]:
        """A track from a file, and the video it is of, where that is at hand."""
        import numpy as np

        from avatarkit.files.source import resolve_video
        from avatarkit.files.track import load_track

        track, wishes = load_track(self.path), self.wishes
        rate = float(track.meta["video"]["fps"])
        time = track.frame / rate
        chosen = np.flatnonzero((time >= wishes.start) & (time < (wishes.end or np.inf)))
        if not len(chosen):
            raise UsageError(f"--start {wishes.start:g}: nothing of {self.path} lies there")
        # a track thinned by track --fps has fewer frames a second than its video
        steps = np.diff(track.frame)
        self.rate = rate / float(np.median(steps)) if len(steps) else rate
        try:
            self.video = resolve_video(track, wishes.video, self.path)
        except AvatarkitError:
            if wishes.watched or wishes.video is not None:
                raise
        self.count = len(chosen)
        self.span = int(chosen[0]), int(chosen[-1]) + 1
        return track, iter([track])

    def _prepare(self, begun: Track) -> None:
        import numpy as np

        from avatarkit.methods.driving import named_like, neutral_frame
        from avatarkit.methods.registry import Drive
        from avatarkit.rendering.camera import Camera

        if not begun.valid.any():
            raise NoFaceError(
                f"{self.path}: the driver holds no usable face: give a clip in which the face can be seen"
            )
        video = begun.meta["video"]
        self.fps, self.frames = self.wishes.fps or self.rate, self.count
        if self.wishes.fps and self.count is not None:
            self.frames = math.floor(self.count * self.wishes.fps / self.rate)
        if self.frames is not None:
            self.frames = min(self.frames, self.wishes.max_frames or self.frames)
        self.first = int(begun.frame[self.span[0]])
        self.start = self.first / float(video["fps"])
        self.names = tuple(self.header["expression_names"])
        begun = named_like(begun, list(self.names))
        transfer = self.wishes.transfer
        if transfer == "auto":
            own = not self.rigged and self.header.get("clip", {}).get("sha256") == video.get("sha256")
            # a driver of one frame has no change to take over
            transfer = "absolute" if own or self.count == 1 else "relative"
        self.transfer, self.begun = transfer, begun
        self.camera = Camera(
            np.asarray(begun.intrinsics, np.float32), int(video["width"]), int(video["height"])
        )
        self._rest_at(Drive.of(begun, neutral_frame(begun)))

    def _rest_at(self, rest: Drive) -> None:
        """Compare frames with the neutral frame ``rest`` from now on."""
        from avatarkit.methods.driving import neutral_drive
        from avatarkit.methods.steering import imitating

        assert self.camera is not None
        self.rest = rest
        if self.rigged:
            self.neutral = rest
            if self.transfer == "absolute":
                own_rest = neutral_drive(self.header)
                self.neutral = imitating(rest, own_rest, self.names, self.camera.intrinsics)

    def drives(self) -> Iterator[tuple[int, Drive | None]]:
        """See ``Acting``."""
        return islice(paced(self._drives(), self.rate, self.fps), self.wishes.max_frames)

    def _drives(self) -> Iterator[tuple[int, Drive | None]]:
        """At the driver's own rate."""
        for block in self._blocks:
            yield from self._of_block(block)

    def _of_block(self, block: Track) -> Iterator[tuple[int, Drive | None]]:
        from avatarkit.methods import driving
        from avatarkit.methods.registry import Drive

        assert self.camera is not None
        steering, k = self.wishes.steering, self.camera.intrinsics
        track = driving.named_like(block, list(self.names))
        rows = range(len(track))[slice(*self.span)]
        steered: list[Drive | None] = []
        for t in rows:
            if not track.valid[t]:
                steered.append(None)
                continue
            self._seen_torso = self._torso(track, t, self._seen_torso)
            # avatars without a rig of their own let the torso follow the neck
            drive = replace(Drive.of(track, t), torso=self._seen_torso if self.rigged else None)
            steered.append(steering.steered(drive, self.rest, self.names, k))
        if not self.rigged:
            steered = driving.retargeted(steered, self.rest, self.header, self.transfer)
        yield from zip((int(block.frame[t]) for t in rows), steered, strict=True)

    def _torso(self, track: Track, t: int, last: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
        """[2, 3] the torso's similarity from the neutral frame; where it is not seen the ``last`` one."""
        from avatarkit.tracking.torso import based_on

        start = self.rest.torso
        if track.torso is None or start is None or not (abs(start).max() < 1e9):
            return None
        now = track.torso[t]
        return based_on(now, start) if abs(now).max() < 1e9 else last


def paced(items: Iterable[Item], given: float, wanted: float) -> Iterator[Item]:
    """Items that come ``given`` times a second, at ``wanted`` a second: each time the last one that has come."""
    if wanted == given:
        yield from items
        return
    made = 0
    for position, item in enumerate(items, 1):
        while made * given < position * wanted:
            yield item
            made += 1


def opened(
    driver: str,
    path: Path,
    header: dict[str, Any],
    wishes: Wishes,
    rigged: bool,
    early: Early[TrackStream] | None = None,
) -> Acting:
    """The driver an argument names; ``path`` is its file (standard input already spooled)."""
    if performs(driver, path):
        return Performed(driver, header, wishes, rigged)
    return Tracked(path, header, wishes, rigged, early)


def performs(driver: str, path: Path) -> bool:
    """Whether the driver has no video: a built-in performance, or a capture."""
    return is_capture(path) or (driver in PERFORMANCES and not Path(driver).exists())


def is_track(path: Path) -> bool:
    """Whether the file is a track rather than a clip."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(2) == b"PK"


def watched(path: Path, wishes: Wishes, rigged: bool) -> TrackStream:
    """The stream of a clip's track, not yet entered; ``rigged`` as for ``Acting``."""
    from avatarkit.files.video import probe
    from avatarkit.tracking import TrackOptions
    from avatarkit.tracking.stream import TrackStream

    rate, most = probe(path).fps, wishes.max_frames
    if most is not None:
        most = math.ceil(most * rate / (wishes.fps or rate))
    # what a rig takes over of a face are its landmarks: they are worth a second look, if there is time for it
    windows = 2 if rigged and not wishes.live else 1
    options = TrackOptions(
        start=wishes.start, end=wishes.end, max_frames=most, face=wishes.face, windows=windows
    )
    return TrackStream(path, options, wishes.live, solved(wishes, rigged), rigged)


def solved(wishes: Wishes, rigged: bool) -> bool:
    """Whether coefficients are needed: a rig follows the landmarks themselves, but not what coefficients decide."""
    return not rigged or not wishes.steering.idle or wishes.transfer == "absolute"
