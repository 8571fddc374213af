"""mediapipe's Face Landmarker: the mesh and 52 expression scores from one task file (Apache-2.0)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatarkit.files import home
from avatarkit.files.errors import AvatarkitError
from avatarkit.files.mediapipe import silenced
from avatarkit.heads.arkit import INDEX
from avatarkit.tracking.detectors import Face, check_points

TASK_NAME = "face_landmarker.task"
TASK_URL = "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/face_landmarker.task"
TASK_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"


def task_file() -> Path:
    """The task file in AVATARKIT_HOME, downloaded once when it is not there; AvatarkitError says why it cannot be."""
    return home.fetch(TASK_NAME, TASK_URL, TASK_SHA256)


class FaceLandmarker:
    """The Face Landmarker of mediapipe Tasks in video mode; its ``scores`` lack only ARKit's tongueOut."""

    name = "landmarker"

    def __init__(self, path: Path, most: int = 1) -> None:
        if not path.is_file():
            raise AvatarkitError(
                f"{path}: no such file; it is the Face Landmarker's task file, from {TASK_URL}"
            )
        self.path, self.most = path, most
        self._time = 0
        self._task = self._opened()

    def _opened(self) -> Any:
        with silenced():
            from mediapipe.tasks.python.core.base_options import BaseOptions
            from mediapipe.tasks.python.vision.core.vision_task_running_mode import VisionTaskRunningMode
            from mediapipe.tasks.python.vision.face_landmarker import FaceLandmarker as Task
            from mediapipe.tasks.python.vision.face_landmarker import FaceLandmarkerOptions

            options = FaceLandmarkerOptions(
                # the file's bytes rather than its name: mediapipe mishandles some characters in paths
                base_options=BaseOptions(model_asset_buffer=self.path.read_bytes()),
                running_mode=VisionTaskRunningMode.VIDEO,
                num_faces=self.most,
                output_face_blendshapes=True,
            )
            try:
                task = Task.create_from_options(options)
                task.detect_for_video(_wrapped(np.zeros((64, 64, 3), np.uint8)), 0)  # opens the models
                return task
            except (RuntimeError, ValueError) as error:
                raise AvatarkitError(f"{self.path}: not a Face Landmarker task file") from error

    def detect(self, image: NDArray[np.uint8]) -> list[Face]:
        """See ``LandmarkDetector``."""
        self._time += 40  # milliseconds: only their rise matters
        result = self._task.detect_for_video(_wrapped(image), self._time)
        height, width = image.shape[:2]
        size = np.array([width, height, width], np.float32)
        faces = []
        for i, landmarks in enumerate(result.face_landmarks):
            points = np.array([(p.x, p.y, p.z) for p in landmarks], np.float32) * size
            scores = np.zeros(len(INDEX), np.float32)
            for category in result.face_blendshapes[i]:
                if category.category_name in INDEX:  # leaves out "_neutral"
                    scores[INDEX[category.category_name]] = category.score
            faces.append(Face(check_points(points, str(self.path)), scores))
        return faces

    def reset(self) -> None:
        """See ``LandmarkDetector``."""
        self._task.close()
        self._task, self._time = self._opened(), 0

    def close(self) -> None:
        """See ``LandmarkDetector``."""
        self._task.close()


def _wrapped(image: NDArray[np.uint8]) -> Any:
    from mediapipe import Image, ImageFormat

    return Image(image_format=ImageFormat.SRGB, data=np.ascontiguousarray(image))
