"""Plain landmark measures that coefficients should follow."""

from __future__ import annotations

import numpy as np

from avatarkit.files.track import Track
from avatarkit.tracking.basis import eye_distance


def _apart(points: np.ndarray, a: int, b: int) -> np.ndarray:
    return np.linalg.norm(points[:, a, :2] - points[:, b, :2], axis=-1)


def aperture(points: np.ndarray, side: str) -> np.ndarray:
    """[T] mean height of the lid gap over the eye's width."""
    lids, corners = (
        (((159, 145), (160, 144), (158, 153)), (33, 133))
        if side == "Right"
        else (((386, 374), (387, 373), (385, 380)), (263, 362))
    )
    return np.mean([_apart(points, a, b) for a, b in lids], 0) / _apart(points, *corners)


def lip_gap(points: np.ndarray) -> np.ndarray:
    """[T] mean distance of the inner lips over that of the eyes."""
    return np.mean([_apart(points, a, b) for a, b in ((13, 14), (82, 87), (312, 317))], 0) / eye_distance(
        points[..., :2]
    )


def mouth_width(points: np.ndarray) -> np.ndarray:
    """[T] distance of the mouth's corners over that of the eyes."""
    return _apart(points, 61, 291) / eye_distance(points[..., :2])


def correlation(track: Track, name: str, measure: np.ndarray) -> float:
    """Pearson's r of a coefficient (or the sum of its two sides) with ``measure`` [T] over the valid frames."""
    names = [n for n in track.expression_names if n in (name, f"{name}Left", f"{name}Right")]
    curve = track.expression[:, [track.expression_names.index(n) for n in names]].sum(1)
    return float(np.corrcoef(curve[track.valid], measure[track.valid])[0, 1])


def chin_and_lips(track: Track) -> float:
    """Pearson's r of the lip gap with the distance of chin and nose: how far the jaw alone can explain the gap."""
    points = track.landmarks[track.valid]
    jaw = _apart(points, 152, 6) / eye_distance(points[..., :2])
    return float(np.corrcoef(jaw, lip_gap(points))[0, 1])


def jitter(track: Track, still: float = 0.15) -> float:
    """Mean absolute second difference of the moving coefficients on the stillest share of frames."""
    moved = np.abs(np.diff(track.landmarks[:, :468, :2], axis=0)).mean((1, 2))
    both = moved[:-1] + moved[1:]
    calm = both <= np.nanquantile(both, still)
    moving = track.expression.std(0) > 0.02
    return float(np.abs(np.diff(track.expression[:, moving], 2, axis=0))[calm].mean())
