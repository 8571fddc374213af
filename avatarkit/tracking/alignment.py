"""The detector of the face-alignment package (Bulat and Tzimiropoulos 2017): 68 points, for where it is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatarkit.files.errors import AvatarkitError
from avatarkit.heads.landmarks import COUNT
from avatarkit.tracking.detectors import Face

MESH_OF_68: tuple[int, ...] = (
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,
    71, 63, 105, 66, 107, 336, 296, 334, 293, 301,
    168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip
"""Mesh landmark at each of the 68 points of Multi-PIE / iBUG 300-W (jaw, brows, nose, eyes, lips)."""


class FaceAlignment:
    """68 points per face, placed at their mesh landmarks; the other landmarks are NaN."""

    name = "face-alignment"

    def __init__(self, most: int = 1) -> None:
        try:
            import face_alignment
        except ImportError as error:
            raise AvatarkitError(
                "the package face-alignment is not installed: pip install 'avatarkit[face-alignment]', "
                "or use --detector mediapipe"
            ) from error
        self.most = most
        try:
            kind = face_alignment.LandmarksType.THREE_D
            self._net: Any = face_alignment.FaceAlignment(kind, flip_input=False, device="cpu")
        except (OSError, RuntimeError) as error:  # its weights are downloaded by torch.hub
            raise AvatarkitError(
                f"the weights of face-alignment cannot be had ({error}): connect once, or use --detector mediapipe"
            ) from error

    def detect(self, image: NDArray[np.uint8]) -> list[Face]:
        """See ``LandmarkDetector``."""
        found = self._net.get_landmarks_from_image(image)
        return [spread(np.asarray(points, np.float32)) for points in found or ()][: self.most]

    def reset(self) -> None:
        """See ``LandmarkDetector``: every frame is looked at afresh."""

    def close(self) -> None:
        """See ``LandmarkDetector``."""


def spread(points: NDArray[np.float32]) -> Face:
    """A face from 68 points [68, 3]: x and y as pixel indices, depth with either sign, nose nearer than ears."""
    points = points.copy()
    if points[30, 2] > points[[0, 16], 2].mean():
        points[:, 2] *= -1
    full = np.full((COUNT, 3), np.nan, np.float32)
    full[list(MESH_OF_68)] = points + np.array([0.5, 0.5, 0.0], np.float32)  # pixel centers at integer + 0.5
    return Face(full)
