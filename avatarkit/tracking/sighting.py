"""One person through a clip: landmarks, cuts and the torso, frame by frame as the frames come, or gathered."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from avatarkit.data.ahead import ahead
from avatarkit.heads.landmarks import COUNT
from avatarkit.tracking.detectors import MOST_FACES, Face, LandmarkDetector
from avatarkit.tracking.follow import LOOK_AROUND, Chooser, Cutter, Image, leaps
from avatarkit.tracking.lanes import Lanes
from avatarkit.tracking.torso import TorsoFollower

Float = NDArray[np.float32]

AHEAD = 4
"""Frames decoded while one is looked at."""


@dataclass(frozen=True)
class Sight:
    """What was seen in one frame."""

    index: int
    """the frame's number in the clip."""
    points: Float
    """[478, 3] pixels of the image given; NaN where no face was found."""
    linked: bool
    """whether it continues the frame before: both hold a face and there is no cut between them."""
    torso: Float | None = None
    """[2, 3] the torso's similarity from the shot's first frame with a face, pixels; None: not seen."""
    torso_share: float = 0.0
    """of the points followed, those that agree with it."""
    cut: bool = False
    """whether a new shot begins with it."""
    scores: Float | None = None
    """expression scores of detectors that give them."""
    people: int = 1
    """faces seen."""

    @property
    def found(self) -> bool:
        """Whether there is a face."""
        return not bool(np.isnan(self.points).all())


def sights(
    frames: Iterable[tuple[int, Image]],
    open_detector: Callable[[int], LandmarkDetector],
    count_faces: Callable[[Image], int],
    face: str = "largest",
    torso: TorsoFollower | None = None,
    keep: Callable[[Image, Float], None] | None = None,
    depth: int = AHEAD,
    lanes: int = 1,
    torso_every: int = 1,
) -> Iterator[Sight]:
    """See one person in ``frames``, ``depth`` of which are decoded ahead; nothing is kept.

    ``open_detector(most)`` opens a detector for up to ``most`` faces: several are looked for only when
    ``count_faces`` has seen more than one person, since every further face costs. ``torso`` follows it, if given, in
    one of ``torso_every`` frames;
    ``keep`` is called with every frame that holds the face and its landmarks. ``lanes`` detectors take frames in
    turn, side by side. They are closed when the iterator ends or is closed.
    """
    chooser = Chooser(face)
    found_before = False
    beside = _Beside(torso, waits=depth > 0)
    seen = _detected(ahead(frames, depth) if depth else frames, open_detector, count_faces, face, lanes)
    try:
        for row, (index, image, cut, faces) in enumerate(seen):
            yield from beside.done()
            if cut:
                chooser.forget()
            before = chooser.last
            chosen = chooser.choose(faces, image.shape[1], image.shape[0])
            leapt = not cut and chosen is not None and before is not None and leaps(before, chosen)
            if torso is not None and (cut or leapt):
                torso.forget()
            if chosen is None:
                found_before = False
                nothing = np.full((COUNT, 3), np.nan, np.float32)
                yield Sight(index, nothing, False, cut=cut, people=len(faces))
                continue
            if keep is not None:
                keep(image, chosen.points)
            linked = found_before and not cut and not leapt
            found_before = True
            sight = Sight(
                index, chosen.points, linked, cut=cut or leapt, scores=chosen.scores, people=len(faces)
            )
            yield from beside.with_torso(sight, image, row % torso_every == 0 or not linked)
        yield from beside.done()
    finally:
        beside.close()
        seen.close()


