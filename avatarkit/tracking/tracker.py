"""From a video, an image folder or a photo to a track."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from avatarkit import __version__, heads
from avatarkit.files import video
from avatarkit.files.errors import NoFaceError, UsageError
from avatarkit.files.track import FORMAT_VERSION, Track
from avatarkit.heads.model import JOINTS, MESH_LANDMARKS, HeadModel
from avatarkit.tracking import components, gaze, mandible, photometric, pose
from avatarkit.tracking.basis import Basis
from avatarkit.tracking.camera import pixels_per_unit
from avatarkit.tracking.crop import head_crop
from avatarkit.tracking.detectors import FaceCounter, LandmarkDetector, lanes, open_detector
from avatarkit.tracking.observed import Observations, observations
from avatarkit.tracking.options import FOCAL, TrackOptions
from avatarkit.tracking.pictures import HeadPictures, Windows
from avatarkit.tracking.sighting import Sightings, gathered, sights
from avatarkit.tracking.solver import Motion, Settings, fit_person, solve_motion
from avatarkit.tracking.torso import TorsoFollower, from_neutral

Float = NDArray[np.float32]

WIDEST = 1920
"""Longer sides are scaled down to this many pixels before faces are looked for."""
CONVENTIONS = {
    "pixels": "upright video, centers at integer + 0.5",
    "camera": "OpenCV: x right, y down, z forward; meters",
    "head": "x to the person's left, y up, z out of the face; origin midway between the eyeballs",
    "expression": "ARKit, names of the person's own sides, in [0, 1]",
    "residual": "distance of detected landmarks from the face fitted to them, before the skull's alignment",
    "torso": "image similarity from the frame torso_neutral; confidence 0: nothing to follow, the neck's motion shared",
    "extra": "principal components of the landmark residual of this clip and person: meaningless for others",
    "neck": "the torso is taken to be still: turn of the head from the clip's median pose, head axes",
}


class Progress(Protocol):
    """Something that shows progress."""

    def to(self, done: float, total: int | None = None, **fields: Any) -> None:
        """Move to ``done`` of ``total`` steps."""
        ...


class _Silent:
    def to(self, done: float, total: int | None = None, **fields: Any) -> None:
        """Show nothing."""


def track(source: Path, options: TrackOptions | None = None, progress: Progress | None = None) -> Track:
    """Track the person in ``source``: a video, a folder of images, or a photo.

    Raises NoFaceError where there is no usable face, AvatarkitError where the clip cannot be read.
    """
    options, progress = options or TrackOptions(), progress or _Silent()
    info = video.probe(source)
    if not options.photometric or info.kind == "photo":
        return _track(info, options, progress, None)
    with HeadPictures() as pictures:
        return _track(info, options, progress, pictures)


def _track(
    info: video.VideoInfo, options: TrackOptions, progress: Progress, pictures: HeadPictures | None
) -> Track:
    head = heads.load(options.head)
    seen = _sightings(info, options, progress, pictures)
    found = np.array([np.isfinite(p).any() for p in seen.points], bool)
    if not found.any():
        raise NoFaceError(
            f"{info.path}: no face was found in {len(found)} frames: give a clip that shows one"
        )
    focal = options.focal or FOCAL * info.width
    intrinsics = np.array([[focal, 0, info.width / 2], [0, focal, info.height / 2], [0, 0, 1]], np.float32)
    rows = np.flatnonzero(found)
    observed = observations(
        seen.points if found.all() else seen.points[rows], intrinsics, seen.linked()[rows]
    )
    settings = Settings.of(options.smooth, options.refine)
    template = Basis.of(head)
    count = len(found)

    def report(share: float) -> None:
        progress.to(round(count * (0.6 + 0.4 * share)), count, phase="solving")

    person, known = fit_person(template, observed, settings, lambda share: report(0.6 * share))
    if person.distance_from(template) > LARGEST_OFFSET:
        raise NoFaceError(f"{info.path}: what was found is no human face: give a clip that shows a person's")
    motion = solve_motion(person, observed, settings, lambda share: report(0.6 + 0.3 * share), known)
    good = _usable(motion, person, info.path)
    extra = components.of_residual(person, motion, observed, good) if options.refine else None
    if pictures is not None:
        # Coefficients keep the landmarks' own pose, with which they are consistent; the head moves with its skull.
        steady = _aligned(
            head, template, person, motion, observed, pictures.windows(), intrinsics * _shrunk(info)
        )
        motion = replace(motion, rotation=steady[0], translation=steady[1])
    result = _assembled(info, head, person, motion, extra, rows, good, intrinsics, seen, options)
    if options.embed:
        if info.kind == "folder":
            raise UsageError(
                "--embed takes a video or a photo: a folder of images has no single file to embed"
            )
        result.video = info.path.read_bytes()
    return result


def _shrink(info: video.VideoInfo) -> float:
    """The factor by which frames are scaled down before faces are looked for."""
    return min(1.0, WIDEST / max(info.width, info.height))


def _shrunk(info: video.VideoInfo) -> Float:
    """What intrinsics [3, 3] are multiplied by for such frames."""
    return np.array([[_shrink(info)] * 3, [_shrink(info)] * 3, [1.0] * 3], np.float32)


def _sightings(
    info: video.VideoInfo, options: TrackOptions, progress: Progress, pictures: HeadPictures | None
) -> Sightings:
    start = round(options.start * info.fps)
    end = info.frames if options.end is None else min(round(options.end * info.fps), info.frames)
    if start >= end:
        raise UsageError(f"--start {options.start:g}: the clip ends after {info.duration:.2f} seconds")
    total = (
        end - start if options.fps is None else max(1, int((end - start) * min(1.0, options.fps / info.fps)))
    )
    total = min(total, options.max_frames or total)
    stop = None if options.end is None and info.kind == "video" else end
    shrink = _shrink(info)
    size = None if shrink == 1.0 else (round(info.width * shrink), round(info.height * shrink))

    def frames() -> Iterator[tuple[int, video.Image]]:
        yield from islice(video.read_frames(info.path, start, stop, options.fps, size), options.max_frames)

    def opened(most: int) -> LandmarkDetector:
        return open_detector(options.detector, options.landmarker, most, options.windows)

    with FaceCounter() as counter:
        seen = gathered(
            sights(
                frames(), opened, counter.count, options.face,
                TorsoFollower() if options.torso and info.kind != "photo" else None,
                None if pictures is None else pictures.add,
                lanes=lanes(options.detector, options.landmarker),
            ),
            total,
            lambda done: progress.to(0.6 * done, max(total, done), phase="landmarks"),
        )  # fmt: skip
    if size is not None:
        grow = np.array([info.width / size[0], info.height / size[1], info.width / size[0]], np.float32)
        seen.points *= grow
        seen.torso = [None if m is None else m * (1, 1, grow[0]) for m in seen.torso]
    return seen


STEADY = 50.0
"""Strength of the smoothing of the poses that the alignment to the picture starts from."""


def _aligned(
    head: HeadModel,
    template: Basis,
    person: Basis,
    motion: Motion,
    observed: Observations,
    windows: Windows,
    intrinsics: Float,
) -> tuple[Float, Float]:
    """Rotation and translation of every frame, steadied by the picture of the skull.

    Which way a head faces and where its middle lies is the landmarks' word on the average of the clip: only
    the motion is the picture's.
    """
    rotation, translation = pose.smoothed(
        motion.rotation, motion.translation, observed.linked, person.unit, STEADY
    )
    neutral = head.vertices + head.extended(person.neutral - template.neutral)
    found = photometric.align(
        windows,
        photometric.skull_points(head, neutral),
        rotation,
        translation,
        intrinsics,
        pose.runs(observed.linked),
    )
    return pose.with_average_of(motion.rotation, motion.translation, *found)


LARGEST_OFFSET = 4.3
"""RMS difference of a face from the template, expressions apart, in percents of the distance between the eyes, above
which it is no person's: people lie between 2.5 and 3.8, a cartoon child at 3.9, a dog in which the detector sees a
face at 4.7 to 5.7."""
LARGEST_ERROR = 5.0
"""Median landmark error of a frame, in percents of the distance between the eyes, above which it is not believed."""


def _usable(motion: Motion, person: Basis, path: Path) -> NDArray[np.bool_]:
    """[N] frames whose face fits a head. Raises NoFaceError where there are none."""
    good = np.nanmedian(motion.error, 1) <= LARGEST_ERROR
    good &= np.isfinite(motion.rotation).all((1, 2)) & np.isfinite(motion.translation).all(1)
    if not good.any():
        raise NoFaceError(f"{path}: what was found fits no head: give a clip that shows a person's face")
    return np.asarray(good, np.bool_)


def _assembled(
    info: video.VideoInfo,
    head: HeadModel,
    person: Basis,
    motion: Motion,
    extra: Float | None,
    rows: NDArray[np.int64],
    good: NDArray[np.bool_],
    intrinsics: Float,
    seen: Sightings,
    options: TrackOptions,
) -> Track:
    """The track of T frames from the motion of the N = len(rows) frames with a face, whose errors it uses up."""
    template = Basis.of(head)
    neutral = head.vertices + head.extended(person.neutral - template.neutral)
    # The origin stays midway between the eyeballs, whose place follows the person's lids.
    middle = head.joints_of(neutral)[2:4].mean(0)
    neutral = (neutral - middle).astype(np.float32)
    translation = motion.translation + motion.rotation @ middle
    to_pixels = pixels_per_unit(motion.translation, float(intrinsics[0, 0]), person.unit)
    # A clip's errors are as large as its landmarks: they are scaled and sorted in place.
    error = np.multiply(motion.error, to_pixels[:, None], out=motion.error)
    residual = np.array([np.nanmedian(each) for each in error])
    typical = np.nanpercentile(error if good.all() else error[good], (50, 95), overwrite_input=True)
    points = _completed(seen.points, rows, person, motion, intrinsics)

    def full(values: NDArray[np.floating]) -> Float:
        spread = np.full((len(points), *values.shape[1:]), np.nan, np.float32)
        spread[rows] = values
        return spread

    valid = np.zeros(len(points), np.bool_)
    valid[rows] = good
    neutral_row = most_neutral(motion, good)
    torso, confidence = None, np.zeros(0, np.float32)
    if options.torso and info.kind != "photo":
        pivot = motion.rotation @ head.joints_of(neutral)[JOINTS.index("neck")] + translation
        torso, confidence = _torso(pivot, intrinsics, seen, rows, neutral_row)
    refined = head.extended_shapes(person.shapes).astype(np.float16) if options.refine else None
    scores = [s for s in seen.scores if s is not None]
    more = {}
    if scores:
        more["scores"] = np.stack([np.full_like(scores[0], np.nan) if s is None else s for s in seen.scores])
    crop = options.crop or head_crop(points[valid], info.width, info.height)
    return Track(
        meta={
            "format": FORMAT_VERSION,
            "tool": f"avatarkit {__version__}",
            "video": info.meta(),
            "head": {"name": head.name, "version": head.version, "hash": head.hash()},
            "conventions": CONVENTIONS,
            "options": options.meta(),
            "cuts": [seen.frame[row] for row in seen.cuts],
            "people": seen.people,
            **({} if torso is None else {"torso_neutral": seen.frame[rows[neutral_row]]}),
            **{
                f"residual_{name}_px480": round(float(pixels) * 480.0 / info.width, 4)
                for name, pixels in zip(("median", "p95"), typical, strict=True)
            },
        },
        frame=np.array(seen.frame, np.int32),
        valid=valid,
        intrinsics=intrinsics,
        rotation=full(motion.rotation),
        translation=full(translation),
        expression=full(motion.expression),
        expression_names=person.names,
        neck=full(_neck(motion.rotation, good)),
        jaw=full(mandible.jaw_rotations(head, motion.expression)),
        eyes=full(
            gaze.rotations(np.zeros((len(rows), 2, 2), np.float32) if motion.gaze is None else motion.gaze)
        ),
        neutral=neutral,
        landmarks=points,
        residual=full(residual),
        crop=np.array([crop[0], crop[1], crop[2], crop[2]], np.int32),
        shapes=refined,
        torso=None if torso is None else full(torso),
        torso_confidence=None if torso is None else np.nan_to_num(full(confidence)),
        extra=None if extra is None else full(extra),
        extra_names=() if extra is None else components.names(extra.shape[1]),
        more=more,
    )


def most_neutral(motion: Motion, good: NDArray[np.bool_]) -> int:
    """The row of the ``good`` frame with the least expression whose pose is close to the clip's usual one."""
    from scipy.spatial.transform import Rotation

    turns = Rotation.from_matrix(motion.rotation.astype(np.float64))
    away = (turns[good].mean().inv() * turns).magnitude()
    strength = motion.expression.sum(1)
    score = strength / max(float(np.median(strength[good])), 1e-6) + away / np.radians(5.0)
    return int(np.where(good, score, np.inf).argmin())


