"""The method as the registry knows it: from a segmented photo to an avatar."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.data.plate import person_in_frame
from avatarkit.files.errors import AvatarkitError
from avatarkit.files.track import Track
from avatarkit.files.video import read_frames_at
from avatarkit.methods.driving import neutral_frame
from avatarkit.methods.photo import config, glasses, hands
from avatarkit.methods.photo.avatar import PhotoAvatar
from avatarkit.methods.photo.prepare import layers
from avatarkit.methods.photo.transfer import LIMITS
from avatarkit.methods.registry import Progress, Subject


class Photo:
    """A layered 2.5-D warp of one photo, driven by landmarks; no network weights."""

    name = "photo"
    Config = config.Config
    Avatar = PhotoAvatar

    def fit(self, subject: Subject, config: config.Config, progress: Progress) -> PhotoAvatar:
        """The avatar of a segmented photo; of a clip, of its most neutral frame.

        ``progress`` is called with ``stage`` and its ``step`` of ``steps``. Raises AvatarkitError for tracks
        without mattes, NoFaceError for tracks without a face.
        """
        started = time.perf_counter()
        track = subject.track
        t = neutral_frame(track)
        image = _frame(subject, t)
        matte = person_in_frame(track, _matted(track, t))
        height, width = _size(image.shape[0], image.shape[1], config.size)
        scale = np.array([width / image.shape[1], height / image.shape[0]])
        small = _resized(image, width, height)
        scaled = track.landmarks[t] * np.array([*scale, scale[0]])
        points = scaled.astype(np.float32).astype(np.float64)  # as the file keeps them
        # the hands' model is loaded and run while the layers are made
        with ThreadPoolExecutor(1, "hands") as beside:
            seen = beside.submit(hands.found, small)
            parts = layers(small, _resized(matte, width, height), points, seed=config.seed)
        progress({"stage": "preparing the photo", "step": 1, "steps": 2})
        head: dict[str, NDArray[Any]] = {"neutral": track.neutral}
        if track.shapes is not None:
            head["shapes"] = track.shapes.astype(np.float32)
        header = _header(track, t, config, width, height)
        header["hands"] = hands.on_face(seen.result(), points[:, :2]).round(1).tolist()
        header["glasses"] = glasses.worn(small, points)
        avatar = PhotoAvatar(header, parts, points, head)
        rest = np.clip(avatar.layers.photo - avatar.lost.transpose(1, 2, 0), 0, 255)
        error = float(np.square(rest - avatar.layers.photo).mean())
        header["metrics"] = {
            "seconds": time.perf_counter() - started,
            "steps": 1,
            "rest_psnr_layers": 10 * np.log10(255**2 / max(error, 1e-6)),
        }
        progress({"stage": "preparing the photo", "step": 2, "steps": 2})
        return avatar


def _frame(subject: Subject, t: int) -> NDArray[np.uint8]:
    index = int(subject.track.frame[t])
    for found, image in read_frames_at(subject.source, [index]):
        if found == index:
            return image
    raise AvatarkitError(f"{subject.source}: frame {index} is missing: is this what the track was made from?")


def _matted(track: Track, t: int) -> int:
    """``t``, if its crop has a matte."""
    if track.mattes is None or "person" not in track.mattes[t]:
        raise AvatarkitError("the track holds no mattes: run 'avatarkit segment' on it first")
    return t


def _size(height: int, width: int, longest: int) -> tuple[int, int]:
    """Even height and width of the frames (video needs even ones), the longer at most ``longest``."""
    scale = min(1.0, longest / max(height, width))
    return max(2, 2 * round(height * scale / 2)), max(2, 2 * round(width * scale / 2))


def _resized(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _header(track: Track, t: int, config: config.Config, width: int, height: int) -> dict[str, Any]:
    video = track.meta["video"]
    scale = width / int(video["width"])
    k = np.array(track.intrinsics, np.float64)
    k[0] *= scale
    k[1] *= height / int(video["height"])
    count = len(track.expression_names)
    crop = [round(float(v) * scale) for v in track.crop[:3]]
    return {
        "method": Photo.name,
        "config": asdict(config),
        "head": track.meta.get("head", {}),
        "expression_names": list(track.expression_names),
        "reference": {
            "frame": int(track.frame[t]),
            "neutral": {
                key: np.asarray(getattr(track, key)[t]).tolist()
                for key in ("rotation", "translation", "expression", "neck", "jaw", "eyes")
            },
            "expression_range": [[0.0] * count, [1.0] * count],
            "turn_range": LIMITS.tolist(),
        },
        "clip": {key: video.get(key) for key in ("name", "sha256", "width", "height", "fps", "frames")},
        "camera": {"intrinsics": k.tolist(), "width": width, "height": height},
        "crop": [crop[0], crop[1], max(crop[2], 16), max(crop[2], 16)],
        "resolution": max(crop[2], 16),
        "background": "plate",
        "seed": config.seed,
        "device": "cpu",
    }
