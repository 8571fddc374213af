"""Whole-frame compositing: placement, edges, alpha and the torso's motion."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from avatarkit.rendering.camera import Camera
from avatarkit.rendering.composite import Scene, torso_motion


def scene(crop: tuple[int, int, int], torso: np.ndarray | None = None) -> Scene:
    plate = np.zeros((60, 80, 3), np.uint8)
    plate[..., 1] = 100
    return Scene(plate, torso, crop)


def test_head_lies_in_its_crop_and_nowhere_else() -> None:
    stage = scene((20, 10, 32))
    rgb, alpha = np.ones((32, 32, 3), np.float32), np.ones((32, 32), np.float32)
    image = stage.over(stage.behind(), rgb, alpha)
    assert (image[10:42, 20:52] == 1).all()
    outside = np.ones((60, 80), bool)
    outside[10:42, 20:52] = False
    np.testing.assert_allclose(image[outside], [0, 100 / 255, 0] * np.ones((outside.sum(), 3)), atol=1e-6)


def test_crop_may_reach_over_every_edge() -> None:
    stage = scene((-10, -20, 120))
    image = stage.over(stage.behind(), np.ones((64, 64, 3), np.float32), np.ones((64, 64), np.float32))
    assert image.shape == (60, 80, 3) and np.isclose(image, 1, atol=1e-5).all()


def test_half_transparent_head_mixes_straight_alpha() -> None:
    stage = scene((0, 0, 40))
    image = stage.over(
        stage.behind(), np.full((40, 40, 3), 0.8, np.float32), np.full((40, 40), 0.25, np.float32)
    )
    np.testing.assert_allclose(image[20, 20], [0.2, 0.25 * 0.8 + 0.75 * 100 / 255, 0.2], atol=1e-5)


def test_window_is_what_over_covers() -> None:
    rng = np.random.default_rng(0)
    stage = Scene(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8), None, (-8, 30, 48))
    behind = stage.behind()
    window = stage.window(behind, 48)
    np.testing.assert_allclose(window[:, 8:][:30], behind[30:60, 0:40], atol=1e-6)
    np.testing.assert_allclose(window[:30, 0], behind[30:60, 0], atol=1e-6)


def test_torso_moves_with_its_affine_map() -> None:
    torso = np.zeros((60, 80, 4), np.uint8)
    torso[30:, 20:60] = (255, 0, 0, 255)
    stage = scene((0, 0, 40), torso)
    motion = torso_motion(np.array([15.0, 5.0]), np.array([10.0, 5.0]), share=0.8)
    red = stage.behind(motion)[50, :, 0]
    assert np.flatnonzero(red > 0.5).tolist() == list(range(24, 64))


def test_moved_torso_is_the_whole_layer_moved() -> None:
    layer = np.zeros((60, 80, 4), np.uint8)
    layer[40:, :70] = np.random.default_rng(1).integers(40, 255, (20, 70, 4))
    stage = scene((20, 10, 32), layer)
    for motion in ([[1, 0, 0.4], [0, 1, -12.3]], [[0.96, -0.2, 9], [0.2, 0.96, 5]], [[1, 0, 0], [0, 1, 70]]):
        whole = cv2.warpAffine(layer, np.array(motion, float), (80, 60), borderMode=cv2.BORDER_REPLICATE)
        color, alpha = whole[..., :3] / 255, whole[..., 3:] / 255
        expected = alpha * color + (1 - alpha) * stage.plate / 255
        # Where its lowest part begins decides how warpAffine rounds its fixed-point places.
        np.testing.assert_allclose(stage.behind(np.array(motion, np.float32)), expected, atol=1.5 / 32)


def test_the_torso_goes_from_where_it_was_taken() -> None:
    place = [np.array([[1, 0, x], [0, 1, 0]], np.float32) for x in (0, 20, 25)]
    rest, taken, now = place
    necks = np.array([15.0, 5.0]), np.array([10.0, 5.0])
    plain = scene((0, 0, 40), None)
    moved = replace(plain, taken=taken)
    assert plain.motion(now, rest, necks)[0, 2] == 25 and moved.motion(now, rest, necks)[0, 2] == 5
    # Where nobody follows it, it goes to its rest and from there with the neck.
    assert plain.motion(None, rest, necks)[0, 2] == 4 and moved.motion(None, rest, necks)[0, 2] == 4 - 20
    assert plain.motion(now, None, necks)[0, 2] == 4


def test_cropped_camera_sees_the_same_ray() -> None:
    camera = Camera(np.array([[700, 0, 240], [0, 700, 240], [0, 0, 1]], np.float32), 480, 480)
    point = np.array([0.03, -0.02, 0.7])
    x, y = camera.project(point)
    crop = camera.cropped(100, 60, 200, 64)
    np.testing.assert_allclose(crop.project(point), [(x - 100) * 0.32, (y - 60) * 0.32], rtol=1e-5)
