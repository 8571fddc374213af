"""Geometry of ``nha`` on people whose every vertex is known (table 1 of Grassal et al. 2022).

``python tests/benchmarks/bench_nha_geometry.py [subjects] [steps] [threads] [sheet.png]``. A subject is the
built-in head with another face, a shell of hair and painted skin, that talks and turns; 200 frames train, 210
validate. Landmarks and regions are the true ones with noise, as in the paper; the tracked head has the true
face with noise and no hair. Printed: mean angular error of rendered normals over the head, and mean one-sided
distance from the predicted to the true surface, full head and face, of the untouched tracked head and of the
fit, both in the poses that were tracked.

After 100 steps on every third training frame, at 160 pixels, four validation frames (tracked -> fit):

    subject   normals           full head           face
    short      7.34 ->  7.00    2.31 -> 2.21 mm     1.51 -> 1.55 mm
    long      14.07 -> 13.72    5.20 -> 4.97 mm     1.65 -> 1.68 mm
    bun        7.02 ->  6.48    2.25 -> 2.12 mm     1.47 -> 1.48 mm
    bald       3.90 ->  3.78    1.48 -> 1.48 mm     1.52 -> 1.53 mm
    short      7.33 ->  6.42    2.31 -> 2.03 mm     1.51 -> 1.57 mm     (250 steps, 192 pixels)

Distances were then taken to 50,000 points of the true surface, not the 150,000 of this script, and come out larger.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from avatarkit import heads
from avatarkit.data.clip import ClipFrames
from avatarkit.data.labels import Label, encode
from avatarkit.files.probe import probe
from avatarkit.files.track import Track
from avatarkit.heads.arkit import NAMES
from avatarkit.methods.nha import config
from avatarkit.methods.nha.template import EYES, INSIDE
from avatarkit.methods.nha.trainer import Trainer
from avatarkit.ops import set_threads
from avatarkit.ops.native import retain_memory
from avatarkit.ops.raster import interpolate, rasterize
from avatarkit.rendering.camera import Camera

SIZE, TRAINING, VALIDATION, MEASURED = 256, 200, 210, 15
HAIR = {"short": (0.012, 0.0), "long": (0.022, 0.03), "bun": (0.010, 0.0), "bald": (0.0, 0.0)}
"""Thickness of the shell on the scalp, and on the back of the neck, meters."""
LABELS = {
    "ears": Label.EARS,
    "scalp": Label.HAIR, "neck": Label.NECK, "torso": Label.TORSO, "lips": Label.LIPS, "brows": Label.BROWS,
    "sclera": Label.EYES, "iris": Label.EYES, "pupil": Label.EYES, "mouth": Label.MOUTH_INTERIOR,
    "teeth": Label.MOUTH_INTERIOR, "gums": Label.MOUTH_INTERIOR, "tongue": Label.MOUTH_INTERIOR,
}  # fmt: skip
LOWEST = -0.15
"""Head space y (meters) down to which surfaces are compared: below is the neck's cut."""


@dataclass
class Subject:
    """A person that is known."""

    name: str
    neutral: np.ndarray
    """[V, 3] with hair"""
    track: Track
    folder: Path
    seen: np.ndarray
    """[T, V, 3] true vertices, camera space"""