def _detected(
    frames: Iterable[tuple[int, Image]],
    open_detector: Callable[[int], LandmarkDetector],
    count_faces: Callable[[Image], int],
    face: str,
    count: int,
) -> Generator[tuple[int, Image, bool, list[Face]], None, None]:
    """Every frame with its number, whether it begins a shot, and its faces."""
    cutter = Cutter()
    many = face.isdecimal() and int(face) > 1
    lanes = Lanes(open_detector, MOST_FACES if many else 1, count)
    under_way: deque[tuple[int, Image, bool, Future[list[Face]]]] = deque()

    def first() -> tuple[int, Image, bool, list[Face]]:
        index, image, cut, faces = under_way.popleft()
        return index, image, cut, faces.result()

    try:
        for row, (index, image) in enumerate(frames):
            cut = cutter.cut(image)
            if cut:
                lanes.reset()
            if not many and (cut or row % LOOK_AROUND == 0) and count_faces(image) > 1:
                many = True
                lanes.close()
                lanes = Lanes(open_detector, MOST_FACES, count)
            under_way.append((index, image, cut, lanes.submit(image)))
            while len(under_way) > lanes.waiting:
                yield first()
        while under_way:
            yield first()
    finally:
        lanes.close()


class _Beside:
    """Follows the torso of one frame while the face of the next is looked for; with ``waits`` false at once."""

    def __init__(self, torso: TorsoFollower | None, waits: bool) -> None:
        self._torso = torso
        self._pool = ThreadPoolExecutor(1, "torso") if waits and torso is not None else None
        self._waiting: tuple[Sight, Future[tuple[Float, float] | None]] | None = None

    def with_torso(self, sight: Sight, image: Image, wanted: bool = True) -> Iterator[Sight]:
        """``sight`` with the torso of its ``image`` where ``wanted``, unless it is left waiting for ``done``."""
        if self._torso is None or not wanted:
            yield sight
        elif self._pool is None:
            yield _with(sight, self._torso(image, sight.points))
        else:
            self._waiting = sight, self._pool.submit(self._torso, image, sight.points)

    def done(self) -> Iterator[Sight]:
        """The frame that was left waiting, if there is one."""
        if self._waiting is not None:
            sight, body = self._waiting
            self._waiting = None
            yield _with(sight, body.result())

    def close(self) -> None:
        """Wait for what is under way."""
        if self._pool is not None:
            self._pool.shutdown()


def _with(sight: Sight, body: tuple[Float, float] | None) -> Sight:
    return sight if body is None else replace(sight, torso=body[0], torso_share=body[1])


@dataclass
class Sightings:
    """What was seen of one person in T frames."""

    points: Float
    """[T, 478, 3] pixels, NaN where no face was found."""
    frame: list[int] = field(default_factory=list)
    scores: list[Float | None] = field(default_factory=list)
    torso: list[Float | None] = field(default_factory=list)
    """T x [2, 3] as of ``Sight.torso``."""
    torso_share: list[float] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    """rows (not frame numbers) that begin a new shot."""
    people: int = 1
    """most faces seen in one frame."""

    def linked(self) -> NDArray[np.bool_]:
        """[T] whether a row continues the one before: both hold a face and there is no cut between them."""
        found = np.array([not np.isnan(p).all() for p in self.points], bool)
        joined = found.copy()
        joined[1:] &= found[:-1]
        joined[:1] = False
        joined[self.cuts] = False
        return joined

    def shots(self) -> NDArray[np.int64]:
        """[T] the shot every row belongs to, counted from 0."""
        begins = np.zeros(len(self.frame), np.int64)
        begins[[row for row in self.cuts if row > 0]] = 1
        return np.cumsum(begins)


def gathered(seen: Iterable[Sight], expected: int, report: Callable[[int], None]) -> Sightings:
    """All that ``sights`` yields, about ``expected`` frames; ``report`` is called with the number of frames done."""
    whole = Sightings(np.empty((max(expected, 1), COUNT, 3), np.float32))
    for row, sight in enumerate(seen):
        if row == len(whole.points):
            more = np.empty((1 + row // 8, COUNT, 3), np.float32)
            whole.points = np.concatenate([whole.points, more])
        if sight.cut:
            whole.cuts.append(row)
        whole.people = max(whole.people, sight.people)
        whole.frame.append(sight.index)
        whole.points[row] = sight.points
        whole.scores.append(sight.scores)
        whole.torso.append(sight.torso)
        whole.torso_share.append(sight.torso_share)
        report(row + 1)
    whole.points = whole.points[: len(whole.frame)]
    return whole
