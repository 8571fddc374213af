"""How one person's motion moves another's avatar: neutral frames, relative transfer, trusted ranges, stills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from avatarkit.data.plate import usual_torso
from avatarkit.files.errors import AvatarkitError, UsageError
from avatarkit.files.track import Track
from avatarkit.heads import arkit, turns
from avatarkit.heads.landmarks import COUNT, MESH
from avatarkit.methods.registry import Drive
from avatarkit.rendering.performance import NECK_PIVOT, Performance

Float = NDArray[np.float32]

CONVERGED = 0.0
"""Eye widths by which the irises of resting eyes may lie closer to the nose than to the temples, both together."""

CLOSED = 0.15
"""How much further than the jaw opens them lips can be closed: pressed together."""


def neutral_frame(track: Track) -> int:
    """The tracked frame closest to a rest face seen from the front.

    Mouth to its 10th percentile, lids to their 30th (open), everything else to its median, a pose near the
    clip's median, little motion, early frames slightly preferred. Raises AvatarkitError without valid frames.
    """
    valid = np.flatnonzero(track.valid)
    if not len(valid):
        raise AvatarkitError("the track holds no valid frame: track a clip in which the face can be seen")
    expression = track.expression[valid].astype(np.float64)
    target = np.median(expression, 0)
    weight = np.ones(len(target))
    for i, name in enumerate(track.expression_names):
        if name.startswith("eyeBlink"):
            target[i], weight[i] = np.percentile(expression[:, i], 30), 6.0
        elif name in ("jawOpen", "mouthFunnel", "mouthPucker"):
            target[i], weight[i] = np.percentile(expression[:, i], 10), 6.0
    spread = np.percentile(expression, 95, 0) - np.percentile(expression, 5, 0) + 0.05
    cost = (weight * np.abs(expression - target) / spread).sum(1) / weight.sum()
    turns = _turns(track, valid)
    cost += np.linalg.norm(turns - np.median(turns, 0), axis=1) / 0.1
    cost += _unrest(track.landmarks[valid].astype(np.float64))
    speed = np.gradient(turns, axis=0) if len(valid) > 1 else np.zeros_like(turns)
    cost += np.linalg.norm(speed, axis=1) / 0.02 + 0.2 * np.arange(len(valid)) / len(valid)
    return int(valid[np.argmin(cost)])


def _unrest(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N] how far the faces of landmarks [N, L, 3] are from rest.

    Lips near their 10th percentile and no wider or narrower than usual, lids their 70th, brows and gaze as usual,
    eyes that do not squint inwards; both eyes count alike. Coefficients of a clip's solver leave out what is the
    person's own; the landmarks see it.
    """

    def apart(a: int, b: int) -> NDArray[np.float64]:
        return np.asarray(np.linalg.norm(points[:, a, :2] - points[:, b, :2], axis=1))

    if points.shape[1] < MESH or not np.isfinite(points[:, :MESH, :2]).all():
        return np.zeros(len(points))
    height, width = np.maximum(apart(10, 152), 1e-6), np.maximum(apart(33, 263), 1e-6)
    lips, wide = apart(13, 14) / height, apart(61, 291) / width
    right, left = apart(159, 145) / width, apart(386, 374) / width
    lids, brows = (right + left) / 2, (apart(105, 33) + apart(334, 263)) / width
    cost = np.abs(lips - np.percentile(lips, 10)) / 0.02
    cost += np.abs(lids - np.percentile(lids, 70)) / 0.015
    cost += np.abs(wide - np.median(wide)) / 0.05 + np.abs(brows - np.median(brows)) / 0.08
    if points.shape[1] >= COUNT:
        gaze = np.stack([_gaze(points, 33, 133, 468), _gaze(points, 362, 263, 473)], 1)
        cost += np.abs(gaze.mean(1) - np.median(gaze.mean(1), 0)).sum(1) / 0.08
        cost += np.maximum(gaze[:, 0, 0] - gaze[:, 1, 0] - CONVERGED, 0) / 0.02
    return np.asarray(cost + np.abs(right - left - np.median(right - left)) / 0.015)


