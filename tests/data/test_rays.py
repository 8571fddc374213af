from __future__ import annotations

from pathlib import Path

import numpy as np

from avatarkit.data.clip import ClipFrames
from avatarkit.data.rays import SceneBox, image_rays, pixel_rays, scene_box, visual_hull
from avatarkit.files.track import Track
from avatarkit.rendering.camera import Camera
from tests.methods import synthetic


def test_a_ray_goes_through_the_point_that_the_camera_sees_at_its_pixel() -> None:
    random = np.random.default_rng(1)
    camera = Camera(np.array([[700, 0, 130], [0, 690, 120], [0, 0, 1]], np.float32), 256, 256)
    rotation = synthetic.Rotation.from_euler("YXZ", [20, -10, 5], degrees=True).as_matrix()
    rotation = (np.diag([1.0, -1.0, -1.0]) @ rotation).astype(np.float32)
    translation = np.array([0.02, -0.01, 0.6], np.float32)
    points = random.uniform(-0.1, 0.1, (50, 3))
    box = SceneBox((0.01, -0.02, -0.08), 0.4)
    pixels = camera.project(points @ rotation.T.astype(np.float64) + translation)
    origins, directions = pixel_rays(camera, rotation, translation, pixels, box)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-6)
    toward = box.to_unit(points) - origins
    miss = np.linalg.norm(np.cross(toward, directions), axis=1)
    assert miss.max() < 1e-5  # of a box of 0.4 m
    assert ((toward * directions).sum(1) > 0).all()
    np.testing.assert_allclose(box.from_unit(box.to_unit(points)), points, atol=1e-12)


def test_rays_of_an_image_are_those_of_its_pixel_centers_row_by_row() -> None:
    camera = Camera(np.array([[70, 3, 11], [0, 69, 8], [0, 0, 1]], np.float32), 24, 17)
    rotation = synthetic.Rotation.from_euler("YXZ", [20, -10, 5], degrees=True).as_matrix().astype(np.float32)
    translation, box = np.array([0.02, -0.01, 0.6], np.float32), SceneBox((0.01, -0.02, -0.08), 0.4)
    pixels = np.array([(x + 0.5, y + 0.5) for y in range(17) for x in range(24)])
    origins, directions = pixel_rays(camera, rotation, translation, pixels, box)
    origin, found = image_rays(camera, rotation, translation, box)
    np.testing.assert_allclose(found, directions, atol=3e-7)
    np.testing.assert_array_equal(np.broadcast_to(origin, origins.shape), origins)


def test_box_and_hull_hold_the_head_and_not_much_more(subject: tuple[Track, Path]) -> None:
    track, folder = subject
    positions = np.arange(20)
    with ClipFrames(track, folder, 64) as clip:
        box = scene_box(clip, positions)
        hull = visual_hull(clip, positions, box, cells=32, agreement=0.8)
    assert 0.25 < box.side < 0.4
    axis = (np.arange(32) + 0.5) / 32
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    points = box.from_unit(np.stack([x.ravel(), y.ravel(), z.ravel()], 1))
    inside = (((points - synthetic.CENTER) / synthetic.RADII) ** 2).sum(1)
    assert hull[inside < 0.9].mean() > 0.99
    # Views from the front leave depth open; beside and above the head nothing may stay.
    beside = (np.abs(points[:, :2] - synthetic.CENTER[:2]) > 0.135).any(1)
    assert hull[beside & (np.abs(points[:, 2] - synthetic.CENTER[2]) < 0.05)].mean() < 0.02
    assert hull.mean() < 0.6
