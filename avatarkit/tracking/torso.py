"""The torso's motion in the picture: a similarity from one reference frame, by optical flow below the chin."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from avatarkit.tracking.pose import runs

Image = NDArray[np.uint8]
Float = NDArray[np.float32]

SIDE = 320
"""Pixels of the longer side at which the flow is found."""
MOST, LEAST = 80, 8
"""Points that are followed, and that must agree on one motion."""
LEVELS = 2
"""Halvings of the picture at which the flow is looked for first."""
RETURN = 1.0
"""Pixels by which a point followed there and back may miss where it began."""
AGREE = 1.5
"""Pixels from the common motion within which a point agrees with it."""
SMOOTH = 1.2
"""Frames of the Gaussian over the torso's motion."""
REACH = 6.0
"""Sigmas that it reaches."""
NECK_SHARE = 0.6
"""How much of the neck's motion a torso that cannot be followed is taken to share."""
_STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 12, 0.03)


class TorsoFollower:
    """Follows clothes and shoulders by pyramidal Lucas-Kanade flow (Bouguet 2001) from a shot's first frame.

    Points are matched with that frame itself, so nothing drifts; where too few agree, with the last frame that was
    followed, and where that fails too there is no motion.
    """

    def __init__(self) -> None:
        self._scale = 0.0
        self.forget()

    def forget(self) -> None:
        """A new shot begins: its first frame with a face is the reference."""
        self._reference: Image | None = None
        self._points: Float = np.zeros((0, 1, 2), np.float32)
        self._recent: tuple[Image, NDArray[np.float64]] | None = None
        self._last = np.array([[1, 0, 0], [0, 1, 0]], np.float64)

    def __call__(self, image: Image, landmarks: NDArray[np.floating]) -> tuple[Float, float] | None:
        """([2, 3] the similarity that takes the reference's pixels to this ``image``'s, share of points that agree).

        ``image`` is [H, W, 3] RGB, ``landmarks`` [478, 3] its face in pixels. None where the torso is not seen.
        """
        if not self._scale:
            self._scale = min(1.0, SIDE / max(image.shape[:2]))
        now = self._small(image)
        if self._reference is None:
            self._reference = now
            self._points = _below_the_chin(now, landmarks[:, :2] * self._scale)
        if len(self._points) < LEAST:
            return None
        found = self._followed(self._reference, now, self._points, self._last)
        if found is None and self._recent is not None:
            found = self._chained(now)
        if found is None:
            self._recent = None
            return None
        self._last, share = found
        self._recent = (now, self._last)
        matrix = self._last.copy()
        # between pixel centers of the small picture and places in the large one
        matrix[:, 2] += 0.5 - matrix[:, :2] @ (0.5, 0.5)
        matrix[:, 2] /= self._scale
        return matrix.astype(np.float32), share

    def _chained(self, now: Image) -> tuple[NDArray[np.float64], float] | None:
        """By way of the last frame that was followed; believed half as much."""
        assert self._recent is not None
        image, motion = self._recent
        start = cv2.transform(self._points, motion).astype(np.float32)
        step = self._followed(image, now, start, np.eye(2, 3))
        if step is None:
            return None
        return based_on(step[0], _inverse(motion)).astype(np.float64), 0.5 * step[1]

    def _small(self, image: Image) -> Image:
        step = max(1, int(0.5 / self._scale))  # large frames lose pixels first: averaging them all takes long
        thin = np.ascontiguousarray(image[::step, ::step]) if step > 1 else image
        gray = cv2.cvtColor(thin, cv2.COLOR_RGB2GRAY)
        if self._scale == 1.0:
            return np.asarray(gray, np.uint8)
        size = (round(image.shape[1] * self._scale), round(image.shape[0] * self._scale))
        # by less than half, so that four pixels are enough for each; averaging areas takes ten times as long
        return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_LINEAR), np.uint8)

    def _followed(
        self, before: Image, now: Image, start: Float, motion: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], float] | None:
        """The motion of the points ``start`` [N, 1, 2] between two pictures, looked for near ``motion``."""
        there, seen = _flow(before, now, start, cv2.transform(start, motion).astype(np.float32), LEVELS)
        back, again = _flow(now, before, there, start, 0)  # those that were found right begin where they end
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


def _flow(
    before: Image, now: Image, start: Float, guess: Float, levels: int
) -> tuple[Float, NDArray[np.bool_]]:
    """([N, 1, 2] where the points ``start`` have gone, near ``guess``, [N] whether they were found).

    ``levels``: how many halvings of the pictures are looked at first.
    """
    places, found, _ = cv2.calcOpticalFlowPyrLK(
        before, now, start, guess.copy(), winSize=(15, 15), maxLevel=levels, criteria=_STOP,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )  # fmt: skip
    return np.asarray(places, np.float32), np.asarray(found[:, 0] > 0)


