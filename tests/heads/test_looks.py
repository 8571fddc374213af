"""The built-in head, shaded, is a face to the real landmark detector, and lies where the detector sees it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from avatarkit import heads
from avatarkit.heads.model import HeadModel
from avatarkit.ops.raster import interpolate, rasterize

SIZE, SCALE = 512, 1500.0
"""Pixels, and pixels per meter of an orthographic view."""
COLORS = {
    "skin": (224, 180, 160), "eyelids": (225, 172, 158), "ears": (224, 178, 158), "neck": (216, 174, 154),
    "lips": (196, 104, 100), "brows": (105, 78, 58), "sclera": (245, 245, 245), "iris": (70, 105, 150),
    "pupil": (10, 10, 10), "teeth": (244, 240, 226), "gums": (214, 120, 118), "tongue": (206, 96, 104),
    "mouth": (110, 40, 40), "sockets": (200, 130, 124), "scalp": (90, 66, 50), "torso": (96, 108, 140),
}  # fmt: skip


def view(head: HeadModel, vertices: np.ndarray, yaw: float, pitch: float) -> tuple[np.ndarray, np.ndarray]:
    """Image [SIZE, SIZE, 3] of ``vertices`` lit from above, and their pixels [V, 2]."""
    from scipy.spatial.transform import Rotation

    rotation = Rotation.from_euler("xy", [pitch, -yaw], degrees=True).as_matrix()
    turned = (vertices - (0, -0.03, 0)) @ rotation.T
    pixels = turned[:, :2] * (SCALE, -SCALE) + SIZE / 2
    screen = np.concatenate([pixels, 1 - turned[:, 2:]], 1).astype(np.float32)
    colors = np.array([COLORS[name] for name in head.region_names], np.float32)[head.region]
    normals = head.normals(vertices) @ rotation.T.astype(np.float32)
    triangles = torch.from_numpy(head.triangles)
    face, barycentric, _ = rasterize(torch.from_numpy(screen), triangles, SIZE, SIZE, perspective=False)
    attributes = torch.from_numpy(np.concatenate([colors, normals], 1).astype(np.float32))
    shaded = interpolate(attributes, triangles, face, barycentric).numpy()
    light = np.array((0.32, 0.46, 0.83))
    normal = shaded[..., 3:] / np.maximum(np.linalg.norm(shaded[..., 3:], axis=-1, keepdims=True), 1e-6)
    image = shaded[..., :3] * (0.3 + 0.7 * np.clip(normal @ light, 0, 1))[..., None]
    image[face.numpy() < 0] = 30
    return image.clip(0, 255).astype(np.uint8), pixels


@pytest.mark.parametrize(
    ("expression", "yaw", "pitch"),
    [
        ({}, 0, 0),
        ({}, 25, 0),
        ({}, -25, 0),
        ({}, 0, 15),
        ({"jawOpen": 0.5}, 0, 0),
        ({"mouthSmileLeft": 1, "mouthSmileRight": 1}, 0, 0),
        ({"eyeBlinkLeft": 1, "eyeBlinkRight": 1}, 0, 0),
        ({"browInnerUp": 1, "mouthPucker": 1}, 0, 0),
    ],
)
def test_the_detector_finds_the_landmarks(expression: dict[str, float], yaw: float, pitch: float) -> None:
    mediapipe = pytest.importorskip("mediapipe")
    head = heads.load()
    image, pixels = view(head, head.posed(head.expression_vector(**expression)), yaw, pitch)
    with mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True) as mesh:
        found = mesh.process(np.ascontiguousarray(image)).multi_face_landmarks
    assert found, "no face seen"
    landmarks = np.array([(point.x, point.y) for point in found[0].landmark]) * SIZE
    expected = pixels[head.landmarks]
    width = 0.136 * SCALE
    error = np.linalg.norm(landmarks - expected, axis=1) / width
    assert np.median(error) < 0.025
    assert np.percentile(error, 95) < 0.07
    if "eyeBlinkLeft" not in expression:
        assert error[468:].max() < 0.02
