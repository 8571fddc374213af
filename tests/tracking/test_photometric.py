"""Alignment to the picture: known shifts of one photo, and steadier poses on a clip."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from avatarkit import heads
from avatarkit.files.images import read_image
from avatarkit.tracking import TrackOptions, photometric, track
from avatarkit.tracking.pictures import SIZE, HeadPictures
from avatarkit.tracking.pose import with_average_of


def test_shifts_of_a_photo_are_found(clip):
    import cv2

    still = track(clip("photo03"))
    photo = read_image(clip("photo03"))
    time = np.arange(40)
    shift = 1.5 * np.stack([np.sin(time / 3), np.cos(time / 5)], 1)
    shift -= np.median(shift, 0)
    with HeadPictures() as pictures:
        for dx, dy in shift:
            moved = cv2.warpAffine(photo, np.array([[1, 0, dx], [0, 1, dy]]), photo.shape[1::-1])
            pictures.add(moved, still.landmarks[0])  # the landmarks do not notice
        windows = pictures.windows()
        assert len(windows) == 40 and windows.pictures[39].shape == (SIZE, SIZE)
        rotation, translation = np.repeat(still.rotation, 40, 0), np.repeat(still.translation, 40, 0)
        points = photometric.skull_points(heads.load("builtin"), still.neutral)
        assert len(points[0]) == photometric.POINTS
        turned, placed = photometric.align(
            windows, points, rotation, translation, still.intrinsics, [(0, 40)]
        )
    # where the middle of the head now appears in the image
    seen = placed[:, :2] / placed[:, 2:] * still.intrinsics[0, 0]
    found = seen - np.median(seen, 0)
    for axis in (0, 1):
        assert np.corrcoef(found[:, axis], shift[:, axis])[0, 1] > 0.95
    away = (Rotation.from_matrix(turned) * Rotation.from_matrix(rotation).inv()).magnitude()
    assert np.degrees(away).max() < 1.0


def test_a_clip_becomes_steadier_and_keeps_its_average(clip):
    aligned, plain = (
        track(clip("person05"), TrackOptions(max_frames=60, photometric=a)) for a in (True, False)
    )

    def restless(result) -> float:
        turns = Rotation.from_matrix(result.rotation)
        return float(np.abs(np.diff((turns * turns.mean().inv()).as_rotvec(), 2, axis=0)).mean())

    assert restless(aligned) < 0.75 * restless(plain)
    between = Rotation.from_matrix(np.swapaxes(aligned.rotation, 1, 2) @ plain.rotation)
    assert np.degrees(between.mean().magnitude()) < 0.05
    assert np.degrees(between.magnitude()).max() < 2.5
    np.testing.assert_array_equal(aligned.expression, plain.expression)


def test_a_short_shot_is_left_alone():
    with HeadPictures() as pictures:
        windows = pictures.windows()
    rotation, translation = np.repeat(np.eye(3, dtype=np.float32)[None], 5, 0), np.ones((5, 3), np.float32)
    points = (np.zeros((200, 3), np.float32), np.zeros((200, 3), np.float32))
    turned, placed = photometric.align(
        windows, points, rotation, translation, np.eye(3, dtype=np.float32), [(0, 5)]
    )
    np.testing.assert_array_equal(turned, rotation)
    np.testing.assert_array_equal(placed, translation)


def test_the_average_of_other_poses_is_taken_over():
    random = np.random.default_rng(0)
    first = Rotation.random(10, random_state=0).as_matrix()
    place = random.normal(size=(10, 3))
    turn, shift = Rotation.from_rotvec([0.1, -0.2, 0.05]).as_matrix(), np.array([0.01, 0.02, -0.03])
    rotation, translation = with_average_of(first @ turn, place + first @ shift, first, place)
    np.testing.assert_allclose(rotation, first @ turn, atol=1e-6)
    np.testing.assert_allclose(translation, place + first @ shift, atol=1e-6)
