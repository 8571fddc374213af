"""A track drawn over its video, to judge it at sight."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from avatarkit import heads
from avatarkit.files.track import Track
from avatarkit.files.video import VideoWriter, probe, read_frames_at
from avatarkit.heads.landmarks import IRIS_LEFT, IRIS_RIGHT, MESH
from avatarkit.heads.template import face_topology
from avatarkit.rendering.camera import Camera

Image = NDArray[np.uint8]

MESH_COLOR, POINT_COLOR, LOST_COLOR = (90, 220, 255), (120, 255, 90), (255, 70, 70)
AXIS_COLORS = ((255, 70, 70), (90, 230, 90), (80, 130, 255))


class Progress(Protocol):
    """Something that counts frames."""

    def advance(self, steps: float = 1, **fields: Any) -> None:
        """Move on."""
        ...


def write_overlay(track: Track, source: Path, target: Path, progress: Progress | None = None) -> None:
    """Write a mp4 of the tracked frames of ``source`` with mesh, landmarks, gaze, head axes and crop drawn on."""
    info = probe(source)
    painter = Painter(track)
    fps = info.fps * (1 if len(track) < 2 else 1 / float(np.median(np.diff(track.frame))))
    with VideoWriter(target, info.width, info.height, fps, synthetic=False) as writer:
        for t, (_, image) in enumerate(read_frames_at(source, track.frame.tolist())):
            writer.write(painter.drawn(image, t))
            if progress is not None:
                progress.advance()


class Painter:
    """Draws one track's frames."""

    def __init__(self, track: Track) -> None:
        self.track = track
        head = heads.load(track.meta["options"]["head"])
        rows = head.landmarks[:MESH]
        self.neutral = track.neutral[rows]
        shapes = head.shapes if track.shapes is None else track.shapes
        self.shapes = shapes[:, rows].astype(np.float32)
        self.eyes = head.joints_of(track.neutral)[2:4]
        edges = np.sort(face_topology()[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), 1)
        self.edges = np.unique(edges, axis=0)

    def drawn(self, image: Image, t: int) -> Image:
        """``image`` [H, W, 3] of the t-th tracked frame with everything the track knows of it drawn on."""
        import cv2

        track = self.track
        canvas = image.copy()
        thick = max(1, round(min(image.shape[:2]) / 720))
        x, y, size, _ = (int(v) for v in track.crop)
        if not track.valid[t]:
            cv2.rectangle(canvas, (x, y), (x + size, y + size), LOST_COLOR, 2 * thick)
            return canvas
        cv2.rectangle(canvas, (x, y), (x + size, y + size), (200, 200, 200), thick)
        camera = Camera(track.intrinsics, image.shape[1], image.shape[0])
        points = self.neutral + np.tensordot(track.expression[t], self.shapes, 1)
        mesh = self._pixels(camera, points, t)
        mixed = canvas.copy()
        cv2.polylines(mixed, list(mesh[self.edges]), False, MESH_COLOR, thick, cv2.LINE_AA, 4)
        canvas = cv2.addWeighted(mixed, 0.45, canvas, 0.55, 0.0)
        for point in _fixed(track.landmarks[t, :MESH, :2]):
            cv2.circle(canvas, point, thick << 4, POINT_COLOR, -1, cv2.LINE_AA, 4)
        self._axes(canvas, camera, t, 2 * thick)
        self._gaze(canvas, camera, t, 2 * thick)
        return np.asarray(canvas, np.uint8)

    def _pixels(self, camera: Camera, points: NDArray[np.floating], t: int) -> NDArray[np.int32]:
        placed = points @ self.track.rotation[t].T + self.track.translation[t]
        return _fixed(camera.project(placed.astype(np.float32)))

    def _axes(self, canvas: Image, camera: Camera, t: int, thick: int) -> None:
        import cv2

        tips = self._pixels(camera, np.concatenate([np.zeros((1, 3)), 0.06 * np.eye(3)]), t)
        for tip, color in zip(tips[1:], AXIS_COLORS, strict=True):
            cv2.line(canvas, tips[0], tip, color, thick, cv2.LINE_AA, 4)

    def _gaze(self, canvas: Image, camera: Camera, t: int, thick: int) -> None:
        import cv2
        from scipy.spatial.transform import Rotation

        for eye, ring in enumerate((IRIS_LEFT, IRIS_RIGHT)):
            axis = Rotation.from_rotvec(self.track.eyes[t, eye]).as_matrix()[:, 2]
            line = self._pixels(camera, self.eyes[eye] + np.array([[0.0125], [0.05]]) * axis, t)
            cv2.line(canvas, line[0], line[1], (255, 255, 90), thick, cv2.LINE_AA, 4)
            circle = _fixed(self.track.landmarks[t, list(ring[1:]), :2])
            cv2.polylines(canvas, [circle], True, (255, 120, 220), thick, cv2.LINE_AA, 4)


def _fixed(pixels: NDArray[np.floating]) -> NDArray[np.int32]:
    """Pixels as OpenCV's fixed-point numbers with four fractional bits (its pixel centers lie at integers)."""
    bounded = np.clip(np.nan_to_num(pixels), -4096, 32768) - 0.5
    return np.round(bounded * 16).astype(np.int32)
