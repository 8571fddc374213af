"""Tracking while a clip is read: against the whole clip's solution, against the truth, and against the clock."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from avatarkit.files.errors import NoFaceError
from avatarkit.files.track import Track
from avatarkit.files.video import VideoWriter
from avatarkit.heads.lifting import lifted, projected
from avatarkit.tracking import solver, stream
from avatarkit.tracking.options import TrackOptions
from avatarkit.tracking.sighting import Sight, sights
from avatarkit.tracking.steadying import steadied
from avatarkit.tracking.stream import CALIBRATION, LIVE_DELAY, TrackStream
from tests.tracking import synthetic


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of the size that synthetic landmarks are made for; what is seen in it is made up."""
    path = tmp_path_factory.mktemp("clips") / "blank.mp4"
    with VideoWriter(path, synthetic.SIZE, synthetic.SIZE, 25.0, synthetic=False) as writer:
        writer.write(np.zeros((synthetic.SIZE, synthetic.SIZE, 3), np.uint8))
    return path


@pytest.fixture(scope="module")
def truth() -> synthetic.Truth:
    return synthetic.make(170)


class Seen(TrackStream):
    """A stream that sees given landmarks instead of looking for them, and counts how many it asked for."""

    def __init__(self, source: Path, points: np.ndarray, **options: object) -> None:
        super().__init__(source, TrackOptions(refine=False), **options)  # type: ignore[arg-type]
        self.given, self.asked = points, 0

    def _opened(self) -> Generator[Sight, None, None]:
        found = np.isfinite(self.given[:, 0, 0])
        for i, points in enumerate(self.given):
            self.asked += 1
            yield Sight(i, points, bool(i and found[i] and found[i - 1]))


def joined(blocks: list[Track], name: str) -> np.ndarray:
    return np.concatenate([getattr(block, name) for block in blocks])


def turn_error(rotation: np.ndarray, truth: synthetic.Truth) -> float:
    """Median error in degrees of the turn since the clip's mean pose: the mean itself is the person's gauge."""
    found, known = (Rotation.from_matrix(r) for r in (rotation, truth.rotation[: len(rotation)]))
    away = (found * found.mean().inv()) * (known * known.mean().inv()).inv()
    return float(np.median(np.degrees(away.magnitude())))


def test_blocks_join_into_what_the_whole_clip_gives(blank: Path, truth: synthetic.Truth) -> None:
    with Seen(blank, truth.points) as tracker:
        assert tracker.asked == CALIBRATION == len(tracker.calibration)
        blocks = list(tracker.blocks())
        whole = solver.solve_motion(tracker._person, truth.seen, tracker.settings, lambda share: None)
    np.testing.assert_array_equal(joined(blocks, "frame"), np.arange(170))
    assert len(blocks) == 4 and joined(blocks, "valid").all()
    away = Rotation.from_matrix(joined(blocks, "rotation")) * Rotation.from_matrix(whole.rotation).inv()
    assert np.degrees(away.magnitude()).max() < 0.15
    assert np.abs(joined(blocks, "expression") - whole.expression).max() < 0.06
    assert turn_error(joined(blocks, "rotation"), truth) < 0.8
    jaw = truth.template.names.index("jawOpen")
    assert np.corrcoef(joined(blocks, "expression")[:, jaw], truth.expression[:, jaw])[0, 1] > 0.95


def test_only_what_a_block_needs_is_read_before_it(blank: Path, truth: synthetic.Truth) -> None:
    with Seen(blank, truth.points, coefficients=False) as tracker:
        blocks = tracker.blocks()
        assert len(next(blocks)) == 48 and tracker.asked == CALIBRATION
        next(blocks)
        next(blocks)
        assert tracker.asked == 3 * 48 + 8


