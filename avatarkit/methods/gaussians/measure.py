"""What a fit says of itself: PSNR on training and held-out frames, and the preview picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatarkit.files.streams import atomic
from avatarkit.methods.gaussians.footage import Footage
from avatarkit.methods.gaussians.puppet import Pose, Puppet

Float = NDArray[np.float32]
Image = NDArray[np.uint8]


class Sitter(Protocol):
    """Something that blends its Gaussians: a fit under way, or an avatar."""

    puppet: Puppet

    def gaussians(self, pose: Pose) -> Tensor:
        """[14, N]"""
        ...


@dataclass(frozen=True)
class Quality:
    """Mean PSNR over frames, dB; NaN without frames."""

    head: float
    """over the head matte"""
    frame: float
    """over the whole square crop as composited"""


@dataclass(frozen=True)
class Gauge:
    """Renders frames of a clip and compares them with the truth, before the background ``plate`` [R, R, 3].

    The head's error is averaged with the head matte as weight; pixels outside the video frame count nowhere.
    """

    clip: Footage
    plate: Float

    def quality(self, sitter: Sitter, poses: dict[int, Pose], positions: NDArray[np.int64]) -> Quality:
        """Of the frames at ``positions``, whose ``poses`` are known."""
        heads, frames = [], []
        left, top, right, bottom = self.clip.visible
        for position in (int(p) for p in positions):
            difference = self.picture(sitter, poses[position]).astype(np.float32) - self.clip.rgb(position)
            inside = np.square(difference[top:bottom, left:right] / 255).mean(-1)
            matte = self.clip.head(position)[top:bottom, left:right].astype(np.float32)
            if matte.sum() > 0:
                heads.append(_psnr(float((inside * matte).sum() / matte.sum())))
            frames.append(_psnr(float(inside.mean())))
        nothing = float("nan")
        return Quality(
            float(np.mean(heads)) if heads else nothing, float(np.mean(frames)) if frames else nothing
        )

    def picture(self, sitter: Sitter, pose: Pose) -> Image:
        """[R, R, 3] the crop as the sitter shows it in ``pose``."""
        with torch.no_grad():
            seen = sitter.puppet.draw(sitter.gaussians(pose), pose, self.clip.camera).numpy()
        image = seen[..., :3] + (1 - seen[..., 3:]) * self.plate
        return np.asarray(np.clip(image, 0, 1) * 255 + 0.5, np.uint8)

    def preview(
        self, sitter: Sitter, poses: dict[int, Pose], positions: NDArray[np.int64], path: Path
    ) -> None:
        """A PNG at ``path``: the frames at ``positions`` above, the pictures of them below."""
        columns = [
            np.concatenate([self.clip.rgb(position), self.picture(sitter, poses[position])])
            for position in (int(p) for p in positions)
        ]
        sheet = np.concatenate(columns, 1)
        with atomic(path) as temporary:
            temporary.write_bytes(cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())


def _psnr(squared_error: float) -> float:
    """Decibels for a peak of one; 100 dB at most."""
    return float(-10 * np.log10(max(squared_error, 1e-10)))
