"""Causal tracking: against the truth, with a person learned twice, and the filter that knows no future."""

from __future__ import annotations

import io
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import replace

import numpy as np
import pytest

from avatarkit.files.feed import Feed
from avatarkit.files.track import Track
from avatarkit.tracking import solver
from avatarkit.tracking.coefficients import Prior, descend
from avatarkit.tracking.live import LEARN_AFTER, LiveStream
from avatarkit.tracking.one_euro import OneEuro
from avatarkit.tracking.options import TrackOptions
from avatarkit.tracking.sighting import Sight
from avatarkit.tracking.study import Lesson, Tutor
from tests.tracking import synthetic


class Seen(LiveStream):
    """Sees given landmarks instead of looking for them."""

    given: np.ndarray

    def _opened(self) -> Generator[Sight, None, None]:
        for i, points in enumerate(self.given):
            yield Sight(i, points, i > 0)

    def followed(self) -> Iterator[Track]:
        """Blocks, each once the person that was to be learned is learned."""
        for block in self.blocks():
            if self._learning is not None:
                self._learning.join()
            yield block


@pytest.fixture(scope="module")
def feed() -> Iterator[Feed]:
    """Of the size that synthetic landmarks are made for; one black frame."""
    side = synthetic.SIZE
    with tempfile.TemporaryFile() as black:
        black.write(bytes(side * side * 3))
        black.seek(0)
        with Feed(
            (side, side), 25.0, False, io.BufferedReader(io.FileIO(black.fileno(), closefd=False))
        ) as feed:
            yield feed


def test_a_stream_is_followed_and_its_person_learned_again(feed: Feed) -> None:
    truth = synthetic.make(90)
    stream = Seen(feed, TrackOptions(refine=False), True, False)
    stream.given = truth.points
    with stream:
        first, blocks, calibrations = stream.calibration, list(stream.followed()), stream.calibration
    assert [int(b.frame[0]) for b in blocks] == list(range(90)) and all(b.valid.all() for b in blocks)
    assert calibrations is not first and len(first) == 3 and len(calibrations) >= LEARN_AFTER // 2
    found = np.concatenate([b.expression for b in blocks])
    for name, least in (("jawOpen", 0.99), ("eyeBlinkLeft", 0.95), ("mouthSmileLeft", 0.97)):
        j = truth.template.names.index(name)
        assert np.corrcoef(found[:, j], truth.expression[: len(found), j])[0, 1] > least, name


def test_another_process_learns_the_same_person_unless_it_is_stopped() -> None:
    truth = synthetic.make(8)
    lesson = Lesson(truth.template, truth.seen, solver.Settings(refine=False, rounds=1), 4)
    person, motion = lesson.learned()
    tutor = Tutor()
    found = tutor.learned(lesson)
    assert found is not None and found[0].names == person.names
    np.testing.assert_allclose(found[0].neutral, person.neutral, atol=1e-6)
    np.testing.assert_allclose(found[1].expression, motion.expression, atol=1e-3)
    slow = replace(lesson, settings=replace(lesson.settings, rounds=10**6))
    learning = threading.Thread(target=lambda: told.append(tutor.learned(slow)))
    told: list[object] = []
    before = tutor._process
    learning.start()
    while tutor._process is before:
        time.sleep(0.01)
    tutor.stop()
    learning.join()
    assert told == [None] and tutor.learned(slow) is None  # nor is anything begun later


def test_nothing_of_the_future_is_known(feed: Feed) -> None:
    points = synthetic.make(30).points
    kept = []
    for given in (points, np.concatenate([points[:20], points[20:] + 5.0])):
        stream = Seen(feed, TrackOptions(refine=False), False, False)
        stream.given = given
        with stream:
            kept.append(np.concatenate([b.landmarks for b in stream.followed()]))
    np.testing.assert_array_equal(kept[0][:20], kept[1][:20])
    assert np.abs(kept[0][20:] - kept[1][20:]).max() > 1.0


def test_one_frame_descends_where_many_do() -> None:
    random = np.random.default_rng(3)
    root = random.normal(size=(12, 30)).astype(np.float32)
    normal = np.repeat((root @ root.T)[..., None], 2, 2)
    gradient = np.repeat(random.normal(0, 40, (12, 1)).astype(np.float32), 2, 1)
    w = np.full((12, 2), 0.2, np.float32)
    prior = Prior(np.full(12, 2, np.float32), np.full(12, 3, np.float32), 0.0, 0.04, np.arange(12) < 11)
    link = np.zeros(2, np.float32)
    many = descend(normal, gradient, w, w, w, (link, link), prior, 200)
    one = descend(
        normal[..., :1], gradient[:, :1], w[:, :1], w[:, :1], w[:, :1], (link[:1], link[:1]), prior, 200
    )
    np.testing.assert_allclose(one[:, 0], many[:, 0], atol=2e-3)
    assert one[11, 0] == np.float32(0.2)


def test_one_euro() -> None:
    random = np.random.default_rng(0)
    still = OneEuro(25.0, 1.0, 0.0)
    noise = random.normal(size=(400, 3))
    assert np.std([still(v) for v in noise][50:]) < 0.4
    quick = OneEuro(25.0, 1.0, 10.0)
    ramp = np.linspace(0, 50, 50)[:, None]
    assert abs(float([quick(v) for v in ramp][-1][0]) - 50) < 0.5