def _torso(
    pivot: Float, intrinsics: Float, seen: Sightings, rows: NDArray[np.int64], neutral_row: int
) -> tuple[Float, Float]:
    """The torso's similarity from the frame ``neutral_row`` in the frames ``rows`` with a face, and its confidence.

    ``pivot`` [N, 3] is the neck's joint in camera space.
    """
    unknown = np.full((2, 3), np.nan, np.float32)
    motions = [seen.torso[row] for row in rows]
    motion = np.stack([unknown if m is None else m for m in motions])
    share = np.array(seen.torso_share, np.float32)[rows]
    place = pivot[:, :2] / pivot[:, 2:] * intrinsics[0, 0] + intrinsics[:2, 2]
    place = np.where(np.isfinite(place), place, place[neutral_row])
    linked = seen.linked()[rows]
    linked[1:] &= np.diff(rows) == 1
    return from_neutral(motion, share, place, linked, seen.shots()[rows], neutral_row)


def _completed(
    points: Float, rows: NDArray[np.int64], person: Basis, motion: Motion, intrinsics: Float
) -> Float:
    """``points`` [T, 478, 3] with landmarks the detector does not give (of 68, say) taken from the fitted head."""
    holes = np.isnan(points[:, :MESH_LANDMARKS]).any(-1)[rows]
    if not holes.any():
        return points
    focal = float(intrinsics[0, 0])
    filled = points.copy()
    for row, t in zip(rows, range(len(rows)), strict=True):
        camera = (person.neutral + np.tensordot(motion.expression[t], person.shapes, 1)) @ motion.rotation[
            t
        ].T + motion.translation[t]
        depth = (camera[:, 2:] - motion.translation[t, 2]) * focal / motion.translation[t, 2]
        drawn = np.concatenate([camera[:, :2] / camera[:, 2:] * focal + intrinsics[:2, 2], depth], 1)
        filled[row, :MESH_LANDMARKS] = np.where(holes[t, :, None], drawn, filled[row, :MESH_LANDMARKS])
        if np.isnan(filled[row, MESH_LANDMARKS:]).any():
            radius = np.array([0.0, 0.0, person.eye_radius], np.float32)
            iris = (person.eyes + radius) @ motion.rotation[t].T + motion.translation[t]
            flat = iris[:, :2] / iris[:, 2:] * focal + intrinsics[:2, 2]
            filled[row, MESH_LANDMARKS:, 2] = 0.0
            filled[row, MESH_LANDMARKS : MESH_LANDMARKS + 5, :2] = flat[1]
            filled[row, MESH_LANDMARKS + 5 :, :2] = flat[0]
    return filled


def _neck(rotation: Float, good: NDArray[np.bool_]) -> Float:
    """Axis-angle [N, 3] of the head against a torso that keeps the direction of the clip's median pose."""
    from scipy.spatial.transform import Rotation

    turns = Rotation.from_matrix(rotation.astype(np.float64))
    away = (turns[good].mean().inv() * turns).as_rotvec()
    middle = Rotation.from_rotvec(np.median(away[good], 0))
    return (middle.inv() * Rotation.from_rotvec(away)).as_rotvec().astype(np.float32)
