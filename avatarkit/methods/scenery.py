"""What stays behind the head: the clip's plate and torso, or a plain background, as pictures of the avatar file."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatarkit.data.plate import background_plate, torso_layer, usual_torso
from avatarkit.files.errors import AvatarkitError
from avatarkit.files.track import Track
from avatarkit.methods.registry import Progress
from avatarkit.rendering.composite import Scene

Image = NDArray[np.uint8]


def scenery(
    track: Track, source: Path, rest: int, background: str, progress: Progress
) -> tuple[Scene, dict[str, Tensor], str]:
    """The scene behind the head, its pictures as PNG bytes ``plate`` and ``torso``, and the policy's name.

    ``background``: ``plate`` (the clip's own, without the person), ``white``, ``black``, or an image file
    stretched to the frame. The torso is always the clip's, where it usually is (``usual_torso``).
    Raises AvatarkitError for an unreadable picture.
    """
    video = track.meta["video"]
    height, width = int(video["height"]), int(video["width"])
    progress({"stage": "background", "step": 0, "steps": 2})
    if background == "plate":
        plate = background_plate(track, source)
    elif background in ("white", "black"):
        plate = np.full((height, width, 3), 255 if background == "white" else 0, np.uint8)
    else:
        plate = _picture(Path(background), width, height)
    progress({"stage": "background", "step": 1, "steps": 2})
    at = usual_torso(track, rest)
    torso = torso_layer(track, source, at)
    taken = None if track.torso is None else np.asarray(track.torso[at], np.float32)
    crop = (int(track.crop[0]), int(track.crop[1]), int(track.crop[2]))
    pictures = {"plate": _png(plate)}
    if torso is not None:
        pictures["torso"] = _png(torso)
    policy = background if background in ("plate", "white", "black") else "image"
    return Scene(plate, torso, crop, taken), pictures, policy


def _picture(path: Path, width: int, height: int) -> Image:
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise AvatarkitError(
            f"--background {path}: {error.strerror}; give plate, white, black or an image"
        ) from error
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if image is None:
        raise AvatarkitError(f"--background {path}: not a picture; give plate, white, black or an image")
    return np.ascontiguousarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)[..., ::-1])


def _png(image: Image) -> Tensor:
    """[N] uint8 PNG bytes of an RGB or RGBA image."""
    order = [2, 1, 0, 3][: image.shape[2]]
    _, data = cv2.imencode(".png", np.ascontiguousarray(image[..., order]))
    return torch.from_numpy(data.reshape(-1).copy())
