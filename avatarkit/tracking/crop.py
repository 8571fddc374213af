"""The square of the image that holds the head through the whole clip."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ABOVE, BELOW, BESIDE = 0.58, 0.48, 0.72
"""Head heights (landmark 10 to 152) kept above the forehead, below the chin, and to either side of the middle."""


def head_crop(points: NDArray[np.float32], width: int, height: int) -> tuple[int, int, int]:
    """x, y and size of the square around head, hair and neck in all frames of a ``width`` x ``height`` image.

    What lies outside the image is left out, but the square itself may reach over the image's edge.

    ``points`` [N, 478, 3] landmarks in pixels. The head's own up direction is followed, so a tilted head stays
    inside; single frames far from the others are not allowed to widen it.
    """
    top, chin = points[:, 10, :2].astype(np.float64), points[:, 152, :2].astype(np.float64)
    tall = np.linalg.norm(top - chin, axis=1)
    # A bowed or lifted head is foreshortened: its true height is that of the clip's upright frames.
    tall = np.maximum(tall, np.percentile(tall, 75))[:, None]
    up = (top - chin) / np.maximum(np.linalg.norm(top - chin, axis=1, keepdims=True), 1e-6)
    across = np.stack([-up[:, 1], up[:, 0]], 1)
    middle = points[:, :468, :2].mean(1).astype(np.float64)
    corners = np.concatenate(
        [top + ABOVE * tall * up, chin - BELOW * tall * up]
        + [middle + side * BESIDE * tall * across for side in (-1, 1)]
    )
    count = len(points)
    low = np.min([np.percentile(corners[i * count : (i + 1) * count], 2, axis=0) for i in range(4)], axis=0)
    high = np.max([np.percentile(corners[i * count : (i + 1) * count], 98, axis=0) for i in range(4)], axis=0)
    edge = np.array([width, height])
    low, high = np.clip(low, 0, edge), np.clip(high, 0, edge)
    size = int(2 * np.ceil((high - low).max() / 2))
    x, y = np.round((low + high - size) / 2).astype(int)
    return int(x), int(y), max(size, 16)