def test_live_frames_wait_for_two_more_and_know_nothing_later(blank: Path, truth: synthetic.Truth) -> None:
    other = truth.points[:60].copy()
    other[40:] += 7.0
    kept = []
    for points in (truth.points[:60], other):
        with Seen(blank, points, live=True, coefficients=False) as tracker:
            frames = []
            for block in tracker.blocks():
                assert len(block) in (1, LIVE_DELAY)
                assert tracker.asked <= int(block.frame[0]) + 1 + LIVE_DELAY
                frames.append(block)
            kept.append(frames)
    first, second = (joined(frames, "landmarks") for frames in kept)
    assert len(first) == 60
    np.testing.assert_array_equal(first[:38], second[:38])
    assert np.abs(first[38:] - second[38:]).max() > 1.0
    assert turn_error(joined(kept[0], "rotation"), truth) < 1.5


def test_live_coefficients_follow_the_truth(blank: Path, truth: synthetic.Truth) -> None:
    with Seen(blank, truth.points[:70], live=True) as tracker:
        blocks = list(tracker.blocks())
    jaw = truth.template.names.index("jawOpen")
    found = joined(blocks, "expression")[:, jaw]
    assert np.corrcoef(found, truth.expression[:70, jaw])[0, 1] > 0.9


def test_frames_without_a_face_are_not_valid(blank: Path, truth: synthetic.Truth) -> None:
    points = truth.points[:130].copy()
    points[20:25] = points[100:] = np.nan
    with Seen(blank, points, coefficients=False) as tracker:
        blocks = list(tracker.blocks())
    valid = joined(blocks, "valid")
    np.testing.assert_array_equal(np.flatnonzero(~valid), [*range(20, 25), *range(100, 130)])
    assert np.isnan(joined(blocks, "rotation")[22]).all() and joined(blocks, "landmarks").shape == (
        130,
        478,
        3,
    )


def test_no_face_at_all_is_told(blank: Path) -> None:
    with pytest.raises(NoFaceError, match="no face was found in 12 frames"):
        Seen(blank, np.full((12, 478, 3), np.nan, np.float32)).__enter__()


def test_a_clip_is_seen_frame_by_frame(moving_clip: Path) -> None:
    """No face in it, but every frame is looked at, in order, and the detector is closed."""
    from avatarkit.files.video import read_frames

    class Blind:
        name, closed = "blind", False

        def detect(self, image: np.ndarray) -> list[object]:
            return []

        def reset(self) -> None: ...

        def close(self) -> None:
            self.closed = True

    blind = Blind()
    seen = list(sights(read_frames(moving_clip), lambda most: blind, lambda image: 0))  # type: ignore[arg-type, return-value]
    assert [s.index for s in seen] == list(range(24)) and not any(s.found or s.linked for s in seen)
    assert blind.closed


def test_lifting_and_projecting_are_inverse(truth: synthetic.Truth) -> None:
    pose = truth.rotation[:9].astype(np.float32), truth.translation[:9].astype(np.float32)
    local = lifted(truth.points[:9], synthetic.INTRINSICS, *pose)
    np.testing.assert_allclose(projected(local, synthetic.INTRINSICS, *pose), truth.points[:9], atol=0.01)
    # in its own space the face hardly moves: what is left is its expression
    assert np.linalg.norm(local[:, 6] - local[0, 6], axis=-1).max() < 0.004


def test_steadying_takes_out_the_jitter_of_the_pose(truth: synthetic.Truth) -> None:
    random = np.random.default_rng(1)
    shake = random.normal(0, 1.0, (170, 1, 2)).astype(np.float32)
    points = truth.points.copy()
    points[..., :2] += shake
    smooth = truth.rotation.astype(np.float32), truth.translation.astype(np.float32)
    raw_translation = smooth[1].copy()
    raw_translation[:, :2] += shake[:, 0] * smooth[1][:, 2:] / synthetic.FOCAL
    linked = np.ones(170, bool)
    still = steadied(points, synthetic.INTRINSICS, (smooth[0], raw_translation), smooth, linked)

    def jitter(values: np.ndarray) -> float:
        return float(np.abs(np.diff(values[:, 6, :2], 2, axis=0)).mean())

    assert jitter(still) < 0.35 * jitter(points)
    assert stream.POSE_ONLY_ERROR > 5.0
