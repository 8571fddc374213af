"""A method as another package could bring it: its avatar is one picture, shown whatever the drive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch

from avatarkit.files.track import Track
from avatarkit.methods.driving import reference
from avatarkit.methods.registry import Drive, Frame, Subject
from avatarkit.rendering.camera import Camera


@dataclass(frozen=True)
class Config:
    """It has no options."""


class PictureAvatar:
    """Shows ``picture`` [R, R, 3] uint8 in the crop, opaque everywhere."""

    def __init__(self, picture: torch.Tensor, header: dict[str, Any]) -> None:
        self.picture, self.header = picture, header

    def render(self, drive: Drive, camera: Camera) -> Frame:
        image = cv2.resize(self.picture.numpy(), (camera.width, camera.height), interpolation=cv2.INTER_AREA)
        return Frame(image.astype(np.float32) / 255, np.ones(image.shape[:2], np.float32))

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        return {"picture": self.picture}, self.header

    @classmethod
    def from_state(
        cls, tensors: dict[str, torch.Tensor], header: dict[str, Any], device: str
    ) -> PictureAvatar:
        return cls(tensors["picture"], header)


class Picture:
    name = "picture"
    Config = Config
    Avatar = PictureAvatar

    def fit(self, subject: Subject, config: Config, progress: Any) -> PictureAvatar:
        raise AssertionError("tests make the avatar themselves")


def picture_avatar(track: Track, picture: np.ndarray) -> PictureAvatar:
    """An avatar of ``track``'s person that shows ``picture`` [R, R, 3]."""
    video = track.meta["video"]
    header = {
        "method": "picture",
        "config": {"holdout": 0.1},
        "expression_names": list(track.expression_names),
        "reference": reference(track, np.arange(len(track))),
        "clip": {"sha256": video["sha256"]},
        "camera": {
            "intrinsics": track.intrinsics.tolist(),
            "width": video["width"],
            "height": video["height"],
        },
        "crop": track.crop.tolist(),
        "resolution": picture.shape[0],
    }
    return PictureAvatar(torch.from_numpy(picture), header)
