"""A person whose every pixel is known: an ellipsoid that opens a mouth, blushes and turns, as folder and track."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from avatarkit.data.labels import encode
from avatarkit.data.rays import SceneBox, pixel_rays
from avatarkit.files.probe import probe
from avatarkit.files.track import Track
from avatarkit.heads.arkit import NAMES
from avatarkit.rendering.camera import Camera

CENTER = np.array([0.0, -0.02, -0.08])
RADII = np.array([0.085, 0.12, 0.1])
BACKDROP = np.array([0.25, 0.45, 0.6], np.float32)
# Head space as it is, so that rays come out in meters.
METERS = SceneBox((0.5, 0.5, 0.5), 1.0)


def picture(camera: Camera, rotation: np.ndarray, translation: np.ndarray, jaw: float, smile: float):
    """[H, W, 3] uint8 picture and [H, W] uint8 head matte, four by four samples a pixel."""
    fine = camera.scaled(4 * camera.width, 4 * camera.height)
    x, y = np.meshgrid(np.arange(fine.width) + 0.5, np.arange(fine.height) + 0.5)
    origins, directions = pixel_rays(fine, rotation, translation, np.stack([x.ravel(), y.ravel()], 1), METERS)
    radii = RADII * (1, 1 + 0.12 * jaw, 1)
    o, d = (origins - CENTER) / radii, directions / radii
    a, b, c = (d * d).sum(1), (o * d).sum(1), (o * o).sum(1) - 1
    root = b * b - a * c
    hit = root > 0
    t = (-b - np.sqrt(np.maximum(root, 0))) / a
    point = origins + t[:, None] * directions
    normal = (point - CENTER) / radii
    skin = np.array([0.8, 0.6, 0.5]) + 0.1 * np.sin(60 * point[:, :1] + [0, 2, 4]) * np.cos(
        50 * point[:, 1:2]
    )
    front = point[:, 2] > -0.05
    cheek = front & (np.abs(np.abs(point[:, 0]) - 0.045) < 0.02) & (np.abs(point[:, 1] + 0.04) < 0.02)
    skin[cheek, 0] += 0.2 * smile
    skin[cheek, 2] -= 0.3 * smile
    mouth = front & ((point[:, 0] / 0.03) ** 2 + ((point[:, 1] + 0.07) / (0.006 + 0.025 * jaw)) ** 2 < 1)
    skin[mouth] = (0.25, 0.05, 0.08)
    for side in (-1, 1):
        eye = front & ((point[:, 0] - side * 0.032) ** 2 + point[:, 1] ** 2 < 0.012**2)
        skin[eye] = (0.95, 0.95, 0.95)
    skin[point[:, 1] > 0.05] = (0.2, 0.12, 0.08)
    shade = 0.75 + 0.25 * np.clip(normal[:, 2:], -1, 1)
    color = np.where(hit[:, None], skin * shade, BACKDROP)
    shape = (camera.height, 4, camera.width, 4, -1)
    image = np.clip(color.reshape(shape).mean((1, 3)), 0, 1)
    matte = hit.astype(np.float32).reshape(shape).mean((1, 3))[..., 0]
    return (image * 255 + 0.5).astype(np.uint8), (matte * 255 + 0.5).astype(np.uint8)


def make(folder: Path, frames: int = 40, size: int = 80, crop: tuple[int, int, int] = (8, 4, 64)) -> Track:
    """Writes the frames as PNG files into ``folder`` and returns their segmented track."""
    focal = 1.6 * size
    k = np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]], np.float32)
    camera = Camera(k, size, size)
    time = np.arange(frames)
    jaw = 0.5 - 0.5 * np.cos(time * 0.55)
    smile = 0.5 - 0.5 * np.cos(time * 0.31 + 1)
    yaw, pitch = 14 * np.sin(time * 0.23), 6 * np.sin(time * 0.37)
    upright = np.diag([1.0, -1.0, -1.0])
    rotation = (
        upright @ Rotation.from_euler("YX", np.stack([yaw, pitch], 1), degrees=True).as_matrix()
    ).astype(np.float32)
    translation = np.tile(np.array([0.0, 0.0, 0.55], np.float32), (frames, 1))
    expression = np.zeros((frames, len(NAMES)), np.float32)
    expression[:, NAMES.index("jawOpen")] = jaw
    expression[:, NAMES.index("mouthSmileLeft")] = smile
    landmarks = np.zeros((frames, 478, 3), np.float32)
    mattes = []
    x, y, side = crop
    for t in range(frames):
        image, matte = picture(camera, rotation[t], translation[t], jaw[t], smile[t])
        cv2.imwrite(str(folder / f"{t:04d}.png"), image[..., ::-1])
        head = encode(np.ascontiguousarray(matte[y : y + side, x : x + side]))
        mattes.append(
            {
                "head": head,
                "person": head,
                "labels": encode((matte[y : y + side, x : x + side] > 127).astype(np.uint8)),
                "frame": encode(matte),
            }
        )
        face = np.random.default_rng(0).uniform(-1, 1, (478, 3)) * (0.03, 0.012, 0) + (0, -0.07, 0.01)
        seen = face @ rotation[t].T + translation[t]
        landmarks[t, :, :2] = camera.project(seen)
    zeros = np.zeros((frames, 3), np.float32)
    return Track(
        meta={
            "format": 1,
            "video": probe(folder).meta(),
            "head": {"name": "builtin", "version": "1", "hash": ""},
        },
        frame=np.arange(frames, dtype=np.int32),
        valid=np.ones(frames, bool),
        intrinsics=k,
        rotation=rotation,
        translation=translation,
        expression=expression,
        expression_names=tuple(NAMES),
        neck=zeros,
        jaw=zeros,
        eyes=np.zeros((frames, 2, 3), np.float32),
        neutral=np.zeros((468, 3), np.float32),
        landmarks=landmarks,
        residual=np.zeros(frames, np.float32),
        crop=np.array([x, y, side, side], np.int32),
        mattes=mattes,
    )
