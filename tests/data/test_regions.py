from __future__ import annotations

import numpy as np

from avatarkit.data.regions import EDGE, JAW, face_hull, head_above_jaw


def landmarks() -> np.ndarray:
    """A face of 100 x 120 pixels about (128, 128), its jaw a wedge from (90, 160) over (128, 188) to (166, 160)."""
    angle = np.linspace(0, 2 * np.pi, 478, endpoint=False)
    points = np.stack([128 + 50 * np.cos(angle), 128 + 60 * np.sin(angle)], 1).astype(np.float32)
    x = np.linspace(90, 166, len(JAW))
    points[list(JAW)] = np.stack([x, 188 - 28 * np.abs(x - 128) / 38], 1)
    return points


def test_the_head_ends_at_the_jaw_and_short_of_the_mattes_edge() -> None:
    matte = np.zeros((256, 256), np.uint8)
    matte[40:, 60:200] = 255
    region = head_above_jaw(matte, landmarks())
    assert set(np.unique(region)) == {0, 1}
    assert region[40 + EDGE, 128] == 1 and region[39 + EDGE, 128] == 0
    assert region[100, 60 + EDGE] == 1 and region[100, 59 + EDGE] == 0
    assert region[187, 128] == 1 and region[189, 128] == 0
    assert region[159, 70] == 1 and region[161, 70] == 0  # beside the jaw
    # Where a head reaches the picture's edge there is no uncertain band.
    matte[:] = 255
    assert head_above_jaw(matte, landmarks())[0, 128] == 1


def test_the_face_is_the_hull_of_its_landmarks() -> None:
    region = face_hull(landmarks(), 256)
    assert abs(region.sum() / (np.pi * 50 * 60) - 1) < 0.03
    assert region[128, 128] == 1 and region[128, 185] == 0


def test_frames_without_landmarks_have_neither() -> None:
    points = np.full((478, 2), np.nan, np.float32)
    assert head_above_jaw(np.full((64, 64), 255, np.uint8), points).sum() == 0
    assert face_hull(points, 64).sum() == 0
