"""Face capture (files/facecap.py) from tracks, and as performances that drive avatars."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from avatarkit.files import facecap
from avatarkit.files.facecap import FaceCapture
from avatarkit.files.track import Track
from avatarkit.heads import arkit
from avatarkit.rendering.performance import GAZE_RANGE, NECK_PIVOT, Performance, performance

_FLIP = np.diag([1.0, -1.0, -1.0])
"""OpenCV's camera axes to those of a head that faces it."""
_ORDER = "YXZ"


def capture_of(track: Track) -> FaceCapture:
    """What a track says of the face, in the columns of a face capture. Frames that are not valid stay lost."""
    rate = float(track.meta["video"]["fps"])
    columns = np.zeros((len(track), len(facecap.COLUMNS)))
    for i, name in enumerate(facecap.EXPRESSIONS):
        if name in track.expression_names:
            columns[:, i] = track.expression[:, track.expression_names.index(name)]
    turned = Rotation.from_matrix(_FLIP @ np.where(track.valid[:, None, None], track.rotation, _FLIP))
    first = len(facecap.EXPRESSIONS)
    columns[:, first : first + 3] = turned.as_euler(_ORDER)
    for eye in range(2):
        start = first + 3 + 3 * eye
        columns[:, start : start + 3] = Rotation.from_rotvec(track.eyes[:, eye]).as_euler(_ORDER)
    time = (track.frame - track.frame[0]) / rate if len(track) else np.zeros(0)
    return FaceCapture(np.asarray(time, np.float64), track.valid.copy(), columns)


Lost = NDArray[np.bool_]
"""[T] frames of a performance for which its source shows no face: the last good one is held there."""


def acted(driver: str, fps: float | None = None) -> tuple[Performance, Lost]:
    """A driver that needs no video: a face capture's file, or a built-in performance; and where it was lost.

    Captures are brought to ``fps`` (default: their own mean rate) by linear interpolation between good frames; where
    the face was lost the last good frame is held. Raises AvatarkitError for unusable files.
    """
    path = Path(driver)
    if facecap.is_capture(path):
        return captured(facecap.load_capture(path), path.stem, fps)
    made = performance(driver, fps or 25.0)
    return made, np.zeros(len(made), bool)


def captured(capture: FaceCapture, name: str, fps: float | None = None) -> tuple[Performance, Lost]:
    """``capture`` as a performance; see ``acted``."""
    rate = fps or rate_of(capture)
    clock = np.arange(max(round(capture.time[-1] * rate) + 1, 1)) / rate
    after = np.searchsorted(capture.time, clock).clip(0, len(capture) - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(clock - capture.time[before] < capture.time[after] - clock, before, after)
    lost = ~capture.valid[nearest]
    rows = _held(capture)
    table = np.stack([np.interp(clock, capture.time, column) for column in rows.T], 1)
    values = {name: table[:, i] for i, name in enumerate(facecap.COLUMNS)}
    expression = np.stack([values[name] for name in arkit.NAMES], 1)
    turn = Rotation.from_euler(
        _ORDER, np.stack([values[f"head{axis}"] for axis in ("Yaw", "Pitch", "Roll")], 1)
    )
    rotation = turn.as_matrix()
    pivot = np.asarray(NECK_PIVOT)
    return (
        Performance(
            name=name,
            fps=rate,
            expression=expression.astype(np.float32),
            rotation=rotation.astype(np.float32),
            translation=(pivot - rotation @ pivot).astype(np.float32),
            neck=turn.as_rotvec().astype(np.float32),
            eyes=_eyes(capture, values),
        ),
        lost,
    )


def _held(capture: FaceCapture) -> NDArray[np.float64]:
    """[T, 61] values with the last good row (at the start: the first) where the face was lost."""
    last = np.maximum.accumulate(np.where(capture.valid, np.arange(len(capture)), -1))
    first = int(np.argmax(capture.valid))
    return capture.values[np.where(last < 0, first, last)]


def rate_of(capture: FaceCapture) -> float:
    """Frames a second of a capture, on average."""
    time = capture.time
    if len(time) < 2 or time[-1] <= 0:
        return 25.0
    return float(np.clip(round((len(time) - 1) / time[-1], 3), 1, 240))


def _eyes(capture: FaceCapture, values: dict[str, NDArray[np.float64]]) -> NDArray[np.float32]:
    """[T, 2, 3] axis-angle of the (left, right) eye: its own columns, or what its eyeLook coefficients say."""
    eyes = []
    for side in ("Left", "Right"):
        names = [f"{side.lower()}Eye{axis}" for axis in ("Yaw", "Pitch", "Roll")]
        if set(names[:2]) <= set(capture.present):
            angles = np.stack([values[name] for name in names], 1)
        else:
            outward = values[f"eyeLookOut{side}"] - values[f"eyeLookIn{side}"]
            yaw = np.radians(GAZE_RANGE[0]) * (outward if side == "Left" else -outward)
            pitch = np.radians(GAZE_RANGE[1]) * (values[f"eyeLookDown{side}"] - values[f"eyeLookUp{side}"])
            angles = np.stack([yaw, pitch, np.zeros_like(yaw)], 1)
        eyes.append(Rotation.from_euler(_ORDER, angles).as_rotvec())
    return np.stack(eyes, 1).astype(np.float32)
