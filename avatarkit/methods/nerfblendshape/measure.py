"""What a fit says of itself: PSNR on training and held-out frames, and the preview picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatarkit.data.clip import ClipFrames
from avatarkit.files.streams import atomic
from avatarkit.methods.nerfblendshape.avatar import as_frame
from avatarkit.methods.nerfblendshape.trainer import Trainer
from avatarkit.rendering.composite import Scene, torso_motion

Float = NDArray[np.float32]
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Quality:
    """Mean PSNR over frames, dB; NaN without frames."""

    head: float
    """over the head matte"""
    frame: float
    """over the whole square crop as composited"""


def psnr(squared_error: float) -> float:
    """Decibels for a peak of one; 100 dB at most."""
    return float(-10 * np.log10(max(squared_error, 1e-10)))


@dataclass
class Gauge:
    """Renders frames of a clip with the fit as it stands and compares them with the truth.

    The picture compared is the head over the scene's torso and plate, as a viewer sees it. The head's error
    is averaged with the head matte as weight; pixels outside the video frame count nowhere.
    """

    clip: ClipFrames
    scene: Scene
    pivot: Float
    """[3] head-space point that the torso follows"""
    rest: int
    """the frame that shows the torso as the scene has it"""

    def quality(
        self, trainer: Trainer, positions: NDArray[np.int64], bitfield: Tensor | None = None
    ) -> Quality:
        """Of the frames at ``positions``."""
        heads, frames = [], []
        left, top, right, bottom = self.clip.visible
        for position in positions:
            difference = (self.picture(trainer, int(position), bitfield) - self._truth(int(position))) ** 2
            inside = difference[top:bottom, left:right].mean(-1)
            matte = self.clip.head(int(position))[top:bottom, left:right].astype(np.float32) / 255
            if matte.sum() > 0:
                heads.append(psnr(float((inside * matte).sum() / matte.sum())))
            frames.append(psnr(float(inside.mean())))
        if not heads:
            return Quality(float("nan"), float("nan"))
        return Quality(float(np.mean(heads)), float(np.mean(frames)))

    def picture(self, trainer: Trainer, position: int, bitfield: Tensor | None = None) -> Float:
        """[R, R, 3] the crop of frame ``position`` as the fit would show it."""
        track, camera = self.clip.track, self.clip.camera
        with torch.no_grad():
            table = trainer.tables.blend(trainer.coefficients[position : position + 1])[0]
            rendered = trainer.field.image(
                table,
                torch.from_numpy(track.rotation[position]),
                torch.from_numpy(track.translation[position]),
                camera,
                trainer.grid.dense if bitfield is None else bitfield,
            )
        head = as_frame(rendered, camera)
        behind = self.scene.window(self.scene.behind(self._motion(position)), camera.width)
        return behind + head.alpha[..., None] * (head.rgb - behind)

    def preview(self, trainer: Trainer, positions: NDArray[np.int64], path: Path) -> None:
        """A PNG at ``path``: the frames at ``positions`` above, the fit's pictures of them below."""
        columns = []
        for position in positions:
            ours = (np.clip(self.picture(trainer, int(position)), 0, 1) * 255 + 0.5).astype(np.uint8)
            columns.append(np.concatenate([self.clip.rgb(int(position)), ours]))
        sheet = np.concatenate(columns, 1)
        with atomic(path) as temporary:
            temporary.write_bytes(cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())

    def _truth(self, position: int) -> Float:
        return self.clip.rgb(position).astype(np.float32) / 255

    def _motion(self, position: int) -> Float:
        track = self.clip.track
        k = np.asarray(track.intrinsics, np.float64)
        ends = []
        for t in (position, self.rest):
            point = track.rotation[t] @ self.pivot + track.translation[t]
            ends.append(point[:2] / point[2] * (k[0, 0], k[1, 1]) + k[:2, 2])
        return torso_motion(ends[0], ends[1])
