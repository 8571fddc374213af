"""Person mattes of single frames, and how they are cleaned."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.files.mediapipe import silenced, solution
from avatarkit.segmentation.window import GRID

Float = NDArray[np.float32]
Gray = NDArray[np.uint8]
Image = NDArray[np.uint8]
RADIUS, EPSILON = 4, 1e-4
"""Of the guided filter: grid pixels (about 8 of a 480 pixel video), and squared sRGB units in [0, 1]."""
SURE = 0.97
"""A pixel all of whose neighborhood is this sure to be person, or not to be, needs no refinement."""


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
        with silenced():
            self._network = solution("selfie_segmentation").SelfieSegmentation(model_selection=0)
            self(np.zeros((GRID, GRID, 3), np.uint8))  # the first run talks, too
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


def edge_model(matte: Float, guide: Image) -> Float:
    """[H, W, 4] float32 local model (a, b) of ``matte`` [H, W]: near a pixel it is a . rgb + b of ``guide`` [H, W, 3].

    The coefficients of the guided filter with a color guide (He et al. 2010, eq. 19-20), averaged over their
    windows. They are smooth, so they can be computed on a coarse grid, steadied in time, and applied to a finer
    image (He and Sun 2015). Away from the matte's own edge they are constant 0 or 1: there the filter would
    only print the texture of face and background into the matte.
    """
    size = (2 * RADIUS + 1, 2 * RADIUS + 1)
    reach = np.ones(size, np.uint8)
    inside, outside = cv2.erode(matte, reach) > SURE, cv2.dilate(matte, reach) < 1 - SURE
    certain = inside | outside
    rgb = guide.astype(np.float32) / 255
    r, g, b = cv2.split(rgb)
    # Means of the guide, the matte, and their products; what is left of the products are the covariances.
    means = cv2.blur(cv2.merge([r, g, b, matte]), size)
    squares = cv2.blur(rgb * rgb, size)
    mixed = cv2.blur(cv2.merge([r * g, g * b, b * r]), size)
    shared = cv2.blur(rgb * matte[..., None], size)
    # Only windows that reach the uncertain band are solved.
    there = np.flatnonzero(cv2.dilate((~certain).astype(np.uint8), reach))
    mr, mg, mb, mean = _picked(means, there)
    rr, gg, bb = _picked(squares, there) - np.stack([mr * mr, mg * mg, mb * mb]) + EPSILON
    rg, gb, br = _picked(mixed, there) - np.stack([mr * mg, mg * mb, mb * mr])
    pr, pg, pb = _picked(shared, there) - np.stack([mr * mean, mg * mean, mb * mean])
    # The inverse of the symmetric 3 x 3 covariance by its adjugate.
    i11, i12, i13 = gg * bb - gb * gb, gb * br - rg * bb, rg * gb - gg * br
    i22, i23, i33 = rr * bb - br * br, rg * br - rr * gb, rr * gg - rg * rg
    determinant = rr * i11 + rg * i12 + br * i13
    ar = (i11 * pr + i12 * pg + i13 * pb) / determinant
    ag = (i12 * pr + i22 * pg + i23 * pb) / determinant
    ab = (i13 * pr + i23 * pg + i33 * pb) / determinant
    model = np.zeros_like(means)
    model.reshape(-1, 4)[there] = np.stack([ar, ag, ab, mean - ar * mr - ag * mg - ab * mb], -1)
    uncertain = np.flatnonzero(~certain)
    result = np.zeros_like(means)
    result[..., 3] = inside
    result.reshape(-1, 4)[uncertain] = np.take(cv2.blur(model, size).reshape(-1, 4), uncertain, 0)
    return result


def _picked(layers: Float, there: NDArray[np.int64]) -> Float:
    """[C, N] the pixels ``there`` (flat indices) of [H, W, C]."""
    return np.ascontiguousarray(np.take(layers.reshape(-1, layers.shape[2]), there, 0).T)


def applied(model: Float, guide: Image) -> Gray:
    """[H, W] uint8 matte (255 for 1) of an edge model [H, W, 4] on its guide [H, W, 3]: (a . rgb + b - .05) / .9."""
    r, g, b = cv2.split(guide)
    matte = model[..., 3] * 255
    for c, channel in enumerate((r, g, b)):
        matte += model[..., c] * channel
    return np.asarray(cv2.convertScaleAbs(np.maximum(matte - 0.05 * 255, 0), alpha=1 / 0.9))
