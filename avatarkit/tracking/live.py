"""Tracking a stream that cannot wait: every frame leaves before the next one comes, known by what lies before it."""

from __future__ import annotations

import copy
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import chain

import numpy as np

from avatarkit.files.errors import NoFaceError
from avatarkit.files.feed import Feed
from avatarkit.files.track import Track
from avatarkit.heads.lifting import lifted, projected
from avatarkit.tracking import gaze, pose, solver
from avatarkit.tracking.basis import Basis
from avatarkit.tracking.observed import Observations, observations
from avatarkit.tracking.one_euro import OneEuro, PoseFilter
from avatarkit.tracking.options import TrackOptions
from avatarkit.tracking.sighting import Sight
from avatarkit.tracking.solver import Motion
from avatarkit.tracking.stream import LEARNT, Float, TrackStream
from avatarkit.tracking.study import Lesson, Tutor

LEARN_AFTER = 48
"""Frames with a face after which the person is learned once more, from all of them."""
RECENT = 24
"""Frames that tell how wide this person's eyes open."""
THINNED = 2
"""One of how many of them is learned from: frames go on coming meanwhile."""
ROUNDS, FIRST_ROUNDS = 1, 6
"""Alternations of pose and expression a frame; more where there is no frame before it."""
POSE_STEPS = 2
"""Gauss-Newton steps a frame where only the pose is wanted."""
EXPRESSION_FILTER = (4.0, 300.0)
"""``OneEuro`` of landmarks in head space: hertz, hertz per meter a second."""
GAZE_FILTER = (1.5, 0.05)
"""The same of gaze, in degrees."""


class _Unlearned(Exception):
    """The person was not learned again."""


class LiveStream(TrackStream):
    """The track of a ``feed`` frame by frame: blocks have one row.

    The person and the neutral frame are those of the first frames with a face, until ``LEARN_AFTER`` frames have been
    seen; then another process learns both again from those, and ``calibration`` is another track from the
    next frame on.
    """

    def __init__(self, feed: Feed, options: TrackOptions, coefficients: bool, torso: bool) -> None:
        super().__init__(feed, options, True, coefficients, torso)
        rate, strength = self.info.fps, self.options.smooth
        self._pose_filter = PoseFilter(rate, strength)
        self._point_filter = OneEuro(rate, *EXPRESSION_FILTER)
        self._gaze_filter = OneEuro(rate, *GAZE_FILTER)
        self._recent: deque[Float] = deque(maxlen=RECENT)
        self._last: tuple[int, Motion] | None = None
        self._lot: list[Sight] = []
        self.spotted = 0.0
        """seconds of ``time.perf_counter`` at which the landmarks of the last frame were known"""
        self._tutor = Tutor()
        self._learning: threading.Thread | None = None
        self._learned: LiveStream | None = None

    def blocks(self) -> Iterator[Track]:
        """One row for every frame that was taken from the feed, in order."""
        self._lot = self._begun[:-1]
        # what came while the person was learned is old news
        begun = self._begun[-1:] if self._feed and self._feed.newest else self._begun
        for sight in chain(begun, self._sights):
            self.spotted = time.perf_counter()
            if not sight.linked:
                self._forget()
            yield self._track([sight], slice(None), self._followed)
            self._learn_again(sight)

    def _forget(self) -> None:
        self._last = None
        for part in (self._pose_filter, self._point_filter, self._gaze_filter):
            part.forget()

    def _followed(self, seen: list[Sight]) -> Motion:
        """Pose, expression and gaze of one frame, from where the frame before had them."""
        points = seen[0].points[None]
        self._recent.append(gaze.apertures(points)[0])
        open_eyes = gaze.openness(np.stack(self._recent))[-1:]
        observed = observations(points, self.intrinsics, np.zeros(1, bool), open_eyes)
        person, settings = self._person, self.settings
        steps, before = 1, None
        if self._last is None:
            motion, rounds, sigma = solver.first_motion(person, observed), FIRST_ROUNDS, solver.WIDE
        else:
            steps, motion = seen[0].index - self._last[0], self._last[1]
            rounds, sigma, before = ROUNDS, settings.sigma, motion.expression[-1]
        if self.coefficients:
            prior = solver.prior_of(person, settings)
            for _ in range(rounds):
                motion, _ = solver.alternate(
                    person, self._products, observed, motion, prior, sigma, before=before
                )
                sigma = max(settings.sigma, sigma / 2)
        else:
            rotation, translation = pose.refine(
                person.moved(motion.expression), motion.rotation, motion.translation,
                observed.plane(), person.stability, person.unit, 8.0, POSE_STEPS, observed.depth(),
            )  # fmt: skip
            motion = Motion(rotation, translation, motion.expression)
        self._last = seen[0].index, motion
        return self._calmed(observed, motion, steps)

    def _calmed(self, observed: Observations, motion: Motion, steps: int) -> Motion:
        """``motion`` of one frame through the filters."""
        person = self._person
        rotation, translation = motion.rotation, motion.translation
        if self.options.smooth > 0:
            rotation, translation = (
                part[None] for part in self._pose_filter(rotation[0], translation[0], steps)
            )
        looking = gaze.angles(observed.iris, person.eyes, person.eye_radius, rotation, translation)
        if self._gaze_filter.last is not None:  # closed eyes look where they did
            looking = looking + (1 - observed.open_eyes) * (self._gaze_filter.last - looking)
        looking = self._gaze_filter(looking, steps).astype(np.float32)
        expression = motion.expression
        if not self.coefficients:
            expression = gaze.coefficients(looking, person.names, expression)
        calm = Motion(rotation, translation, expression, looking)
        self._steps = steps
        return replace(calm, error=solver.errors(person, observed, calm))

    def _steadied(self, seen: list[Sight], motion: Motion) -> Float:
        """Landmarks of one frame with the jitter of their pose and of the face's own motion taken out."""
        if (
            self.options.smooth <= 0 or self._last is None or len(seen) > 1
        ):  # or the beginning, solved at once
            return super()._steadied(seen, motion)
        raw = self._last[1]
        points = np.stack([s.points for s in seen])
        local = lifted(points, self.intrinsics, raw.rotation, raw.translation)
        local = self._point_filter(local, self._steps).astype(np.float32)
        return projected(local, self.intrinsics, motion.rotation, motion.translation)

    def _learn_again(self, sight: Sight) -> None:
        """Gather what the person is learned from, and take over what was learned meanwhile."""
        if self._learned is not None:
            for name in LEARNT:
                setattr(self, name, getattr(self._learned, name))
            self._learned = None
        if self._learning is not None or not sight.found:
            return
        self._lot.append(sight)
        if len(self._lot) >= LEARN_AFTER:
            self._learning = threading.Thread(target=self._study, daemon=True, name="learn")
            self._learning.start()

    def _study(self) -> None:
        pupil = copy.copy(self)
        pupil._begun = self._lot[::THINNED]
        with suppress(_Unlearned, NoFaceError):  # what is known of the person has to do
            pupil._learn()
            self._learned = pupil

    def _studied(self, lesson: Lesson) -> tuple[Basis, Motion]:
        """See ``TrackStream``; here while nobody waits for frames, then in another process."""
        if self._learning is None:
            return lesson.learned()
        found = self._tutor.learned(lesson)
        if found is None:
            raise _Unlearned
        return found

    def __exit__(self, *details: object) -> None:
        self._tutor.stop()
        super().__exit__(*details)
