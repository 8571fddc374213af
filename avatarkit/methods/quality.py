"""What a fit says of itself: PSNR on training and held-out frames, and the preview picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from avatarkit.data.clip import ClipFrames
from avatarkit.data.regions import face_hull, head_above_jaw
from avatarkit.files.streams import atomic
from avatarkit.methods.registry import Frame
from avatarkit.metrics import image as metrics
from avatarkit.rendering.camera import Camera
from avatarkit.rendering.composite import Scene

Float = NDArray[np.float32]
Image = NDArray[np.uint8]
Draw = Callable[[int, Camera], Frame]
"""The head alone in the frame at a position of the track, as a camera sees it."""


MOST = 100.0
"""Decibels at which a frame's PSNR is cut off, as in ``eval``."""


@dataclass(frozen=True)
class Quality:
    """Mean PSNR over frames, dB; NaN without frames."""

    head: float
    """over the head matte"""
    frame: float
    """over the whole square crop as composited"""
    above_jaw: float
    """over ``data.regions.head_above_jaw``"""
    face: float
    """over ``data.regions.face_hull``"""


def quality_of(pictures: Iterable[tuple[int, Float]], clip: ClipFrames) -> Quality:
    """Of pictures [R, R, 3] of the frames at given positions; pixels outside the video frame count nowhere."""
    left, top, right, bottom = clip.visible
    seen = np.zeros((clip.resolution, clip.resolution), np.float32)
    seen[top:bottom, left:right] = 1
    found: dict[str, list[float]] = {"head": [], "frame": [], "above_jaw": [], "face": []}
    for position, picture in pictures:
        matte, points = clip.head(position), clip.points(position)
        regions = {
            "head": matte.astype(np.float32) / 255,
            "frame": seen,
            "above_jaw": head_above_jaw(matte, points),
            "face": face_hull(points, clip.resolution),
        }
        ours = torch.from_numpy(np.ascontiguousarray(picture, np.float32)).permute(2, 0, 1)[None]
        truth = torch.from_numpy(clip.rgb(position).astype(np.float32) / 255).permute(2, 0, 1)[None]
        for name, weight in regions.items():
            value = float(metrics.psnr(ours, truth, torch.from_numpy(weight * seen)[None, None]))
            if not math.isnan(value):
                found[name].append(min(value, MOST))
    return Quality(*(float(np.mean(found[f.name])) if found[f.name] else math.nan for f in fields(Quality)))


@dataclass
class Gauge:
    """Renders frames of a clip with the fit as it stands and compares them with the truth.

    The picture compared is the head over the scene's torso and plate, as a viewer sees it.
    """

    clip: ClipFrames
    scene: Scene
    pivot: Float
    """[3] head-space point that the torso follows"""
    rest: int
    """the frame that shows the torso as the scene has it"""

    def quality(self, draw: Draw, positions: NDArray[np.int64]) -> Quality:
        """Of the frames at ``positions``."""
        chosen = (int(position) for position in positions)
        return quality_of(((p, self.picture(draw, p)) for p in chosen), self.clip)

    def glance(self, draw: Draw, positions: NDArray[np.int64], share: int = 2) -> float:
        """Mean PSNR (dB) over the head mattes of the frames at ``positions``, at 1 / ``share`` of the resolution."""
        side = max(self.clip.resolution // share, 16)
        camera = self.clip.camera.scaled(side, side)
        values = []
        for position in positions:
            ours = self.picture(draw, int(position), camera)
            rgb, matte = (
                cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
                for image in (self.clip.rgb(int(position)), self.clip.head(int(position)))
            )
            prediction, truth = (torch.from_numpy(x).permute(2, 0, 1)[None] for x in (ours, rgb))
            values.append(float(metrics.psnr(prediction, truth, torch.from_numpy(matte)[None, None])))
        found = [min(value, MOST) for value in values if not math.isnan(value)]
        return float(np.mean(found)) if found else math.nan

    def picture(self, draw: Draw, position: int, camera: Camera | None = None) -> Float:
        """[R, R, 3] the crop of frame ``position`` as the fit would show it, R pixels of the clip or of ``camera``."""
        camera = camera or self.clip.camera
        head = draw(position, camera)
        behind = self.behind(position, camera.width)
        return behind + head.alpha[..., None] * (head.rgb - behind)

    def behind(self, position: int, resolution: int) -> Float:
        """[R, R, 3] what is behind the head in the crop of frame ``position``: the plate and the moved torso."""
        return self.scene.window(self.scene.behind(self._motion(position)), resolution)

    def preview(self, draw: Draw, positions: NDArray[np.int64], path: Path) -> None:
        """A PNG at ``path``: the frames at ``positions`` above, the fit's pictures of them below."""
        columns = []
        for position in positions:
            ours = (np.clip(self.picture(draw, int(position)), 0, 1) * 255 + 0.5).astype(np.uint8)
            columns.append(np.concatenate([self.clip.rgb(int(position)), ours]))
        sheet = np.concatenate(columns, 1)
        with atomic(path) as temporary:
            temporary.write_bytes(cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())

    def _motion(self, position: int) -> Float:
        """[2, 3] of the torso's picture: as the track followed it, else with the neck."""
        track = self.clip.track
        k = np.asarray(track.intrinsics, np.float64)
        ends = []
        for t in (position, self.rest):
            point = track.rotation[t] @ self.pivot + track.translation[t]
            ends.append(point[:2] / point[2] * (k[0, 0], k[1, 1]) + k[:2, 2])
        now, before = (None, None) if track.torso is None else track.torso[[position, self.rest]]
        return self.scene.motion(now, before, (ends[0], ends[1]))
