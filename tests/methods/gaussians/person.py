"""A person whose every pixel is known: the built-in head, painted, talking and turning, as folder and track."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.spatial.transform import Rotation

from avatarkit import heads
from avatarkit.data.labels import encode
from avatarkit.files.probe import probe
from avatarkit.files.track import Track
from avatarkit.heads.arkit import NAMES
from avatarkit.ops.raster import interpolate, rasterize
from avatarkit.rendering.camera import Camera

FINE = 3
PAINT = {
    "skin": (0.8, 0.6, 0.5), "lips": (0.75, 0.3, 0.35), "brows": (0.25, 0.15, 0.1), "eyelids": (0.7, 0.5, 0.45),
    "sclera": (0.95, 0.95, 0.95), "iris": (0.2, 0.4, 0.6), "pupil": (0.02, 0.02, 0.02),
    "teeth": (0.95, 0.93, 0.85), "gums": (0.6, 0.25, 0.25), "tongue": (0.7, 0.3, 0.3), "mouth": (0.2, 0.05, 0.05),
    "sockets": (0.3, 0.15, 0.15), "ears": (0.75, 0.5, 0.4), "scalp": (0.2, 0.12, 0.08), "neck": (0.7, 0.5, 0.4),
    "torso": (0.2, 0.3, 0.6),
}  # fmt: skip


def painted(head: heads.HeadModel) -> np.ndarray:
    """[V, 3] a color for every vertex, by region and with a pattern."""
    color = np.array([PAINT[head.region_names[r]] for r in head.region])
    wave = np.sin(220 * head.vertices) * 0.08
    return np.clip(color + wave[:, [1, 0, 2]], 0, 1).astype(np.float32)


def make(folder: Path, frames: int = 40, size: int = 96) -> Track:
    """Writes the frames as PNG files into ``folder`` and returns their segmented track."""
    head = heads.load()
    color = torch.from_numpy(painted(head))
    k = np.array([[1.6 * size, 0, size / 2], [0, 1.6 * size, size / 2], [0, 0, 1]], np.float32)
    camera = Camera(k, size, size)
    fine = camera.scaled(FINE * size, FINE * size)
    time = np.arange(frames)
    expression = np.zeros((frames, len(NAMES)), np.float32)
    expression[:, NAMES.index("jawOpen")] = 0.35 - 0.35 * np.cos(time * 0.55)
    expression[:, NAMES.index("mouthSmileLeft")] = 0.5 - 0.5 * np.cos(time * 0.31 + 1)
    blink = np.clip(4 * np.sin(time * 0.4) - 3, 0, 1)
    expression[:, [NAMES.index("eyeBlinkLeft"), NAMES.index("eyeBlinkRight")]] = blink[:, None]
    turn = np.stack([12 * np.sin(time * 0.23), 5 * np.sin(time * 0.37)], 1)
    upright = np.diag([1.0, -1.0, -1.0])
    rotation = (upright @ Rotation.from_euler("YX", turn, degrees=True).as_matrix()).astype(np.float32)
    translation = np.tile(np.array([0.0, -0.01, 0.62], np.float32), (frames, 1))
    eyes = np.zeros((frames, 2, 3), np.float32)
    eyes[..., 1] = 0.3 * np.sin(time * 0.7)[:, None]
    posed = np.stack([head.posed(expression[t], eyes=eyes[t]) for t in time])
    seen = posed @ np.swapaxes(rotation, 1, 2) + translation[:, None]
    x, y = np.meshgrid(np.linspace(0, 1, size), np.linspace(0, 1, size))
    backdrop = np.stack([0.3 + 0.3 * x, 0.5 + 0.2 * y, 0.6 - 0.2 * x], -1).astype(np.float32)
    triangles = torch.from_numpy(np.ascontiguousarray(head.triangles))
    landmarks = np.zeros((frames, 478, 3), np.float32)
    mattes = []
    for t in time:
        flat = np.column_stack([fine.project(seen[t]), seen[t, :, 2]]).astype(np.float32)
        face, weights, _ = rasterize(torch.from_numpy(flat), triangles, fine.height, fine.width)
        picture = interpolate(color, triangles, face, weights).numpy()
        mask = (face.numpy() >= 0).astype(np.float32)
        alpha = cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA)
        image = cv2.resize(picture * mask[..., None], (size, size), interpolation=cv2.INTER_AREA)
        image = image + (1 - alpha[..., None]) * backdrop
        cv2.imwrite(str(folder / f"{t:04d}.png"), (image[..., ::-1] * 255 + 0.5).astype(np.uint8))
        matte = encode(alpha)
        labels = encode((alpha > 0.5).astype(np.uint8))
        mattes.append({"head": matte, "person": matte, "labels": labels, "frame": matte})
        landmarks[t, :, :2] = camera.project(seen[t][head.landmarks])
    zeros = np.zeros((frames, 3), np.float32)
    return Track(
        meta={
            "format": 1,
            "video": probe(folder).meta(),
            "head": {"name": "builtin", "version": head.version, "hash": head.hash()},
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
        eyes=eyes,
        neutral=head.vertices.copy(),
        landmarks=landmarks,
        residual=np.zeros(frames, np.float32),
        crop=np.array([0, 0, size, size], np.int32),
        mattes=mattes,
    )
