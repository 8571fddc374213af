"""The torso's motion in the picture: a similarity from one reference frame, by optical flow below the chin."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Float = NDArray[np.float32]

SIDE = 320
"""Pixels of the longer side at which the flow is found."""
MOST, LEAST = 80, 8
"""Points that are followed, and that must agree on one motion."""
RETURN = 1.0
"""Pixels by which a point followed there and back may miss where it began."""
AGREE = 1.5
"""Pixels from the common motion within which a point agrees with it."""
_STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 12, 0.03)


class TorsoFollower:
    """Follows clothes and shoulders by pyramidal Lucas-Kanade flow (Bouguet 2001) from the first frame with a face.

    Points are matched with that frame itself, so nothing drifts; where too few agree there is no motion.
    """

    def __init__(self) -> None:
        self._reference: Image | None = None
        self._points: Float = np.zeros((0, 1, 2), np.float32)
        self._last = np.array([[1, 0, 0], [0, 1, 0]], np.float64)
        self._scale = 1.0

    def __call__(self, image: Image, landmarks: NDArray[np.floating]) -> tuple[Float, float] | None:
        """([2, 3] the similarity that takes the reference's pixels to this ``image``'s, share of points that agree).

        ``image`` is [H, W, 3] RGB, ``landmarks`` [478, 3] its face in pixels. None where the torso is not seen.
        """
        if self._reference is None:
            self._scale = min(1.0, SIDE / max(image.shape[:2]))
        now = self._small(image)
        if self._reference is None:
            self._reference = now
            self._points = _below_the_chin(now, landmarks[:, :2] * self._scale)
        if len(self._points) < LEAST:
            return None
        guess = cv2.transform(self._points, self._last).astype(np.float32)
        found = self._followed(self._reference, now, guess)
        if found is None:
            return None
        self._last, share = found
        matrix = self._last.copy()
        # between pixel centers of the small picture and places in the large one
        matrix[:, 2] += 0.5 - matrix[:, :2] @ (0.5, 0.5)
        matrix[:, 2] /= self._scale
        return matrix.astype(np.float32), share

    def _small(self, image: Image) -> Image:
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if self._scale == 1.0:
            return np.asarray(gray, np.uint8)
        size = (round(image.shape[1] * self._scale), round(image.shape[0] * self._scale))
        return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)

    def _followed(self, before: Image, now: Image, guess: Float) -> tuple[NDArray[np.float64], float] | None:
        start = self._points
        there, seen = _flow(before, now, start, guess)
        back, again = _flow(now, before, there, start)
        missed = np.linalg.norm((back - start)[:, 0], axis=1)
        good = seen & again & (missed < RETURN)
        if good.sum() < LEAST:
            return None
        matrix, agree = cv2.estimateAffinePartial2D(
            start[good], there[good], method=cv2.RANSAC, ransacReprojThreshold=AGREE, maxIters=200
        )
        if matrix is None or int(agree.sum()) < LEAST:
            return None
        size = float(np.hypot(matrix[0, 0], matrix[1, 0]))
        if not 0.5 < size < 2.0:
            return None
        return np.asarray(matrix, np.float64), float(agree.sum() / len(start))


def _flow(before: Image, now: Image, start: Float, guess: Float) -> tuple[Float, NDArray[np.bool_]]:
    """([N, 1, 2] where the points ``start`` have gone, near ``guess``, [N] whether they were found)."""
    places, found, _ = cv2.calcOpticalFlowPyrLK(
        before, now, start, guess.copy(), winSize=(15, 15), maxLevel=2, criteria=_STOP,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )  # fmt: skip
    return np.asarray(places, np.float32), np.asarray(found[:, 0] > 0)


def _below_the_chin(gray: Image, face: NDArray[np.floating]) -> Float:
    """[N, 1, 2] corners of the picture where shoulders and chest are expected under a ``face`` [478, 2]."""
    up = face[10] - face[152]
    height, width = float(np.linalg.norm(up)), float(np.linalg.norm(face[234] - face[454]))
    down = -up / max(height, 1e-6)
    across = np.array([down[1], -down[0]])
    corners = [
        face[152] + along * height * down + side * width * across
        for along, side in ((0.12, -0.45), (0.12, 0.45), (0.4, 1.3), (4.0, 1.5), (4.0, -1.5), (0.4, -1.3))
    ]
    inside = np.zeros(gray.shape, np.uint8)
    cv2.fillPoly(inside, [np.round(corners).astype(np.int32)], 255)
    inside[[0, 1, 2, -3, -2, -1]] = 0
    inside[:, [0, 1, 2, -3, -2, -1]] = 0
    points = cv2.goodFeaturesToTrack(gray, MOST, 0.005, 5, mask=inside, blockSize=5)
    return np.zeros((0, 1, 2), np.float32) if points is None else np.asarray(points, np.float32)


def based_on(motion: Float, neutral: Float) -> Float:
    """[2, 3] the similarity from the frame of ``neutral`` to that of ``motion``, both from one reference frame."""
    a, b = (np.vstack([m, [0, 0, 1]]).astype(np.float64) for m in (motion, neutral))
    return np.asarray((a @ np.linalg.inv(b))[:2], np.float32)


def smoothed(motion: Float, confidence: Float, linked: NDArray[np.bool_], sigma: float) -> Float:
    """``motion`` [N, 2, 3] (NaN where unknown) averaged over neighboring frames, Gaussian of ``sigma`` frames.

    What is unknown is taken from the frames around it, as far as they know; averages do not reach across a cut
    (``linked`` false: not the frame before's).
    """
    count = len(motion)
    known = np.isfinite(motion).all((1, 2))
    shot = np.cumsum(~np.asarray(linked, bool))
    apart = np.arange(count)[:, None] - np.arange(count)[None]
    weight = np.exp(-0.5 * (apart / max(sigma, 1e-6)) ** 2) * (shot[:, None] == shot[None])
    weight = weight * np.where(known, np.maximum(confidence, 1e-3), 0)[None]
    total = weight.sum(1)
    flat = np.where(known[:, None], motion.reshape(count, 6), 0.0)
    mean = weight @ flat / np.maximum(total, 1e-12)[:, None]
    mean[total < 1e-9] = np.nan
    return np.asarray(mean.reshape(count, 2, 3), np.float32)