def _gaze(points: NDArray[np.float64], start: int, end: int, iris: int) -> NDArray[np.float64]:
    """[N, 2] place of an ``iris`` between the eye's corners, from their middle, along and across, in eye widths."""
    along = points[:, end, :2] - points[:, start, :2]
    across = np.stack([-along[:, 1], along[:, 0]], 1)
    away = points[:, iris, :2] - (points[:, start, :2] + points[:, end, :2]) / 2
    size = np.maximum(np.square(along).sum(1), 1e-9)
    return np.stack([(away * along).sum(1), (away * across).sum(1)], 1) / size[:, None]


def _turns(track: Track, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """[N, 3] axis-angle from the clip's mean rotation (camera space)."""
    rotations = Rotation.from_matrix(track.rotation[rows].astype(np.float64))
    turns: NDArray[np.float64] = (rotations * rotations.mean().inv()).as_rotvec()
    return turns


def reference(track: Track, rows: NDArray[np.int64]) -> dict[str, Any]:
    """What an avatar's header keeps of its training clip, so that anybody can drive it later.

    ``neutral``: the drive of the neutral frame; ``expression_range``: [2][E] 1st and 99th percentile over
    the training ``rows``, the rest included; ``turn_range``: [2][3] of the axis-angle from the neutral
    rotation, radians; ``torso_taken``: [2][3] where the torso is in the frame its picture is from.
    """
    n = neutral_frame(track)
    low, high = np.percentile(track.expression[rows], [1, 99], axis=0)
    rest = track.expression[n]
    turn = Rotation.from_matrix(track.rotation[rows]) * Rotation.from_matrix(track.rotation[n]).inv()
    return {
        "frame": int(track.frame[n]),
        "torso_neutral": track.meta.get("torso_neutral"),
        **({} if track.torso is None else {"torso_taken": track.torso[usual_torso(track, n)].tolist()}),
        **({} if track.extra is None else {"extra": track.extra[n].tolist()}),
        "neutral": {
            "rotation": track.rotation[n].tolist(),
            "translation": track.translation[n].tolist(),
            "expression": track.expression[n].tolist(),
            "neck": track.neck[n].tolist(),
            "jaw": track.jaw[n].tolist(),
            "eyes": track.eyes[n].tolist(),
            **({} if track.torso is None else {"torso": track.torso[n].tolist()}),
        },
        "expression_range": [np.minimum(low, rest).tolist(), np.maximum(high, rest).tolist()],
        "turn_range": np.percentile(turn.as_rotvec(), [1, 99], axis=0).tolist(),
    }


def neutral_drive(header: dict[str, Any]) -> Drive:
    """The avatar's own rest: the drive of its training clip's neutral frame."""
    neutral = header["reference"]["neutral"]
    values: dict[str, Any] = {key: np.asarray(neutral[key], np.float32) for key in neutral}
    return Drive(**values)


def soft_clamp(
    values: NDArray[Any], low: NDArray[Any], high: NDArray[Any], margin: NDArray[Any]
) -> NDArray[Any]:
    """``values`` inside [low, high]; beyond it they saturate smoothly, ``margin`` further out at most."""
    over = np.maximum(values - high, 0) / margin
    under = np.maximum(low - values, 0) / margin
    return np.clip(values, low, high) + margin * (-np.expm1(-over) + np.expm1(-under))


def of_own_clip(track: Track, header: dict[str, Any]) -> bool:
    """Whether the track is of the clip that the avatar of ``header`` was made from."""
    known = header.get("clip", {}).get("sha256")
    return known is not None and known == track.meta.get("video", {}).get("sha256")


def drives(
    track: Track,
    header: dict[str, Any],
    transfer: str = "auto",
    expression_scale: float = 1.0,
    pose_scale: float = 1.0,
) -> list[Drive | None]:
    """One drive per tracked frame (None where the track is not valid).

    ``absolute`` uses pose and coefficients as tracked; ``relative`` adds the driver's change since its own
    neutral frame to the avatar's rest, and saturates softly outside what the avatar was trained on;
    ``auto`` is absolute for the avatar's own clip and relative across people.
    """
    if transfer not in ("auto", "absolute", "relative"):
        raise UsageError(f"--transfer {transfer}: choose relative or absolute")
    own = of_own_clip(track, header)
    if transfer == "auto":
        transfer = "absolute" if own else "relative"
    base = header["reference"].get("torso_neutral")
    if not own or base is None or track.meta.get("torso_neutral") != base:
        # where another's shoulders are, or the same from another frame on, says nothing of the avatar's
        track = replace(track, torso=None, torso_confidence=None)
    if not own or not _same_components(track, header["reference"]):
        track = replace(track, extra=None, extra_names=())
    track = named_like(track, header["expression_names"])
    seen = [Drive.of(track, t) if track.valid[t] else None for t in range(len(track))]
    if transfer == "absolute":
        return seen
    start = Drive.of(track, neutral_frame(track))
    return retargeted(seen, start, header, transfer, expression_scale, pose_scale)


def _same_components(track: Track, ranges: dict[str, Any]) -> bool:
    """Whether the track's ``extra`` are the components the avatar knows: each tracking of a clip finds its own."""
    known, rows = ranges.get("extra"), np.flatnonzero(track.frame == ranges["frame"])
    if track.extra is None or known is None or not len(rows):
        return False
    here = track.extra[rows[0]]
    return here.shape == (len(known),) and bool(np.allclose(here, known, atol=1e-3))


def retargeted(
    seen: list[Drive | None],
    start: Drive,
    header: dict[str, Any],
    transfer: str,
    expression_scale: float = 1.0,
    pose_scale: float = 1.0,
) -> list[Drive | None]:
    """A driver's frames as the avatar's, ``absolute`` or ``relative`` to the driver's neutral ``start``.

    Coefficients are in the order of the avatar's expression names already.
    """
    if transfer == "absolute":
        return seen
    rest, ranges = neutral_drive(header), header["reference"]
    return [
        None if drive is None else _relative(drive, start, rest, ranges, expression_scale, pose_scale)
        for drive in seen
    ]


def performed(
    performance: Performance, header: dict[str, Any], expression_scale: float = 1.0, pose_scale: float = 1.0
) -> list[Drive]:
    """The drives of a built-in performance, acted on top of the avatar's rest (relative transfer)."""
    rest = neutral_drive(header)
    names = list(header["expression_names"])
    rotation, translation = performance.to_camera(float(rest.translation[2]))
    expression = np.zeros((len(performance), len(names)), np.float32)
    for i, name in enumerate(arkit.NAMES):
        if name in names:
            expression[:, names.index(name)] = performance.expression[:, i]
    still = np.zeros(3, np.float32)
    start = Drive(
        rotation=np.diag([1.0, -1.0, -1.0]).astype(np.float32),
        translation=np.array([0, 0, rest.translation[2]], np.float32),
        expression=np.zeros(len(names), np.float32),
        neck=still,
        jaw=still,
        eyes=np.zeros((2, 3), np.float32),
    )
    acted = (
        replace(
            start,
            rotation=rotation[t],
            translation=translation[t],
            expression=expression[t],
            neck=performance.neck[t],
            eyes=performance.eyes[t],
        )
        for t in range(len(performance))
    )
    ranges = header["reference"]
    return [_relative(drive, start, rest, ranges, expression_scale, pose_scale) for drive in acted]


def _relative(
    drive: Drive,
    start: Drive,
    rest: Drive,
    ranges: dict[str, Any],
    expression_scale: float,
    pose_scale: float,
) -> Drive:
    expression = rest.expression + expression_scale * (drive.expression - start.expression)
    low, high = np.asarray(ranges["expression_range"])
    expression = soft_clamp(expression, low, high, 0.15 * (high - low) + 0.02)
    turn = turns.between(start.rotation, drive.rotation)
    low, high = np.asarray(ranges["turn_range"])
    turn = soft_clamp(pose_scale * turn, np.minimum(low, 0), np.maximum(high, 0), np.full(3, np.radians(8)))
    rotation = turns.matrix_of(turn) @ rest.rotation
    translation = rest.translation + pose_scale * (drive.translation - start.translation)
    return Drive(
        rotation=rotation.astype(np.float32),
        translation=translation.astype(np.float32),
        expression=np.clip(expression, 0, 1).astype(np.float32),
        neck=rest.neck + pose_scale * (drive.neck - start.neck),
        jaw=rest.jaw + expression_scale * (drive.jaw - start.jaw),
        eyes=rest.eyes + expression_scale * (drive.eyes - start.eyes),
    )


def between(first: Drive, second: Drive, share: float) -> Drive:
    """``share`` of the way from one drive of a person to another; what either lacks is the second's."""
    turn = turns.between(first.rotation, second.rotation)
    rotation = turns.matrix_of(share * turn) @ first.rotation

    def mixed(name: str) -> Any:
        one, other = getattr(first, name), getattr(second, name)
        return other if one is None or other is None else (one + share * (other - one)).astype(np.float32)

    names = ("translation", "expression", "neck", "jaw", "eyes", "landmarks", "torso")
    return replace(second, rotation=rotation.astype(np.float32), **{name: mixed(name) for name in names})


def named_like(track: Track, names: list[str]) -> Track:
    """The track with its coefficients in the order of ``names``; those it lacks are zero."""
    if tuple(names) == tuple(track.expression_names):
        return track
    expression = np.zeros((len(track), len(names)), np.float32)
    for i, name in enumerate(names):
        if name in track.expression_names:
            expression[:, i] = track.expression[:, track.expression_names.index(name)]
    return replace(track, expression=expression, expression_names=tuple(names))


def still(
    header: dict[str, Any],
    settings: dict[str, float],
    yaw: float = 0.0,
    pitch: float = 0.0,
    roll: float = 0.0,
) -> Drive:
    """The avatar at rest with named coefficients set and the head turned (degrees).

    Positive yaw turns to the person's left, positive pitch looks down, positive roll tilts the head to the
    person's right shoulder. Raises UsageError for names the avatar does not know.
    """
    rest = neutral_drive(header)
    names = list(header["expression_names"])
    expression = rest.expression.copy()
    for name, value in settings.items():
        if name not in names:
            raise UsageError(f"--set {name}: the avatar knows {', '.join(names)}")
        expression[names.index(name)] = value
    return turned(replace(rest, expression=possible(expression, rest, names)), yaw, pitch, roll)


def possible(expression: Float, rest: Drive, names: Sequence[str]) -> Float:
    """Coefficients [E] that were set by hand as a face can make them: ``mouthClose`` brings lips together that the jaw
    has parted, so alone it would push them through each other."""
    if "mouthClose" not in names or "jawOpen" not in names:
        return expression
    close, jaw = names.index("mouthClose"), names.index("jawOpen")
    most = max(float(rest.expression[close]), float(expression[jaw]) + CLOSED)
    if expression[close] <= most:
        return expression
    result = expression.copy()
    result[close] = most
    return result


def turned(drive: Drive, yaw: float, pitch: float = 0.0, roll: float = 0.0) -> Drive:
    """``drive`` with the head turned about its neck by angles in degrees (see ``still``)."""
    turn = Rotation.from_euler("YXZ", [yaw, pitch, roll], degrees=True).as_matrix()
    rotation = drive.rotation @ turn
    pivot = np.asarray(NECK_PIVOT)
    translation = drive.translation + (drive.rotation - rotation) @ pivot
    neck = Rotation.from_rotvec(drive.neck) * Rotation.from_matrix(turn)
    return replace(
        drive,
        rotation=rotation.astype(np.float32),
        translation=translation.astype(np.float32),
        neck=neck.as_rotvec().astype(np.float32),
    )
