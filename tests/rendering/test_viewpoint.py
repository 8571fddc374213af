"""Cameras elsewhere: identity changes nothing, planes land where their points project, zooming is a crop."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from avatarkit.rendering.camera import Camera
from avatarkit.rendering.composite import Scene
from avatarkit.rendering.viewpoint import Viewpoint

OWN = Camera(np.array([[700, 0, 40], [0, 700, 30], [0, 0, 1]], np.float32), 80, 60)


def scene() -> Scene:
    rng = np.random.default_rng(0)
    torso = np.zeros((60, 80, 4), np.uint8)
    torso[30:, 20:60] = (255, 0, 0, 255)
    return Scene(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8), torso, (0, 0, 40))


def test_the_clips_own_place_shows_the_clips_own_picture() -> None:
    still = np.eye(2, 3, dtype=np.float32)
    image = Viewpoint(OWN, np.eye(3), np.zeros(3)).behind(scene(), OWN, still, 0.7)
    np.testing.assert_allclose(image, scene().behind(), atol=1.5 / 255)


@pytest.mark.parametrize("depth", [0.7, 5.0, np.inf])
def test_homography_takes_points_of_a_plane_to_their_projection(depth: float) -> None:
    rng = np.random.default_rng(1)
    turn = Rotation.from_euler("yx", [12, -7], degrees=True).as_matrix()
    view = Viewpoint(OWN.cropped(10, 5, 30, 96), turn, np.array([0.08, -0.03, 0.05]))
    flat = np.append(rng.normal(0, 0.03, 2), 1.0)
    far = np.isinf(depth)
    point = flat if far else flat * depth
    moved = turn @ point + (0 if far else view.translation)
    before, after = (
        OWN.project(point) - 0.5,
        view.camera.project(moved) - 0.5,
    )  # OpenCV counts centers at integers
    mapped = view.homography(OWN, depth) @ np.append(before, 1.0)
    np.testing.assert_allclose(mapped[:2] / mapped[2], after, atol=1e-6)


def test_a_narrower_lens_is_a_crop() -> None:
    view = Viewpoint(OWN.cropped(20, 10, 40, 40), np.eye(3), np.zeros(3))
    image = view.behind(scene(), OWN, np.eye(2, 3, dtype=np.float32), 0.7)
    np.testing.assert_allclose(image, scene().behind()[10:50, 20:60], atol=1.5 / 255)


def test_pose_composes() -> None:
    turn = Rotation.from_euler("y", 20, degrees=True).as_matrix()
    view = Viewpoint(OWN, turn, np.array([0.0, 0.1, 0.0]))
    rotation, translation = view.pose(np.eye(3, dtype=np.float32), np.array([0, 0, 0.7], np.float32))
    np.testing.assert_allclose(rotation, turn, atol=1e-6)
    np.testing.assert_allclose(translation, turn @ [0, 0, 0.7] + [0, 0.1, 0], atol=1e-6)