def _below_the_chin(gray: Image, face: NDArray[np.floating]) -> Float:
    """[N, 1, 2] corners of the picture where shoulders and chest are expected under a ``face`` [478, 2]."""
    up = face[10] - face[152]
    height, width = float(np.linalg.norm(up)), float(np.linalg.norm(face[234] - face[454]))
    down = -up / max(height, 1e-6)
    across = np.array([down[1], -down[0]])
    # not as far as the hands, and no wider than shoulders: beside the neck stands the background, which is still
    half = ((0.12, 0.45), (0.5, 1.0), (1.0, 1.4), (2.2, 1.4))
    outline = [(along, -side) for along, side in half] + [(along, side) for along, side in half[::-1]]
    corners = [face[152] + along * height * down + side * width * across for along, side in outline]
    inside = np.zeros(gray.shape, np.uint8)
    cv2.fillPoly(inside, [np.round(corners).astype(np.int32)], 255)
    inside[[0, 1, 2, -3, -2, -1]] = 0
    inside[:, [0, 1, 2, -3, -2, -1]] = 0
    points = cv2.goodFeaturesToTrack(gray, MOST, 0.003, 4, mask=inside, blockSize=5)
    return np.zeros((0, 1, 2), np.float32) if points is None else np.asarray(points, np.float32)


def based_on(motion: NDArray[np.floating], neutral: NDArray[np.floating]) -> Float:
    """[..., 2, 3] the similarity from the frame of ``neutral`` to that of ``motion``, both from one reference frame."""
    inverse = _inverse(neutral)
    linear = motion[..., :2].astype(np.float64)
    shift = (linear @ inverse[..., 2:])[..., 0] + motion[..., 2]
    return np.concatenate([linear @ inverse[..., :2], shift[..., None]], -1).astype(np.float32)


def _inverse(motion: NDArray[np.floating]) -> NDArray[np.float64]:
    linear = np.linalg.inv(motion[..., :2].astype(np.float64))
    return np.concatenate([linear, -linear @ motion[..., 2:]], -1)


def smoothed(motion: Float, confidence: Float, linked: NDArray[np.bool_], sigma: float) -> Float:
    """``motion`` [N, 2, 3] (NaN where unknown) averaged over neighboring frames, Gaussian of ``sigma`` frames.

    What is unknown is taken from the frames around it, as far as they know; averages do not reach across a cut
    (``linked`` false: not the frame before's).
    """
    known = np.isfinite(motion).all((1, 2))
    trust = np.where(known, np.maximum(confidence, 1e-3), 0.0).astype(np.float64)
    flat = np.where(known[:, None], motion.reshape(len(motion), 6), 0.0) * trust[:, None]
    result = np.full((len(motion), 6), np.nan)
    for start, stop in runs(linked):
        part = slice(start, stop)
        total = gaussian_filter1d(trust[part], sigma, mode="constant", truncate=REACH)[:, None]
        mean = gaussian_filter1d(flat[part], sigma, axis=0, mode="constant", truncate=REACH)
        result[part] = np.where(total > 1e-9, mean / np.maximum(total, 1e-9), np.nan)
    return np.asarray(result.reshape(-1, 2, 3), np.float32)


def from_neutral(
    motion: Float,
    confidence: Float,
    neck: NDArray[np.floating],
    linked: NDArray[np.bool_],
    shots: NDArray[np.int64],
    neutral: int,
    smooth: float = 1.0,
) -> tuple[Float, Float]:
    """The torso's similarity [N, 2, 3] from the frame ``neutral`` (a row) to every other, and its confidence [N].

    ``motion`` [N, 2, 3] is that from each shot's own reference (NaN where nothing could be followed), ``neck``
    [N, 2] the place of the neck's pivot in pixels, ``shots`` [N] the shot of each row. Where the picture says
    nothing the torso takes over NECK_SHARE of what the neck does, added to what is known before and after, with
    confidence 0; other shots than the neutral frame's are joined to it by the neck alone.
    """
    motion = smoothed(motion, confidence, linked, SMOOTH * smooth) if smooth > 0 else motion
    known = np.isfinite(motion).all((1, 2))
    result = np.tile(np.eye(2, 3, dtype=np.float64), (len(motion), 1, 1))
    prior = NECK_SHARE * (neck - neck[neutral])
    for shot in np.unique(shots):
        rows = np.flatnonzero(shots == shot)
        sure = rows[known[rows]]
        if not len(sure):
            result[rows, :, 2] = prior[rows]
            continue
        base = (
            neutral
            if shot == shots[neutral] and known[neutral]
            else int(sure[np.abs(sure - neutral).argmin()])
        )
        relative = based_on(motion[sure], motion[base])
        if base != neutral:
            relative = relative.copy()
            relative[..., 2] += relative[..., :2] @ prior[base]
        # a similarity about the neck, so that what is filled in between does not swing about the image's corner
        place = neck[neutral]
        at_neck = relative[..., :2] @ place + relative[..., 2] - place - prior[sure]
        linear = [np.interp(rows, sure, relative[:, i, j]) for i in (0, 1) for j in (0, 1)]
        shift = np.stack([np.interp(rows, sure, at_neck[:, i]) for i in (0, 1)], 1) + prior[rows]
        result[rows, :, :2] = np.stack(linear, 1).reshape(-1, 2, 2)
        result[rows, :, 2] = place + shift - result[rows, :, :2] @ place
    return result.astype(np.float32), np.where(known, confidence, 0.0).astype(np.float32)
