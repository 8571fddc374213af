"""Bones, contours and drivers against what is known of the built-in head."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from avatarkit import heads
from avatarkit.files.track import Track
from avatarkit.methods.gaussians import rig as rigs
from avatarkit.methods.gaussians.drivers import Drivers
from avatarkit.methods.gaussians.puppet import Puppet, torso_model
from avatarkit.methods.gaussians.rig import Opening, Rig, opened, twist
from avatarkit.methods.registry import Drive
from avatarkit.ops.anchors import reveal

STILL = np.eye(3, 4, dtype=np.float32)


@pytest.fixture(scope="module")
def rig(person: tuple[Track, Path]) -> Rig:
    track = person[0]
    head = heads.load()
    return Rig.of(head, track.neutral, head.shapes, track.rotation[0], track.translation[0])[0]


@pytest.fixture(scope="module")
def drivers(person: tuple[Track, Path], rig: Rig) -> Drivers:
    track = person[0]
    drives = [Drive.of(track, t) for t in range(30)]
    return Drivers.of(drives, rig, track.intrinsics, 8, 4, True)


def test_triangles_carry_their_corners_exactly(person: tuple[Track, Path], rig: Rig) -> None:
    drive = Drive.of(person[0], 5)
    vertices = rig.posed(drive.expression)
    maps = rig.transforms(drive, vertices, STILL, STILL).reshape(3, 4, -1)[..., rigs.RIGID :]
    camera = vertices @ drive.rotation.T + drive.translation
    for corner in range(3):
        rest = rig.neutral[rig.triangles[:, corner]].T
        moved = np.einsum("ijf,jf->if", maps[:, :3], rest) + maps[:, 3]
        wrong = np.abs(moved.T - camera[rig.triangles[:, corner]]).max(1)
        # needles of the eyelids have next to no area to take a frame from
        assert np.quantile(wrong, 0.99) < 2e-6
        assert wrong.max() < 1e-3


def test_at_rest_every_bone_is_the_pose(person: tuple[Track, Path], rig: Rig) -> None:
    drive = replace(
        Drive.of(person[0], 0), expression=np.zeros(52, np.float32), eyes=np.zeros((2, 3), np.float32)
    )
    maps = rig.transforms(drive, rig.posed(drive.expression), STILL, STILL).reshape(3, 4, -1)
    rigid = np.column_stack([drive.rotation, drive.translation])
    np.testing.assert_allclose(maps[..., : rigs.RIGID], np.repeat(rigid[..., None], rigs.RIGID, 2), atol=1e-5)
    wrong = np.abs(maps[..., rigs.RIGID :] - rigid[..., None]).max((0, 1))
    assert np.quantile(wrong, 0.99) < 1e-3


def test_irises_turn_about_the_eyeball(person: tuple[Track, Path], rig: Rig) -> None:
    gaze = np.array([[0, 0.4, 0], [0, -0.2, 0]], np.float32)
    drive = replace(Drive.of(person[0], 3), eyes=gaze)
    maps = rig.transforms(drive, rig.posed(drive.expression), STILL, STILL).reshape(3, 4, -1)
    for side, bone in enumerate((rigs.IRIS_LEFT, rigs.IRIS_RIGHT)):
        center = np.append(rig.eyes[side], 1)
        np.testing.assert_allclose(maps[..., bone] @ center, maps[..., rigs.SKULL] @ center, atol=1e-6)
        front = np.append(rig.eyes[side] + [0, 0, 0.012], 1)
        turned = Rotation.from_rotvec(gaze[side]).apply([0, 0, 0.012]) + rig.eyes[side]
        np.testing.assert_allclose(
            maps[..., bone] @ front, drive.rotation @ turned + drive.translation, atol=1e-6
        )


def test_torso_stays_while_the_head_moves(person: tuple[Track, Path], rig: Rig) -> None:
    drive = Drive.of(person[0], 7)
    shift = twist(np.array([0.01, 0, 0, 0, 0, 0], np.float32), np.zeros(3, np.float32))
    maps = rig.transforms(drive, rig.posed(drive.expression), STILL, shift).reshape(3, 4, -1)
    rest = np.column_stack([rig.rotation, rig.translation])
    rest[0, 3] += 0.01
    np.testing.assert_allclose(maps[..., rigs.NECK_STEPS - 1], rest, atol=1e-6)
    half = (maps[..., 0] + maps[..., rigs.NECK_STEPS - 1]) / 2
    np.testing.assert_allclose(maps[..., rigs.NECK_STEPS // 2], half, atol=1e-6)


def test_twist_turns_about_its_pivot() -> None:
    pivot = np.array([0.1, -0.2, 0.5], np.float32)
    motion = twist(np.array([0, 0, 0.02, 0, np.pi / 2, 0], np.float32), pivot)
    np.testing.assert_allclose(motion @ np.append(pivot, 1), pivot + np.array([0, 0, 0.02]), atol=1e-6)
    np.testing.assert_allclose(motion[:, :3] @ [0, 0, 1], [1, 0, 0], atol=1e-6)


def test_closed_lids_hide_the_eye_and_open_ones_show_it(person: tuple[Track, Path], rig: Rig) -> None:
    names = list(person[0].expression_names)
    base = replace(Drive.of(person[0], 0), expression=np.zeros(52, np.float32))
    closed = base.expression.copy()
    closed[[names.index("eyeBlinkLeft"), names.index("eyeBlinkRight")]] = 1
    pupils = (rig.eyes + np.array([0, 0, 0.012])) @ base.rotation.T + base.translation
    for expression, low, high in ((base.expression, 0.9, 1.0), (closed, 0.0, 0.35)):
        holes = list(map(Opening, *rig.openings(base, rig.posed(expression))))
        for side in (0, 1):
            assert low <= holes[side].seen(pupils[side][:, None])[0] <= high


def test_an_opening_closes_beyond_its_corners() -> None:
    line = np.linspace(-1, 1, 9)
    upper = np.column_stack([line, -0.3 * (1 - line**2)])
    frames, borders = opened(np.stack([upper, upper * [1, -1]])[None], np.array([0.01]), np.zeros(1))
    hole = Opening(frames[0], borders[0])
    points = np.array([[0, 0, 1], [0, 0.29, 1], [0, 0.31, 1], [1.1, 0, 1], [-1.1, 0, 1], [0, 0.62, 2]]).T
    seen = hole.seen(points.astype(np.float32))
    assert seen[0] > 0.99 and seen[1] > 0.8 and seen[2] < 0.2
    assert (seen[3:5] < 0.01).all()
    assert seen[5] == pytest.approx(seen[2], abs=0.01)
    still, first = torch.eye(3, 4).reshape(12, 1), torch.zeros(6, dtype=torch.int32)
    frames, borders = (torch.from_numpy(part[None]) for part in (hole.frame, hole.borders))
    rest = torch.from_numpy(points.astype(np.float32))
    packed = reveal(rest, still, first, torch.arange(6).int(), first, frames, borders)
    np.testing.assert_allclose(packed.numpy(), seen, atol=1e-4)


def test_drivers_stay_in_the_training_range(person: tuple[Track, Path], rig: Rig, drivers: Drivers) -> None:
    drive = Drive.of(person[0], 3)
    far = replace(
        drive, expression=np.ones(52, np.float32), translation=drive.translation + 1, landmarks=None
    )
    found = drivers.coefficients(far, rig.posed(far.expression), rig)
    inner = found[: len(drivers.expression)]
    assert (inner >= drivers.expression.low).all() and (inner <= drivers.expression.high).all()
    assert len(found) == len(drivers)
    spread = np.std(
        [drivers.expression.coefficients(Drive.of(person[0], t).expression) for t in range(30)], 0
    )
    assert spread[0] == pytest.approx(1, abs=0.1) and spread.max() < 1.1


def test_drivers_stay_where_the_clip_was_all_together(drivers: Drivers, person: tuple[Track, Path]) -> None:
    group = drivers.expression
    shown = np.stack([Drive.of(person[0], t).expression for t in range(30)])
    inside = [np.array_equal(group.typical(e), group.coefficients(e)) for e in shown]
    assert 0.7 < np.mean(inside) < 0.9
    corner = (np.linalg.pinv(group.axes) @ group.high + group.mean).astype(np.float32)
    held = group.typical(corner)
    assert np.linalg.norm(held / group.bounds) == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(held, group.high * (held[0] / group.high[0]), rtol=1e-3, atol=1e-4)


def test_other_peoples_landmarks_say_nothing(person: tuple[Track, Path], rig: Rig, drivers: Drivers) -> None:
    track = person[0]
    random = np.random.default_rng(0)
    noisy = track.landmarks + random.normal(0, 0.3, track.landmarks.shape).astype(np.float32)
    drives = [replace(Drive.of(track, t), landmarks=noisy[t]) for t in range(30)]
    own = Drivers.of(drives, rig, track.intrinsics, 8, 4, True)
    start = len(own.expression) + len(own.pose)
    vertices = rig.posed(drives[4].expression)
    assert np.abs(own.coefficients(drives[4], vertices, rig)[start:]).max() > 0.1
    other = replace(drives[4], landmarks=noisy[4] + np.float32(15) * np.sin(noisy[4]))
    for drive in (other, replace(drives[4], landmarks=None)):
        assert (own.coefficients(drive, vertices, rig)[start:] == 0).all()


def test_drivers_come_back_from_their_state(person: tuple[Track, Path], rig: Rig, drivers: Drivers) -> None:
    again = Drivers.from_state(*drivers.state())
    drive = Drive.of(person[0], 9)
    vertices = rig.posed(drive.expression)
    assert (again.coefficients(drive, vertices, rig) == drivers.coefficients(drive, vertices, rig)).all()


def test_far_poses_drive_nothing(person: tuple[Track, Path], rig: Rig, drivers: Drivers) -> None:
    group = drivers.pose
    middle = group.mean + np.linalg.pinv(group.axes) @ ((group.low + group.high) / 2)
    step = np.linalg.pinv(group.axes)[:, 0] * (group.high[0] - group.low[0])
    at_edge, halfway, far = (group.faded(middle + reach * step)[0] for reach in (0.5, 1.0, 1.6))
    assert at_edge == pytest.approx(group.high[0], rel=1e-3)
    assert halfway == pytest.approx(group.high[0] / 2, rel=1e-3)
    assert far == 0
    assert group.coefficients(middle + 1.6 * step)[0] == group.high[0]  # what the torso follows stays


def test_the_tracked_torso_moves_in_its_picture(
    person: tuple[Track, Path], rig: Rig, drivers: Drivers
) -> None:
    track = person[0]
    nothing = torch.zeros(0)
    rest = np.array([[1, 0, 1.5], [0, 1, -2]], np.float32)
    puppet = Puppet(
        rig, drivers, nothing.int(), nothing.to(torch.int8), np.zeros((2, 6, len(drivers) + 1), np.float32),
        np.zeros((4, len(drivers.pose) + 1), np.float32), rest, float(track.intrinsics[0, 0]),
    )  # fmt: skip
    turn = np.array([[1.02, -0.05, 4], [0.05, 1.02, -3]], np.float32)
    drive = replace(Drive.of(track, 0), torso=turn)
    motion = puppet.torso(drive)
    point = np.array([0.05, 0.12, 0.6])
    moved = motion[:, :3] @ point + motion[:, 3]
    k = track.intrinsics
    before, after = (k @ p / p[2] for p in (point, moved))
    undone = before[:2] - rest[:, 2]
    np.testing.assert_allclose(after[:2], turn[:, :2] @ undone + turn[:, 2], atol=1e-3)
    for untracked in (replace(drive, torso=None), replace(drive, torso_confidence=0.0)):
        assert (puppet.torso(untracked) == STILL).all()


def test_the_torso_follows_the_head_as_the_clip_showed(person: tuple[Track, Path]) -> None:
    random = np.random.default_rng(1)
    poses = random.normal(0, 1, (200, 3)).astype(np.float32)
    truth = np.array([[0.0, 0, 0, 0.01], [0.002, 0, 0, 0], [3, 0, 0, 1], [0, -2, 0, 0]])
    moves = np.column_stack([poses, np.ones(200)]) @ truth.T
    planes = np.zeros((200, 2, 3), np.float32)
    planes[:, 0, 0] = planes[:, 1, 1] = 1 + moves[:, 0]
    planes[:, 1, 0], planes[:, 0, 1] = moves[:, 1], -moves[:, 1]
    planes[:, :, 2] = moves[:, 2:]
    confidence = np.ones(200, np.float32)
    planes[:20, :, 2] += 50
    confidence[:20] = 0
    still = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    found = torso_model(planes, confidence, still, poses)
    np.testing.assert_allclose(found, truth, atol=0.1)
    np.testing.assert_allclose(found[2, 0], 3 / 1.02, rtol=0.02)
