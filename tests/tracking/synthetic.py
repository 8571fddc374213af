"""Heads with known identity, pose and expression, as a landmark detector would see them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from avatarkit import heads
from avatarkit.heads.landmarks import IRIS_LEFT, IRIS_RIGHT
from avatarkit.tracking.basis import Basis
from avatarkit.tracking.gaze import coefficients
from avatarkit.tracking.observed import Observations, observations

SIZE, FOCAL = 480, 768.0
INTRINSICS = np.array([[FOCAL, 0, SIZE / 2], [0, FOCAL, SIZE / 2], [0, 0, 1]], np.float32)
ACTIVE = (
    "jawOpen", "mouthSmileLeft", "mouthSmileRight", "eyeBlinkLeft", "eyeBlinkRight", "browInnerUp", "mouthPucker",
    "browDownLeft", "browDownRight", "mouthLeft",
)  # fmt: skip


@dataclass(frozen=True)
class Truth:
    """What a synthetic clip was made from, and what is seen of it."""

    template: Basis
    neutral: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    expression: np.ndarray
    gaze: np.ndarray
    points: np.ndarray
    """[N, 478, 3] pixels."""
    seen: Observations


def make(frames: int = 150, noise: float = 0.5, seed: int = 0, yaw: float = 8.0) -> Truth:
    """A clip of a made-up person who turns by +-``yaw`` degrees; landmarks carry ``noise`` pixels of deviation."""
    random = np.random.default_rng(seed)
    template = Basis.of(heads.load("builtin"))
    neutral = template.neutral + _identity(template, random)
    time = np.arange(frames) / 25.0
    angles = np.stack([yaw * np.sin(1.1 * time), 5 * np.sin(0.7 * time + 1), 4 * np.sin(0.9 * time + 2)], 1)
    rotation = (Rotation.from_euler("YXZ", angles, degrees=True)).as_matrix()
    rotation = np.diag([1.0, -1.0, -1.0]) @ rotation
    translation = np.stack(
        [0.02 * np.sin(time), 0.01 * np.cos(0.8 * time), 0.5 + 0.03 * np.sin(0.5 * time)], 1
    )
    expression = np.zeros((frames, len(template.names)), np.float32)
    for name in ACTIVE:
        curve = gaussian_filter1d(
            random.normal(size=frames), 1.5 if name.startswith("eyeBlink") else 4.0, mode="wrap"
        )
        expression[:, template.names.index(name)] = np.clip(0.45 * curve / curve.std(), 0, 1)
    for side in ("eyeBlink", "browDown", "mouthSmile"):
        left, right = template.names.index(f"{side}Left"), template.names.index(f"{side}Right")
        expression[:, right] = expression[:, left]
    gaze = np.stack([10 * np.sin(1.7 * time), 6 * np.sin(1.3 * time)], 1)
    both = np.repeat(gaze[:, None], 2, 1).astype(np.float32)
    expression = coefficients(both, template.names, expression)  # lids follow the eyes
    person = template.with_person(neutral.astype(np.float32), template.shapes)
    skin = neutral + np.einsum("ne,epc->npc", expression, template.shapes)
    axis = Rotation.from_euler("YX", gaze, degrees=True).as_matrix()[:, :, 2]
    irises = person.eyes[None] + template.eye_radius * axis[:, None]
    pixels = _project(np.concatenate([skin, irises], 1), rotation, translation)
    points = np.zeros((frames, 478, 3), np.float32)
    points[:, :468] = pixels[:, :468]
    points[:, list(IRIS_LEFT)], points[:, list(IRIS_RIGHT)] = pixels[:, 468, None], pixels[:, 469, None]
    points += random.normal(0, noise, points.shape)
    linked = np.ones(frames, bool)
    return Truth(
        template, neutral, rotation, translation, expression, gaze, points.astype(np.float32),
        observations(points.astype(np.float32), INTRINSICS, linked),
    )  # fmt: skip


def _identity(template: Basis, random: np.random.Generator) -> np.ndarray:
    """A smooth, left-right balanced offset of 2 to 3 mm: low-frequency waves over the face."""
    points = template.neutral / 0.1
    offset = np.zeros_like(points)
    for _ in range(6):
        wave = np.cos(points @ random.normal(0, 1.6, 3) + random.uniform(0, 6))
        offset += wave[:, None] * random.normal(0, 0.0013, 3)
    return offset


def _project(points: np.ndarray, rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    camera = points @ np.swapaxes(rotation, 1, 2) + translation[:, None]
    depth = (camera[..., 2:] - translation[:, None, 2:]) * FOCAL / translation[:, None, 2:]
    return np.concatenate([camera[..., :2] / camera[..., 2:] * FOCAL + SIZE / 2, depth], -1)
