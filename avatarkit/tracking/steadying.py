"""Landmarks without jitter: the head's own motion and its expression smoothed apart, each as much as it bears."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from avatarkit.heads.lifting import lifted, projected
from avatarkit.tracking.pose import runs

Float = NDArray[np.float32]

EXPRESSION_SIGMA = 0.6
"""Frames: more costs the mouth its closures and the lids their blinks."""
REACH = 2
"""Frames to either side that the kernel reaches: no more than a live stream waits for."""


def steadied(
    points: Float,
    intrinsics: Float,
    raw: tuple[Float, Float],
    smooth: tuple[Float, Float],
    linked: NDArray[np.bool_],
    sigma: float = EXPRESSION_SIGMA,
) -> Float:
    """Landmarks [N, L, 3] with the jitter of their pose, and a little of their expression's, taken out.

    ``raw`` and ``smooth`` are the poses ([N, 3, 3], [N, 3]) before and after smoothing: what a face does in its
    own space is smoothed by ``sigma`` frames within each run of ``linked`` frames, then posed anew.
    """
    local = lifted(points, intrinsics, *raw)
    if sigma > 0:
        for start, stop in runs(linked):
            if stop - start > 1:
                run = local[start:stop]
                local[start:stop] = gaussian_filter1d(run, sigma, axis=0, mode="nearest", radius=REACH)
    return projected(local, intrinsics, *smooth)
