"""The painted person of the Gaussians' tests, its head apart from its torso and labeled by region."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from avatarkit import heads
from avatarkit.data.labels import Label, encode
from avatarkit.files.track import Track
from avatarkit.methods.registry import Drive
from avatarkit.ops.raster import rasterize
from tests.methods.gaussians import person as painted

LABELS = {
    "ears": Label.EARS, "scalp": Label.HAIR, "neck": Label.NECK, "torso": Label.TORSO, "lips": Label.LIPS,
    "brows": Label.BROWS,
    "sclera": Label.EYES, "iris": Label.EYES, "pupil": Label.EYES, "mouth": Label.MOUTH_INTERIOR,
    "teeth": Label.MOUTH_INTERIOR, "gums": Label.MOUTH_INTERIOR, "tongue": Label.MOUTH_INTERIOR,
}  # fmt: skip


def make(folder: Path, frames: int = 14, size: int = 64) -> Track:
    """Writes the frames as PNG files into ``folder`` and returns their segmented track."""
    track = painted.make(folder, frames, size)
    head = heads.load()
    triangles = torch.from_numpy(np.ascontiguousarray(head.triangles))
    of_region = np.array([LABELS.get(name, Label.SKIN) for name in head.region_names], np.uint8)
    of_face = of_region[head.region[head.triangles[:, 0]]]
    mattes = []
    for t in range(frames):
        drive = Drive.of(track, t)
        seen = (
            head.posed(drive.expression, eyes=drive.eyes, neck=drive.neck) @ drive.rotation.T
            + drive.translation
        )
        flat = seen[:, :2] / seen[:, 2:] * track.intrinsics[0, 0] + track.intrinsics[:2, 2]
        pixels = torch.from_numpy(np.column_stack([flat, seen[:, 2]]).astype(np.float32))
        face = rasterize(pixels, triangles, size, size)[0].numpy()
        labels = np.where(face >= 0, of_face[face], Label.BACKGROUND).astype(np.uint8)
        matte = ((labels != Label.BACKGROUND) & (labels != Label.TORSO)).astype(np.float32)
        assert track.mattes is not None
        mattes.append({**track.mattes[t], "head": encode(matte), "labels": encode(labels)})
    return replace(track, mattes=mattes)
