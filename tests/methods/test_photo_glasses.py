"""Glasses in a photo: seen by their bar, and kept rigid."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from avatarkit.methods.photo import glasses, prepare
from avatarkit.methods.photo.transfer import Motion, Options, Rig
from tests.methods.test_photo_transfer import face, jaw


@pytest.mark.parametrize("turn", [0.0, 15.0])
def test_a_bar_over_the_bridge_is_seen(turn: float) -> None:
    points = face(1500, (160, 160))
    spin = cv2.getRotationMatrix2D((160, 160), turn, 1.0)
    points[:, :2] = points[:, :2] @ spin[:, :2].T + spin[:, 2]
    bare = np.full((320, 320, 3), (205, 160, 140), np.uint8)
    assert not glasses.worn(bare, points)
    ends = np.round(points[[133, 362], :2]).astype(int)
    with_bar = cv2.line(bare.copy(), ends[0].tolist(), ends[1].tolist(), (30, 30, 30), 3)
    assert glasses.worn(with_bar, points)


def test_skin_at_the_frame_is_stiff_and_lids_are_not() -> None:
    points = face(1500, (160, 160))
    plain = Rig(points, jaw())
    rig = Rig(points, jaw(), glasses.stiffness(plain.own))
    driver, now = face(1000), face(1000, cheekSquintLeft=1.0, cheekSquintRight=1.0, jawOpen=0.5)
    motion = Motion.of(driver, Options())
    one, other = (r.posed(now, motion).landmarks for r in (plain, rig))
    below = [119, 348]  # skin under the eyes
    moved = np.linalg.norm(one[below] - points[below], axis=1)
    held = np.linalg.norm(other[below] - points[below], axis=1)
    assert moved.min() > 0.5
    assert (held < 0.5 * moved).all()
    assert np.abs(one[[13, 14, 152]] - other[[13, 14, 152]]).max() < 1e-9


def test_a_matte_that_does_not_know_below_the_chin_goes_with_the_person() -> None:
    points = face(1500, (160, 120))
    alpha = np.zeros((400, 320), np.float32)
    alpha[60:330, 80:240] = 1
    alpha[330:, 20:300] = 0.5
    alpha[60:330, 240:243] = 0.5  # an edge
    made = prepare.decided(alpha, points)
    assert made[360, 160] == pytest.approx(1)
    assert np.array_equal(made[:300], alpha[:300])
    assert made[390, 5] == 0
