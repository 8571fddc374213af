"""The demo's clip: the subject acts, the camera rolls, and the truth is written down beside it as a track."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from avatarkit import __version__
from avatarkit.files.track import FORMAT_VERSION, Track
from avatarkit.heads import arkit
from avatarkit.heads.model import HeadModel
from avatarkit.ops.native import module
from avatarkit.rendering.camera import Camera
from avatarkit.rendering.performance import Performance
from avatarkit.rendering.subject import DemoSubject, Pose, studio_background

Array = NDArray[np.float32]

FOCAL = 1.6
"""Focal length in image widths: what ``track`` assumes when it is not told."""
DISTANCE, RISE = 0.63, 0.020
"""From the camera to the head, and the head above the image's middle; meters."""


@dataclass(frozen=True)
class Clip:
    """A performance set before the camera."""

    performance: Performance
    camera: Camera
    rotation: Array
    """[T, 3, 3] head to camera."""
    translation: Array
    """[T, 3]"""

    @classmethod
    def of(cls, performance: Performance, size: int) -> Clip:
        """``performance`` before a square camera of ``size`` pixels."""
        k = np.array([[FOCAL * size, 0, size / 2], [0, FOCAL * size, size / 2], [0, 0, 1]], np.float32)
        rotation, translation = performance.to_camera(DISTANCE, (0.0, RISE))
        return cls(performance, Camera(k, size, size), rotation, translation)

    def frames(self, subject: DemoSubject, threads: int | None = None) -> Iterator[NDArray[np.uint8]]:
        """Render frame after frame: [H, W, 3] uint8, ``threads`` of them (default: one a core) at a time.

        Whole frames side by side keep the cores busier than threads within a frame, and the pixels are the same.
        """
        background = studio_background(self.camera)
        p = self.performance
        workers = threads or os.cpu_count() or 1

        def draw(t: int) -> NDArray[np.uint8]:
            pose = Pose(p.expression[t], p.neck[t], p.eyes[t], self.rotation[t], self.translation[t])
            return subject.render(pose, self.camera, background)

        before = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(workers, initializer=_alone) as pool:
                waiting: deque[Future[NDArray[np.uint8]]] = deque()
                for t in range(len(p)):
                    waiting.append(pool.submit(draw, t))
                    if len(waiting) > 2 * workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
        finally:
            torch.set_num_threads(before)

    def truth(self, head: HeadModel, video: dict[str, Any]) -> Track:
        """What a perfect tracker would find; ``video`` is the clip's entry in the track's meta."""
        p, frames = self.performance, len(self.performance)
        marks = np.stack([
            head.posed(p.expression[t], neck=p.neck[t], eyes=p.eyes[t])[head.landmarks] for t in range(frames)
        ])  # fmt: skip
        seen = np.einsum("tij,tlj->tli", self.rotation, marks) + self.translation[:, None]
        pixels = self.camera.project(seen)
        depth = (seen[..., 2] - seen[..., 2].mean(1, keepdims=True)) * (
            self.camera.intrinsics[0, 0] / DISTANCE
        )
        low, high = pixels.min((0, 1)), pixels.max((0, 1))
        side = int(1.75 * float((high - low).max()))
        corner = ((low + high) / 2 - side * np.array([0.5, 0.52])).astype(np.int32)
        return Track(
            meta={
                "format": FORMAT_VERSION, "tool": f"avatarkit {__version__}", "video": video,
                "head": {"name": head.name, "version": head.version, "hash": head.hash()},
                "conventions": "head to camera, OpenCV axes, meters", "options": {"truth": p.name}, "cuts": [],
            },
            frame=np.arange(frames, dtype=np.int32),
            valid=np.ones(frames, bool),
            intrinsics=self.camera.intrinsics,
            rotation=self.rotation,
            translation=self.translation,
            expression=p.expression,
            expression_names=arkit.NAMES,
            neck=p.neck,
            jaw=np.zeros((frames, 3), np.float32),
            eyes=p.eyes,
            neutral=head.vertices,
            landmarks=np.concatenate([pixels, depth[..., None]], 2).astype(np.float32),
            residual=np.zeros(frames, np.float32),
            crop=np.array([*corner, side, side], np.int32),
        )  # fmt: skip


def _alone() -> None:
    """Kernels and torch operations called from this thread use no further threads."""
    torch.set_num_threads(1)
    native = module()
    if native is not None:
        native.set_threads(1)


@dataclass(frozen=True)
class TrackingError:
    """How far a track is from the truth, over the frames that both hold."""

    frames: int
    rotation_degrees: float
    """median angle between the rotations, after the constant part of their difference is taken out: a tracker
    cannot know where the truth's head model has its straight ahead."""
    coefficient_r: float
    """median Pearson correlation over the expressions that move in the truth (deviation above .04)."""
    landmark_pixels: float
    """median distance between the tracked and the true landmarks' places."""
    correlations: dict[str, float]
    """the correlation of every such expression."""


def tracking_error(track: Track, truth: Track) -> TrackingError:
    """Compare a ``track`` of the demo's video with its ``truth``."""
    _, mine, true = np.intersect1d(track.frame, truth.frame, return_indices=True)
    keep = track.valid[mine]
    mine, true = mine[keep], true[keep]
    if not len(mine):
        return TrackingError(0, float("nan"), float("nan"), float("nan"), {})
    ours, exact = track.rotation[mine].astype(np.float64), truth.rotation[true].astype(np.float64)
    offset = _mean_rotation(np.swapaxes(exact, 1, 2) @ ours)
    left = np.swapaxes(exact @ offset, 1, 2) @ ours
    angle = np.degrees(np.arccos(np.clip((np.trace(left, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    correlations = {}
    for i, name in enumerate(truth.expression_names):
        wanted = truth.expression[true, i]
        if wanted.std() < 0.04 or name not in track.expression_names:
            continue
        found = track.expression[mine, track.expression_names.index(name)]
        correlations[name] = float(np.corrcoef(wanted, found)[0, 1]) if found.std() > 1e-6 else 0.0
    distance = np.linalg.norm((track.landmarks[mine] - truth.landmarks[true])[..., :2], axis=-1)
    return TrackingError(
        len(mine), float(np.median(angle)), float(np.median(list(correlations.values()))),
        float(np.nanmedian(distance)), correlations,
    )  # fmt: skip


def _mean_rotation(rotations: NDArray[np.float64]) -> NDArray[np.float64]:
    """The chordal mean of ``rotations`` [N, 3, 3]."""
    u, _, vt = np.linalg.svd(rotations.mean(0))
    mean: NDArray[np.float64] = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    return mean
