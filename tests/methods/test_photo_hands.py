"""Hands on the face of a photo go with the head."""

from __future__ import annotations

import numpy as np

from avatarkit.heads import landmarks as marks
from avatarkit.methods.photo import hands, mesh, warp
from tests.methods.test_photo_transfer import face

SIZE = 256


def hand(x: float, y: float) -> np.ndarray:
    """[21, 2] a round hand of 30 pixels."""
    angles = np.linspace(0, 2 * np.pi, 21, endpoint=False)
    return np.column_stack([x + 15 * np.cos(angles), y + 15 * np.sin(angles)])


def test_only_hands_on_the_face_count() -> None:
    points = face(900, (128, 100))
    chin = points[152]
    both = np.stack([hand(chin[0], chin[1] + 10), hand(20, 240)])
    assert np.array_equal(hands.on_face(both, points[:, :2]), both[:1])
    assert hands.on_face(np.zeros((0, 21, 2)), points[:, :2]).shape == (0, 21, 2)


def test_a_hand_below_the_chin_moves_with_the_head() -> None:
    points = face(900, (128, 100))
    built = mesh.build(points[: marks.MESH, :2], SIZE, SIZE, 14)
    outer = built.points[marks.MESH :]
    chin = points[152, :2]
    on = hand(chin[0], chin[1] + 45)[None]
    rigid = hands.shares(outer, on, points)
    depth = np.zeros(len(outer))
    shift = np.column_stack([np.zeros((2, 3)), [7.0, -4.0]])
    at = np.linalg.norm(outer - (chin[0], chin[1] + 45), axis=1).argmin()
    with_hand = warp.solve(built, depth, 14, rigid).displaced(
        np.tile([7.0, -4.0], (36, 1)), shift, np.zeros((2, 3))
    )
    without = warp.solve(built, depth, 14).displaced(np.tile([7.0, -4.0], (36, 1)), shift, np.zeros((2, 3)))
    assert np.abs(with_hand[at] - (7, -4)).max() < 1.0
    assert np.linalg.norm(without[at]) < 0.7 * np.linalg.norm(with_hand[at])


def test_hands_lie_at_the_outlines_depth() -> None:
    points = face(900, (128, 100))
    chin = points[152]
    places = np.array([[chin[0], chin[1] + 20.0], [10.0, 10.0]])
    laid = hands.laid_on(np.array([500.0, 500.0]), places, hand(chin[0], chin[1] + 20)[None], points)
    assert abs(laid[0] - chin[2]) < 1
    assert laid[1] == 500
