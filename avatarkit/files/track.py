"""The track file (``*.track.npz``): one clip of one person, frame by frame. Never pickled."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
FORMAT_VERSION = 1


@dataclass
class Track:
    """T tracked frames of one person; E expressions, V head vertices, L = 478 landmarks, P extra components.

    Pixels are those of the upright full video frame, pixel centers at integer + 0.5; lengths in meters.
    """

    meta: dict[str, Any]
    """format, tool, video {name, sha256, width, height, fps, frames, rotation, has_audio},
    head {name, version, hash}, conventions, options, cuts."""
    frame: NDArray[np.int32]
    """[T] index into the (upright, constant frame rate) video."""
    valid: NDArray[np.bool_]
    """[T] false where no face was found or the residual is too high."""
    intrinsics: Float
    """[3, 3] pinhole K."""
    rotation: Float
    """[T, 3, 3] head to camera."""
    translation: Float
    """[T, 3] head to camera."""
    expression: Float
    """[T, E] coefficients in [0, 1]."""
    expression_names: tuple[str, ...]
    neck: Float
    """[T, 3] axis-angle: rotation of the head against the torso."""
    jaw: Float
    """[T, 3] axis-angle of the mandible as the jaw coefficients imply it (already part of the shapes)."""
    eyes: Float
    """[T, 2, 3] axis-angle of the (left, right) eyeball, the person's own left first."""
    neutral: Float
    """[V, 3] the person's neutral head in head space."""
    landmarks: Float
    """[T, L, 3] detected landmarks: x, y in pixels, z relative in pixels (NaN where no face was found)."""
    residual: Float
    """[T] median landmark reprojection error in pixels."""
    crop: NDArray[np.int32]
    """[4] x, y, size, size of the square head crop (may reach over the image's edge)."""
    shapes: NDArray[np.float16] | None = None
    """[E, V, 3] expression shapes refined on this clip; None: the head model's own."""
    torso: Float | None = None
    """[T, 2, 3] image-plane similarity from the clip's neutral frame."""
    torso_confidence: Float | None = None
    """[T]"""
    extra: Float | None = None
    """[T, P] clip-specific components; meaningless for other people."""
    extra_names: tuple[str, ...] = ()
    mattes: list[dict[str, bytes]] | None = None
    """per frame PNG bytes of 8-bit images at crop size or video size: 'person', 'head', 'labels' (after segment)."""
    video: bytes | None = None
    """the video's own bytes when embedded."""
    more: dict[str, NDArray[Any]] = field(default_factory=dict)
    """keys this version does not know, passed through unchanged."""

    def __len__(self) -> int:
        return int(self.frame.shape[0])


def load_track(source: Path | BinaryIO) -> Track:
    """Read a track from a file or a binary stream; see ``track_io.load_track`` for what is refused."""
    from avatarkit.files import track_io

    return track_io.load_track(source)


def save_track(track: Track, target: Path | BinaryIO) -> None:
    """Write ``track`` to a file (atomically) or a binary stream; see ``track_io.save_track``."""
    from avatarkit.files import track_io

    track_io.save_track(track, target)