def shaped(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """True neutral head [V, 3] of a subject, and what a tracker makes of its face, without hair."""
    head, rng = heads.load(), np.random.default_rng(seed)
    points = head.vertices[head.landmarks[:468]]
    offset = points * rng.uniform(-0.06, 0.06, 3)
    for _ in range(5):  # broad bumps
        middle, reach = points[rng.integers(468)], rng.uniform(0.015, 0.04)
        bump = np.exp(-np.square(points - middle).sum(1) / (2 * reach**2))
        offset += bump[:, None] * rng.normal(0, 0.002, 3)
    bare = head.vertices + head.extended(offset)
    noise = np.stack(
        [np.exp(-np.square(points - points[i]).sum(1) / (2 * 0.02**2)) for i in range(0, 468, 40)]
    )
    tracked = head.vertices + head.extended(offset + noise.T @ rng.normal(0, 0.0006, (len(noise), 3)))
    thickness, nape = HAIR[kind]
    normals = head.normals(bare)
    scalp, neck = head.region_mask("scalp"), head.region_mask("neck") & (bare[:, 2] < -0.06)
    shell = np.zeros(len(bare))
    # rising from the hairline, and uneven
    rise = np.clip((np.linalg.norm(bare - points.mean(0), axis=1) - 0.075) / 0.03, 0.15, 1)
    waves = 1 + 0.2 * np.sin(90 * bare[:, 0] + rng.uniform(0, 6)) * np.cos(70 * bare[:, 1])
    shell[scalp] = (thickness * rise * waves)[scalp]
    shell[neck] = nape * np.clip((-0.06 - bare[neck, 2]) / 0.03, 0, 1) * waves[neck]
    if kind == "bun":
        top = bare[scalp][bare[scalp][:, 1].argmax()]
        shell += 0.03 * np.exp(-np.square(bare - top).sum(1) / (2 * 0.02**2))
    return (bare + shell[:, None] * normals).astype(np.float32), tracked.astype(np.float32)


def painted(head: heads.HeadModel, rng: np.random.Generator, bald: bool) -> np.ndarray:
    """[V, 3] colors by region with a pattern."""
    tint = {
        "scalp": (0.2, 0.13, 0.08),
        "lips": (0.7, 0.3, 0.33),
        "sclera": (0.93, 0.93, 0.93),
        "iris": (0.2, 0.4, 0.6),
    }
    if bald:
        del tint["scalp"]
    color = np.array([tint.get(head.region_names[r], (0.8, 0.6, 0.5)) for r in head.region])
    color += 0.06 * np.sin(150 * head.vertices[:, [1, 0, 2]] + rng.uniform(0, 6, 3))
    return np.clip(color, 0, 1).astype(np.float32)


def subject(kind: str, seed: int, folder: Path) -> Subject:
    """Renders the frames of a subject into ``folder``."""
    head, rng = heads.load(), np.random.default_rng(seed + 100)
    truth, tracked = shaped(kind, seed)
    frames = TRAINING + VALIDATION
    time_ = np.arange(frames)
    k = np.array([[1.7 * SIZE, 0, SIZE / 2], [0, 1.7 * SIZE, SIZE / 2], [0, 0, 1]], np.float32)
    camera = Camera(k, SIZE, SIZE)
    expression = np.zeros((frames, 52), np.float32)
    for name, speed in (
        ("jawOpen", 0.31),
        ("mouthSmileLeft", 0.17),
        ("mouthSmileRight", 0.17),
        ("browInnerUp", 0.11),
    ):
        expression[:, NAMES.index(name)] = 0.35 - 0.35 * np.cos(time_ * speed)
    # both sides of the head are seen, as in the paper's recordings
    turn = np.stack([38 * np.sin(time_ * 0.061), 12 * np.sin(time_ * 0.043)], 1)
    rotation = np.diag([1.0, -1.0, -1.0]) @ Rotation.from_euler("YX", turn, degrees=True).as_matrix()
    translation = np.tile(np.array([0.0, -0.02, 0.72]), (frames, 1))
    # the torso stays: the neck gives way to the head's turn
    neck = Rotation.from_euler("YX", turn, degrees=True).as_rotvec().astype(np.float32)
    seen = head.posed(expression, neck=neck, neutral=truth)
    seen = (seen @ np.swapaxes(rotation, 1, 2) + translation[:, None]).astype(np.float32)
    color, triangles = (
        painted(head, rng, kind == "bald"),
        torch.from_numpy(np.ascontiguousarray(head.triangles)),
    )
    known = LABELS | ({"scalp": Label.SKIN} if kind == "bald" else {})
    of_face = np.array([known.get(n, Label.SKIN) for n in head.region_names], np.uint8)[
        head.region[head.triangles[:, 0]]
    ]
    landmarks, mattes = np.zeros((frames, 478, 3), np.float32), []
    for t in time_:
        flat = np.column_stack([camera.project(seen[t]), seen[t, :, 2]]).astype(np.float32)
        face, share, _ = rasterize(torch.from_numpy(flat), triangles, SIZE, SIZE)
        normal = head.normals(seen[t])
        lit = color * (0.45 + 0.55 * np.clip(-normal[:, 2:] * 0.9 - normal[:, 1:2] * 0.3, 0, 1))
        picture = interpolate(torch.from_numpy(lit.astype(np.float32)), triangles, face, share).numpy()
        labels = np.where(face.numpy() >= 0, of_face[face.numpy()], Label.BACKGROUND).astype(np.uint8)
        picture[labels == Label.BACKGROUND] = (0.5, 0.6, 0.5)
        cv2.imwrite(str(folder / f"{t:04d}.png"), (picture[..., ::-1] * 255 + 0.5).astype(np.uint8))
        whole = (labels != Label.BACKGROUND).astype(np.float32)
        matte = encode(whole * (labels != Label.TORSO))
        mattes.append(
            {"head": matte, "person": encode(whole), "labels": encode(labels), "frame": encode(whole)}
        )
        landmarks[t, :, :2] = camera.project(seen[t][head.landmarks]) + rng.normal(0, 0.3, (478, 2))
    jitter = Rotation.from_rotvec(np.radians(rng.normal(0, 0.3, (frames, 3)))).as_matrix()
    track = Track(
        meta={"format": 1, "video": probe(folder).meta(), "head": {"name": "builtin"}},
        frame=np.arange(frames, dtype=np.int32), valid=np.ones(frames, bool), intrinsics=k,
        rotation=(jitter @ rotation).astype(np.float32),
        translation=(translation + rng.normal(0, 0.0005, (frames, 3))).astype(np.float32),
        expression=np.clip(expression + rng.normal(0, 0.03, expression.shape), 0, 1).astype(np.float32),
        expression_names=tuple(NAMES), neck=neck, jaw=np.zeros((frames, 3), np.float32),
        eyes=np.zeros((frames, 2, 3), np.float32), neutral=tracked, landmarks=landmarks,
        residual=np.zeros(frames, np.float32), crop=np.array([0, 0, SIZE, SIZE], np.int32), mattes=mattes,
    )  # fmt: skip
    return Subject(kind, truth, track, folder, seen)


def sampled(points: np.ndarray, triangles: np.ndarray, count: int = 150_000) -> np.ndarray:
    """Points [count, 3] spread evenly over a surface."""
    rng = np.random.default_rng(0)
    a, b, c = (points[triangles[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    chosen = rng.choice(len(triangles), count, p=area / area.sum())
    u, v = rng.random((2, count, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    return a[chosen] + u * (b - a)[chosen] + v * (c - a)[chosen]


def measured(who: Subject, trainer: Trainer, refined: bool) -> tuple[np.ndarray, np.ndarray]:
    """[3] degrees, millimeters (full head, face); and a picture of normals of some frames, the truth above."""
    head, figure = heads.load(), trainer.figure
    triangles = torch.from_numpy(np.ascontiguousarray(head.triangles))
    template = figure.template
    outer = ~np.isin(template.group, [EYES, INSIDE]) & (template.neutral[:, 1] > LOWEST)
    facial = outer & (template.facial > 0.9)
    camera, rows, columns = trainer.clip.camera, [], []
    for t in np.linspace(TRAINING, TRAINING + VALIDATION - 1, MEASURED).astype(int):
        moment = trainer.moment(int(t))
        with torch.no_grad():
            vertices = figure.shape(moment, trainer.fields()).vertices if refined else figure.tracked(moment)
            surface = figure.surface(vertices, camera)
        seen = who.seen[t]
        flat = np.column_stack([camera.project(seen), seen[:, 2]]).astype(np.float32)
        face, share, _ = rasterize(torch.from_numpy(flat), triangles, SIZE, SIZE)
        normal = torch.from_numpy(head.normals(seen))
        true = torch.nn.functional.normalize(interpolate(normal, triangles, face, share), dim=-1)
        mask = torch.from_numpy(trainer.clip.head(int(t)) > 127) & (surface.face >= 0)
        cosine = (true * surface.normals).sum(-1).clamp(-1, 1)[mask]
        tree = cKDTree(sampled(seen, head.triangles))
        distance = tree.query(vertices.numpy())[0] * 1000
        rows.append(
            [
                float(torch.rad2deg(torch.arccos(cosine)).mean()),
                distance[outer].mean(),
                distance[facial].mean(),
            ]
        )
        if len(columns) < 4:
            pair = [(n.numpy() * (0.5, -0.5, -0.5) + 0.5) * (f >= 0).numpy()[..., None]
                    for n, f in ((true, face), (surface.normals, surface.face))]  # fmt: skip
            columns.append(np.concatenate(pair))
    return np.mean(rows, 0), np.concatenate(columns, 1)


def main() -> None:
    """Print one table."""
    names = (sys.argv[1] if len(sys.argv) > 1 else "short,long,bun,bald").split(",")
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    threads = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    set_threads(threads)
    retain_memory()
    print(
        f"{steps} steps of the geometry stage, {TRAINING} frames, {VALIDATION} to validate ({MEASURED} measured)"
    )
    print(
        f"{'subject':8s}{'':10s}{'normals':>10s}{'full head':>12s}{'face':>10s}{'minutes':>10s}", flush=True
    )
    sheets = []
    for seed, name in enumerate(names):
        with tempfile.TemporaryDirectory() as folder:
            who = subject(name, seed, Path(folder))
            with ClipFrames(who.track, Path(folder), SIZE) as clip:
                made = config.make(steps=steps + 1, geometry_share=0.9, texture_share=0.1, threads=threads)
                trainer = Trainer.create(made, clip, np.arange(TRAINING), heads.load())
                before, _ = measured(who, trainer, False)
                began = time.perf_counter()
                while trainer.stage == 0:
                    trainer.advance()
                minutes = (time.perf_counter() - began) / 60
                trainer._fields = None
                after, sheet = measured(who, trainer, True)
        sheets.append(sheet)
        for title, row, spent in (("tracked", before, ""), ("nha", after, f"{minutes:.1f}")):
            print(
                f"{name:8s}{title:10s}{row[0]:9.2f}°{row[1]:9.2f} mm{row[2]:7.2f} mm{spent:>10s}", flush=True
            )
    if len(sys.argv) > 4:
        cv2.imwrite(sys.argv[4], (np.concatenate(sheets)[..., ::-1] * 255).astype(np.uint8))


if __name__ == "__main__":
    main()
