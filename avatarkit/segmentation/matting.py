"""Person mattes of single frames, and how they are cleaned."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.segmentation.window import GRID

Float = NDArray[np.float32]
Gray = NDArray[np.uint8]
Image = NDArray[np.uint8]
SURE = 247
"""A pixel all of whose neighborhood is this sure (of 255) to be person, or not, needs no refinement."""


class Matter(Protocol):
    """A person matting network; a context manager, since it may hold native resources."""

    name: str
    side: int
    """of the square image it works on, pixels; others are resized."""

    def __call__(self, image: Image) -> Float:
        """[GRID, GRID] float32 in [0, 1], the person in an sRGB image [H, W, 3]."""
        ...

    def __enter__(self) -> Matter: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class SelfieMatter:
    """MediaPipe's selfie segmenter (general model, 256 x 256), which comes with its wheel."""

    name = "selfie"
    side = GRID

    def __init__(self) -> None:
        self._network: Any = None

    def __enter__(self) -> SelfieMatter:
        os.environ.setdefault("GLOG_minloglevel", "2")  # else it reports its delegates on standard error
        from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation

        self._network = SelfieSegmentation(model_selection=0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._network.close()

    def __call__(self, image: Image) -> Float:
        """[GRID, GRID] confidence, its dead zones at both ends stretched away: (m - .1) / .8."""
        if image.shape[:2] != (GRID, GRID):
            image = np.asarray(cv2.resize(image, (GRID, GRID), interpolation=cv2.INTER_AREA))
        mask = self._network.process(image).segmentation_mask
        return np.clip((np.asarray(mask, np.float32) - 0.1) / 0.8, 0, 1)


def cleaned(matte: Gray, guide: Image) -> Gray:
    """``matte`` [H, W] with its edge pulled onto the edges of ``guide`` [H, W, 3]; uint8, 255 for 1.

    Guided filter (He et al. 2010) of radius 8 at 480 pixels and eps 1e-4 on the sRGB guide, then
    (g - .05) / .9. Only the band around the matte's own edge is touched: elsewhere the filter would print
    the texture of face and background into the matte.
    """
    radius = max(2, round(8 * guide.shape[0] / 480))
    reach = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    inside = cv2.erode(matte, reach) > SURE
    outside = cv2.dilate(matte, reach) < 255 - SURE
    filtered = cv2.ximgproc.guidedFilter(guide, matte, radius, 1e-4 * 255**2, scale=0.5)
    result = cv2.convertScaleAbs(filtered, alpha=1 / 0.9, beta=-0.05 / 0.9 * 255)
    result[inside] = 255
    result[outside] = 0
    return np.asarray(result)
