"""Tracking while the clip is read: blocks of a track come out as frames go in, and memory stays flat.

The person is learned from the clip's beginning. Then frames are solved in windows that overlap: what leaves a
window has a few frames before and behind it, so smoothing has no lag and blocks join without a seam. With
``live`` every frame leaves two frames after it came, smoothed by what lies before it and those two.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avatarkit import __version__, heads
from avatarkit.files import video
from avatarkit.files.errors import NoFaceError
from avatarkit.files.feed import Feed
from avatarkit.files.track import FORMAT_VERSION, Track
from avatarkit.heads import turns
from avatarkit.heads.landmarks import COUNT
from avatarkit.tracking import gaze, mandible, pose, solver, tracker
from avatarkit.tracking.basis import Basis
from avatarkit.tracking.camera import pixels_per_unit
from avatarkit.tracking.coefficients import Products
from avatarkit.tracking.crop import head_crop
from avatarkit.tracking.detectors import FaceCounter, LandmarkDetector, lanes, open_detector
from avatarkit.tracking.observed import Observations, observations
from avatarkit.tracking.options import FOCAL, TrackOptions
from avatarkit.tracking.sighting import AHEAD, Sight, sights
from avatarkit.tracking.solver import Motion, Settings
from avatarkit.tracking.steadying import steadied
from avatarkit.tracking.study import Lesson
from avatarkit.tracking.torso import SMOOTH, TorsoFollower
from avatarkit.tracking.torso import smoothed as torso_smoothed

Float = NDArray[np.float32]

CALIBRATION = 96
"""Frames at the clip's beginning in which the person and the neutral frame are looked for."""
LEARNED = 32
"""Of these, frames from which the person is learned."""
POSE_ROUNDS = 3
"""Rounds in which a person is learned whose expressions are not asked for."""
LIVE_DELAY = 2
TORSO_EVERY = 2
"""Frames of which one is looked at for the torso: what it does in between is smoothed away anyway."""
LEARNT = ("_head", "_person", "_products", "_jaws", "_middle", "_template", "_upright", "calibration")
"""Attributes of a stream that hold what was learned of the person."""
POSE_ONLY_ERROR = 9.0
"""``tracker.LARGEST_ERROR`` where expressions are not solved for and stay in the error."""


@dataclass(frozen=True)
class Pace:
    """How a window moves, in frames."""

    step: int = 48
    """frames that leave it at a time."""
    ahead: int = 8
    """frames behind those, already seen."""
    history: int = 8
    """frames before them, seen once more."""

    @classmethod
    def of(cls, live: bool) -> Pace:
        """One frame at a time where ``live``."""
        return cls(1, LIVE_DELAY, 8) if live else cls()


