"""The torso's motion against motions that pictures were moved by."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from avatarkit.files.track import load_track, save_track
from avatarkit.tracking import TrackOptions, track
from avatarkit.tracking.detectors import Face
from avatarkit.tracking.sighting import sights
from avatarkit.tracking.torso import TorsoFollower, based_on, from_neutral, smoothed

SIZE = 640


def similarity(angle: float, size: float, shift: tuple[float, float]) -> np.ndarray:
    """[2, 3] turn by ``angle`` degrees and scaling about the picture's middle, then ``shift`` pixels."""
    c, s = size * np.cos(np.radians(angle)), size * np.sin(np.radians(angle))
    linear = np.array([[c, -s], [s, c]])
    middle = np.array([SIZE / 2, SIZE / 2])
    return np.concatenate([linear, (middle + shift - linear @ middle)[:, None]], 1)


def cloth(seed: int = 0) -> np.ndarray:
    """[SIZE, SIZE, 3] a picture with something to hold on to everywhere."""
    random = np.random.default_rng(seed)
    rough = sum(
        cv2.resize(random.normal(size=(n, n)), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
        for n in (20, 40, 80)
    )
    grey = np.clip(128 + 30 * rough, 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, 2)


def moved(image: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """``image`` with its content moved; pixel centers at integer + 0.5."""
    shifted = motion.copy()
    shifted[:, 2] += motion[:, :2] @ (0.5, 0.5) - 0.5
    return cv2.warpAffine(image, shifted, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def face() -> np.ndarray:
    """[478, 3] landmarks whose chin is above the picture's middle."""
    points = np.zeros((478, 3), np.float32)
    points[:, :2] = (SIZE / 2, 150)
    points[10, :2], points[152, :2] = (SIZE / 2, 60), (SIZE / 2, 240)
    points[234, :2], points[454, :2] = (SIZE / 2 - 70, 150), (SIZE / 2 + 70, 150)
    return points


def error(found: np.ndarray, truth: np.ndarray) -> float:
    """Largest distance in pixels of the two motions over the lower half of the picture."""
    corners = np.array([[150, 300], [490, 300], [490, 600], [150, 600]], float)
    apart = (corners @ found[:, :2].T + found[:, 2]) - (corners @ truth[:, :2].T + truth[:, 2])
    return float(np.linalg.norm(apart, axis=1).max())


def test_follows_turn_size_and_place_of_a_moved_picture() -> None:
    follower, image = TorsoFollower(), cloth()
    for t in range(20):
        truth = similarity(
            6 * np.sin(t / 4), 1 + 0.05 * np.sin(t / 5), (18 * np.sin(t / 3), 9 * np.sin(t / 6))
        )
        start = similarity(0, 1, (0, 0)) if t == 0 else truth
        found = follower(moved(image, start), face())
        assert found is not None
        assert error(found[0], start) < 0.7
        assert found[1] > 0.6


def test_what_cannot_be_followed_is_not_made_up() -> None:
    blank = np.full((SIZE, SIZE, 3), 90, np.uint8)
    assert TorsoFollower()(blank, face()) is None
    follower = TorsoFollower()
    assert follower(cloth(0), face()) is not None
    assert follower(cloth(1), face()) is None  # another picture altogether
    follower.forget()
    found = follower(cloth(1), face())
    assert found is not None and error(found[0], similarity(0, 1, (0, 0))) < 0.1


def motions(count: int) -> np.ndarray:
    """[count, 2, 3] a smooth swaying."""
    return np.stack([similarity(3 * np.sin(t / 9), 1, (10 * np.sin(t / 7), 4.0)) for t in range(count)])


def test_gaps_are_bridged_with_the_neck_and_without_a_jump() -> None:
    true = motions(60)
    place = np.array([SIZE / 2, 300.0])
    neck = true[..., :2] @ place + true[..., 2]
    known, share = true.astype(np.float32), np.full(60, 0.8, np.float32)
    known[20:30] = np.nan
    linked = np.arange(60) > 0
    result, confidence = from_neutral(known, share, neck, linked, np.zeros(60, int), 5, smooth=0.0)
    assert np.isfinite(result).all()
    assert (confidence[20:30] == 0).all() and (confidence[[19, 30]] > 0.7).all()
    expected = np.stack([based_on(m, true[5]) for m in true])
    assert max(error(a, b) for a, b in zip(result[:20], expected[:20], strict=True)) < 0.01
    assert max(error(a, b) for a, b in zip(result[20:30], expected[20:30], strict=True)) < 4
    steps = np.linalg.norm(np.diff(result[..., :2] @ place + result[..., 2], axis=0), axis=1)
    assert steps.max() < 2.5


def test_nothing_known_leaves_a_share_of_the_neck() -> None:
    neck = np.stack([np.linspace(300, 340, 9), np.full(9, 200.0)], 1)
    unknown = np.full((9, 2, 3), np.nan, np.float32)
    result, confidence = from_neutral(
        unknown, np.zeros(9, np.float32), neck, np.arange(9) > 0, np.zeros(9, int), 0
    )
    np.testing.assert_allclose(result[:, 0, 2], 0.6 * (neck[:, 0] - 300), atol=1e-4)
    np.testing.assert_allclose(result[..., :2], np.tile(np.eye(2), (9, 1, 1)))
    assert not confidence.any()


def test_another_shot_is_joined_by_the_neck() -> None:
    true = motions(40)
    neck = np.tile([[320.0, 300.0]], (40, 1))
    neck[20:] += (50, 0)
    shots, linked = np.repeat([0, 1], 20), np.arange(40) % 20 > 0
    known = np.stack([based_on(m, true[t // 20 * 20]) for t, m in enumerate(true)])
    result, _ = from_neutral(known, np.ones(40, np.float32), neck, linked, shots, 3, smooth=0.0)
    np.testing.assert_allclose(result[3], np.eye(2, 3), atol=1e-4)
    # the second shot starts where the neck says and then moves as it was followed
    assert abs(float((result[20, :, :2] @ neck[3] + result[20, :, 2] - neck[3])[0]) - 30) < 1e-2
    assert error(based_on(result[35], result[20]), based_on(true[35], true[20])) < 30


def test_smoothing_stays_within_shots() -> None:
    steps = np.tile(np.eye(2, 3, dtype=np.float32), (20, 1, 1))
    steps[10:, 0, 2] = 100
    linked = np.arange(20) > 0
    linked[10] = False
    calm = smoothed(steps, np.ones(20, np.float32), linked, 1.2)
    np.testing.assert_allclose(calm, steps, atol=1e-4)


def test_a_clip_has_its_torso_and_components(clip, tmp_path) -> None:
    result = track(clip("person01"), TrackOptions(max_frames=80, photometric=False))
    assert result.torso is not None and result.torso.shape == (80, 2, 3)
    row = int(np.flatnonzero(result.frame == result.meta["torso_neutral"])[0])
    np.testing.assert_allclose(result.torso[row], np.eye(2, 3), atol=1e-3)
    assert result.torso_confidence is not None and np.median(result.torso_confidence) > 0.5
    assert result.extra is not None and result.extra.shape == (80, len(result.extra_names))
    deviation = result.extra.std(0)
    assert deviation[0] == pytest.approx(1.0, abs=0.02) and (np.diff(deviation) < 0.05).all()
    save_track(result, tmp_path / "a.npz")
    again = load_track(tmp_path / "a.npz")
    assert np.array_equal(again.torso, result.torso) and again.extra_names == result.extra_names
    again.extra, again.extra_names, again.torso, again.torso_confidence = None, (), None, None
    save_track(again, tmp_path / "b.npz")
    assert load_track(tmp_path / "b.npz").extra is None


def test_between_two_looks_the_torso_is_what_they_say() -> None:
    start, points = cloth(), face()
    motions = [similarity(0.5 * t, 1.0, (2.0 * t, -1.0 * t)) for t in range(7)]
    pictures = list(enumerate(moved(start, motion) for motion in motions))

    class Still:
        name = "still"

        def detect(self, image: np.ndarray) -> list[Face]:
            return [Face(points)]

        def reset(self) -> None: ...

        def close(self) -> None: ...

    seen = list(sights(pictures, lambda most: Still(), lambda image: 1, torso=TorsoFollower(), torso_every=2))
    assert [s.index for s in seen] == list(range(7))
    assert [s.torso is not None for s in seen] == [t % 2 == 0 for t in range(7)]
    known = np.stack([np.full((2, 3), np.nan) if s.torso is None else s.torso for s in seen]).astype(
        np.float32
    )
    share = np.array([s.torso_share for s in seen], np.float32)
    filled = smoothed(known, share, np.arange(7) > 0, 1.2)
    assert error(filled[3], motions[3]) < 1.5
