"""What a moving photo shows at its limits: beyond the frame, along the outline, under the open jaw."""

from __future__ import annotations

import numpy as np

from avatarkit.heads import landmarks as marks
from avatarkit.heads.template import face_template
from avatarkit.methods.photo import beyond, mesh
from avatarkit.methods.photo.outline import Outline, strange


def face(width: int = 120) -> np.ndarray:
    """[468, 3] the template in pixels, from the front, in the middle of a 256 pixel photo."""
    points = face_template() * (1.0, -1.0, -1.0)
    scale = width / (points[:, 0].max() - points[:, 0].min())
    return scale * (points - points.mean(0)) + (128, 128, 0)


def turned(degrees: float) -> np.ndarray:
    a = np.radians(degrees)
    return np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])


def test_the_mesh_has_a_line_along_every_border():
    built = mesh.build(face()[:, :2], 200, 256, 20.0)
    for axis, value in ((0, 0), (0, 200), (1, 0), (1, 256)):
        assert np.isclose(built.points[marks.MESH :, axis], value).sum() > 5
    middle = built.points[built.triangles]
    outside = ((middle.mean(1) < 0) | (middle.mean(1) > (200, 256))).any(1)
    inside = ((middle > -1e-6) & (middle < np.array([200, 256]) + 1e-6)).all((1, 2))
    assert (outside | inside).all()  # none lies across


def test_a_body_goes_on_below_the_frame_and_nothing_comes_back_twice():
    texture = np.zeros((60, 80, 4), np.uint8)
    texture[30:, 20:60] = (200, 100, 50, 255)  # a torso cut by the lower border
    texture[40:42, 30:32] = 0  # a hole of the matte
    texture[:5, 30:50] = 255  # hair cut by the upper one
    made = beyond.continued(texture, 40, 30.0)
    assert made.shape == (140, 160, 4)
    assert np.array_equal(made[40:100, 40:120, 3], texture[..., 3])
    assert (made[100:129, 60:100, 3] == 255).all() and np.abs(
        made[110, 80].astype(int) - (200, 100, 50, 255)
    ).max() <= 1
    assert made[131:].max() == 0  # the torso ends as far below as it begins above
    assert made[:36].max() == 0  # the hair, too, and the mirrored torso stays away
    above = made[36:40, :, 3].sum(1) / 255
    assert (np.diff(above) >= 0).all() and 0 < above[-1] <= 20  # a cap that closes


def test_print_on_cloth_is_not_mirrored_beyond_the_frame():
    texture = np.full((160, 160, 4), (20, 30, 40, 255), np.uint8)
    texture[140:150, 70:90, :3] = 240  # letters near the lower border
    made = beyond.continued(texture, 40, 120.0)
    assert np.array_equal(made[40:200, 40:200], texture)
    assert np.abs(made[200:, 80:160].astype(int) - (20, 30, 40, 255)).max() <= 2


def test_skin_seen_edge_on_is_read_from_further_inside_once_it_opens():
    points = face() @ turned(35).T
    outline = Outline(points)
    assert np.abs(outline.shifts(np.eye(3))).max() == 0
    one, other = outline.shifts(turned(-15)), outline.shifts(turned(15))
    apart = np.abs(points[[132, 361], 0] - points[4, 0])
    hidden, opposite = (132, 361) if apart[0] < apart[1] else (361, 132)
    toward = np.sign(points[opposite, 0] - points[hidden, 0])
    pulled = one if np.abs(one[hidden]).max() > np.abs(other[hidden]).max() else other
    kept = other if pulled is one else one
    assert toward * pulled[hidden, 0] > 3
    assert np.abs(kept[hidden]).max() == 0
    assert np.abs(pulled[[4, 1, 13, 10, 33, 263]]).max() < 0.5  # nose, lips, forehead and eyes stay


def test_the_outline_is_doubted_where_it_shows_the_background_or_a_hand():
    points = face()
    photo = np.full((256, 256, 3), 60, np.uint8)
    photo[:, 80:] = (220, 170, 150)  # the background covers the face's left edge
    plate = np.full_like(photo, 60)
    nobody = np.zeros((0, 21, 2))
    doubt = strange(photo, plate, points, nobody)
    assert doubt[points[:, 0] < 75].min() == 1 and doubt[points[:, 0] > 110].max() == 0
    hand = np.tile([[180.0, 140.0]], (21, 1)) + np.random.default_rng(0).uniform(-8, 8, (21, 2))
    held = strange(np.full_like(photo, 220), plate, points, hand[None])
    assert held[454] > held[234] == 0
    sure, unsure = Outline(points), Outline(points, np.ones(marks.MESH))
    moved = [np.abs(o.shifts(turned(30))).sum() + np.abs(o.shifts(turned(-30))).sum() for o in (sure, unsure)]
    assert moved[1] > 1.3 * moved[0] > 0