class TrackStream:
    """The track of ``source``, block by block. Use in a ``with`` statement, which reads the clip's beginning.

    ``calibration`` is the track of that beginning (with ``live``: of the first three frames that hold a face); its
    camera, person and head crop are those of all blocks. ``coefficients``: whether expressions are solved for;
    without them they are 0 in blocks, and landmarks and pose cost a tenth. ``torso``: whether the torso is followed,
    from the first frame with a face (``torso.based_on`` leads to another). Frames without a usable face are not valid.
    Raises NoFaceError where the beginning holds no usable face, AvatarkitError where the clip cannot be read.
    """

    def __init__(
        self,
        source: Path | Feed,
        options: TrackOptions | None = None,
        live: bool = False,
        coefficients: bool = True,
        torso: bool = False,
    ) -> None:
        self.options = options or TrackOptions()
        self._feed = source if isinstance(source, Feed) else None
        self.info = source.info if isinstance(source, Feed) else video.probe(source)
        self.live, self.coefficients, self.pace = live, coefficients, Pace.of(live)
        self.settings = Settings.of(self.options.smooth, self.options.refine and coefficients and not live)
        focal = self.options.focal or FOCAL * self.info.width
        self.intrinsics = np.array(
            [[focal, 0, self.info.width / 2], [0, focal, self.info.height / 2], [0, 0, 1]], np.float32
        )
        self._shrink = min(1.0, tracker.WIDEST / max(self.info.width, self.info.height))
        self._counter = FaceCounter()
        self._torso = TorsoFollower() if torso else None
        self._known: dict[int, tuple[Float, Float, Float]] = {}
        """Rotation, translation and expression of the last frames before smoothing, by frame number."""

    def __enter__(self) -> TrackStream:
        try:
            self._sights = self._opened()
            self._begun = self._beginning()
            self._learn()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *details: object) -> None:
        self._sights.close()
        self._counter.__exit__()

    def _opened(self) -> Generator[Sight, None, None]:
        options, info = self.options, self.info
        start = round(options.start * info.fps)
        end = None if options.end is None else round(options.end * info.fps)
        if end is not None and self._feed is None:
            end = min(end, info.frames)
        size = None
        if self._shrink < 1.0:
            size = (round(info.width * self._shrink), round(info.height * self._shrink))
        if self._feed is not None:
            frames = self._feed.frames(start, end, size)
        else:
            frames = video.read_frames(info.path, start, end, options.fps, size)

        def opened(most: int) -> LandmarkDetector:
            return open_detector(options.detector, options.landmarker, most, options.windows)

        grow = np.ones(3, np.float32)
        if size is not None:
            grow = np.array([info.width / size[0], info.height / size[1], info.width / size[0]], np.float32)
        seen = sights(
            islice(frames, options.max_frames),
            opened,
            self._counter.count,
            options.face,
            self._torso,
            torso_every=TORSO_EVERY,
            depth=AHEAD if self._feed is None else 0,
            lanes=lanes(options.detector, options.landmarker) if self._feed is None else 1,
        )
        try:
            for sight in seen:
                if size is not None:
                    moved = None if sight.torso is None else sight.torso * (1, 1, grow[0])
                    sight = replace(sight, points=sight.points * grow, torso=moved)  # noqa: PLW2901
                yield sight
        finally:
            seen.close()  # type: ignore[attr-defined]

    def _beginning(self) -> list[Sight]:
        """The sights from which the person is learned; more than CALIBRATION while none holds a face."""
        begun: list[Sight] = []
        found, wanted = 0, LIVE_DELAY + 1 if self.live else CALIBRATION
        for sight in self._sights:
            begun.append(sight)
            found += sight.found
            if found and (found if self.live else len(begun)) >= wanted:
                break
        if not found:
            raise NoFaceError(
                f"{self.info.path}: no face was found in {len(begun)} frames: give a clip that shows one"
            )
        return begun

    def _learn(self) -> None:
        head, info = heads.load(self.options.head), self.info
        template = Basis.of(head)
        seen = [s for s in self._begun if s.found]
        observed = self._observed(seen)
        # a head that is only posed needs less of a face
        settings = self.settings if self.coefficients else replace(self.settings, rounds=POSE_ROUNDS)
        person, motion = self._studied(Lesson(template, observed, settings, LEARNED))
        if person.distance_from(template) > tracker.LARGEST_OFFSET:
            raise NoFaceError(
                f"{info.path}: what was found is no human face: give a clip that shows a person's"
            )
        self._head, self._person = head, person
        self._jaws = mandible.jaw_rotations(head, np.eye(len(person.names), dtype=np.float32))
        neutral = head.vertices + head.extended(person.neutral - template.neutral)
        self._middle = head.joints_of(neutral)[2:4].mean(0)
        crop = self.options.crop or head_crop(np.stack([s.points for s in seen]), info.width, info.height)
        self._upright = np.eye(3)
        self._template = Track(
            meta={
                "format": FORMAT_VERSION,
                "tool": f"avatarkit {__version__}",
                "video": info.meta(),
                "head": {"name": head.name, "version": head.version, "hash": head.hash()},
                "conventions": tracker.CONVENTIONS,
                "options": self.options.meta(),
            },
            frame=np.zeros(0, np.int32),
            valid=np.zeros(0, np.bool_),
            intrinsics=self.intrinsics,
            rotation=np.zeros((0, 3, 3), np.float32),
            translation=np.zeros((0, 3), np.float32),
            expression=np.zeros((0, len(person.names)), np.float32),
            expression_names=person.names,
            neck=np.zeros((0, 3), np.float32),
            jaw=np.zeros((0, 3), np.float32),
            eyes=np.zeros((0, 2, 3), np.float32),
            neutral=(neutral - self._middle).astype(np.float32),
            landmarks=np.zeros((0, COUNT, 3), np.float32),
            residual=np.zeros(0, np.float32),
            crop=np.array([crop[0], crop[1], crop[2], crop[2]], np.int32),
        )
        self.calibration = self._track(self._begun, slice(None), lambda window: motion)
        if not self.calibration.valid.any():
            raise NoFaceError(
                f"{info.path}: what was found fits no head: give a clip that shows a person's face"
            )
        self._upright = _mean_rotation(self.calibration.rotation[self.calibration.valid])

    def _studied(self, lesson: Lesson) -> tuple[Basis, Motion]:
        """The person of a lesson, and their motion."""
        return lesson.learned()

    def blocks(self) -> Iterator[Track]:
        """The track from its first frame on, in order; each frame once."""
        pace = self.pace
        solve = self._followed if self.live else self._solved
        waiting: deque[Sight] = deque()
        history = 0
        for sight in chain(self._begun, self._sights):
            waiting.append(sight)
            if len(waiting) < history + pace.step + pace.ahead:
                continue
            yield self._track(list(waiting), slice(history, history + pace.step), solve)
            history += pace.step
            while history > pace.history:
                waiting.popleft()
                history -= 1
        if len(waiting) > history:
            yield self._track(list(waiting), slice(history, None), solve)

    def _observed(self, seen: list[Sight]) -> Observations:
        linked = np.array([s.linked for s in seen], bool)
        return observations(np.stack([s.points for s in seen]), self.intrinsics, linked)

    def _solved_fully(self, seen: list[Sight]) -> Motion:
        """Pose, expression and gaze of a window, smoothed."""
        return solver.solve_motion(self._person, self._observed(seen), self.settings, lambda share: None)

    def _solved(self, seen: list[Sight]) -> Motion:
        """The same, without coefficients where none are asked for."""
        if self.coefficients:
            return self._solved_fully(seen)
        observed = self._observed(seen)
        return self._smoothed(observed, solver.first_motion(self._person, observed))

    @cached_property
    def _products(self) -> Products:
        return Products(self._person.shapes)

    def _followed(self, seen: list[Sight]) -> Motion:
        """The same for a window of which all but the last frames were solved a moment ago."""
        observed, known = self._observed(seen), self._known
        fresh = [i for i, s in enumerate(seen) if s.index not in known]
        if fresh:
            begun = solver.first_motion(self._person, observed.part(np.array(fresh, np.int64)))
            last = next((known[s.index][2] for s in reversed(seen) if s.index in known), begun.expression[0])
            for j, i in enumerate(fresh):
                known[seen[i].index] = (begun.rotation[j], begun.translation[j], last)
        rotation, translation, w = (
            np.stack(part) for part in zip(*(known[s.index] for s in seen), strict=True)
        )
        motion = Motion(rotation, translation, w)
        if self.coefficients:
            prior = solver.prior_of(self._person, self.settings)
            first = len(fresh) == len(seen)
            for step in range(6 if first else 2):
                sigma = max(self.settings.sigma, solver.WIDE * 0.5**step) if first else self.settings.sigma
                motion, _ = solver.alternate(self._person, self._products, observed, motion, prior, sigma)
        self._known = {
            s.index: (motion.rotation[i], motion.translation[i], motion.expression[i])
            for i, s in enumerate(seen)
        }
        return self._smoothed(observed, motion)

    def _smoothed(self, observed: Observations, motion: Motion) -> Motion:
        person, settings = self._person, self.settings
        rotation, translation = pose.smoothed(
            motion.rotation, motion.translation, observed.linked, person.unit, settings.pose_smooth
        )
        looking = gaze.angles(observed.iris, person.eyes, person.eye_radius, rotation, translation)
        looking = gaze.smoothed(looking, observed.open_eyes, observed.linked, settings.gaze_smooth)
        expression = motion.expression
        if not self.coefficients:
            expression = gaze.coefficients(looking, person.names, expression)
        motion = replace(
            motion, rotation=rotation, translation=translation, expression=expression, gaze=looking
        )
        return replace(motion, error=solver.errors(person, observed, motion))

    def _track(self, window: list[Sight], part: slice, solve: object) -> Track:
        """The rows ``part`` of a window as a track."""
        count = len(window)
        rows = np.array([i for i, s in enumerate(window) if s.found], np.int64)
        points = np.stack([s.points for s in window])

        def full(values: NDArray[np.floating]) -> Float:
            spread = np.full((count, *values.shape[1:]), np.nan, np.float32)
            spread[rows] = values
            return spread[part]

        result = replace(
            self._template,
            frame=np.array([s.index for s in window], np.int32)[part],
            valid=np.zeros(count, np.bool_)[part],
        )
        if not len(rows):
            length = len(result.frame)
            for name in (
                "rotation",
                "translation",
                "expression",
                "neck",
                "jaw",
                "eyes",
                "landmarks",
                "residual",
            ):
                shape = getattr(self._template, name).shape[1:]
                setattr(result, name, np.full((length, *shape), np.nan, np.float32))
            return result
        seen = [window[i] for i in rows]
        motion: Motion = solve(seen)  # type: ignore[operator]
        person = self._person
        assert motion.gaze is not None
        error = np.array([np.nanmedian(each) for each in motion.error])  # along an axis it is slow
        most = tracker.LARGEST_ERROR if self.coefficients else POSE_ONLY_ERROR
        good = (error <= most) & np.isfinite(motion.rotation).all((1, 2))
        valid = np.zeros(count, np.bool_)
        valid[rows] = good
        points[rows] = self._steadied(seen, motion)
        to_pixels = pixels_per_unit(motion.translation, float(self.intrinsics[0, 0]), person.unit)
        result.valid = valid[part]
        result.rotation = full(motion.rotation)
        result.translation = full(motion.translation + motion.rotation @ self._middle)
        result.expression = full(motion.expression)
        result.neck = full(_turns(motion.rotation, self._upright))
        result.jaw = full(motion.expression @ self._jaws)
        result.eyes = full(gaze.rotations(motion.gaze))
        result.landmarks = points[part]
        result.residual = full(error * to_pixels)
        if self._torso is not None:
            result.torso, result.torso_confidence = (values[part] for values in _torso_of(window))
        return result

    def _steadied(self, seen: list[Sight], motion: Motion) -> Float:
        """Landmarks freed of jitter: one step from the smoothed pose leads back to the pose as it was seen."""
        points = np.stack([s.points for s in seen])
        if self.options.smooth <= 0:
            return points
        linked = np.array([s.linked for s in seen], bool)
        observed, person = self._observed(seen), self._person
        raw = pose.refine(
            person.moved(motion.expression), motion.rotation, motion.translation, observed.plane(),
            person.stability, person.unit, self.settings.sigma, 1, observed.depth(),
        )  # fmt: skip
        return steadied(points, self.intrinsics, raw, (motion.rotation, motion.translation), linked)


def _torso_of(window: list[Sight]) -> tuple[Float, Float]:
    """([N, 2, 3] the torso's motion, NaN where it is not seen, [N] how much it is to be believed)."""
    unknown = np.full((2, 3), np.nan, np.float32)
    motion = np.stack([unknown if s.torso is None else s.torso for s in window])
    share = np.array([s.torso_share for s in window], np.float32)
    linked = np.array([s.linked for s in window], bool)
    return torso_smoothed(motion, share, linked, SMOOTH), share


def _mean_rotation(rotation: Float) -> NDArray[np.float64]:
    from scipy.spatial.transform import Rotation

    mean: NDArray[np.float64] = Rotation.from_matrix(rotation.astype(np.float64)).mean().as_matrix()
    return mean


def _turns(rotation: Float, upright: NDArray[np.float64]) -> Float:
    """Axis-angle [N, 3] of the head against a torso that keeps the direction ``upright``, head axes."""
    return np.stack([turns.vector_of(upright.T @ each) for each in rotation]).astype(np.float32)
