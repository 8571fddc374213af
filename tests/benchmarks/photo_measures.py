"""How well a photo follows a driver: against the truth (self-reenactment), and against the driver's motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from avatarkit.data.clip import landmark_boxes
from avatarkit.heads.landmarks import MESH, STABLE
from avatarkit.methods.photo import rules
from avatarkit.methods.photo.frames import face_frame, fitted, motion_of
from avatarkit.methods.registry import Drive
from avatarkit.methods.stage import Stage
from avatarkit.metrics import csim, image
from avatarkit.metrics.csim import IdentitySimilarity
from avatarkit.segmentation.pipeline import SegmentOptions, segment
from tests.benchmarks.photo_cases import (
    SIZE,
    Act,
    Looker,
    Points,
    Square,
    from_the_best,
    of_picture,
    without_coefficients,
)

Image = NDArray[np.uint8]
Float = NDArray[np.float32]
REGIONS = ("frame", "head", "mouth", "eyes")


def tensor(picture: Image) -> torch.Tensor:
    """[1, 3, H, W] in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / 255


def psnr(a: Image, b: Image) -> float:
    """In dB."""
    return float(image.psnr(tensor(a), tensor(b)))


def compared(made: Image, truth: Image, masks: Sequence[Float]) -> NDArray[np.float64]:
    """[regions, 2] PSNR in dB and SSIM over each of the ``masks`` [H, W]."""
    a, b = tensor(made), tensor(truth)
    pyramid = image.SsimPyramid(a, b)
    rows = []
    for mask in masks:
        weight = torch.from_numpy(np.ascontiguousarray(mask))[None, None]
        rows.append((float(image.psnr(a, b, weight)), float(pyramid.ssim(weight))))
    return np.array(rows)


def boxes(points: Points) -> list[Float]:
    """Masks [SIZE, SIZE] of the mouth and of both eyes."""
    masks = []
    for x0, y0, x1, y1 in landmark_boxes(points[:, :2]):
        mask = np.zeros((SIZE, SIZE), np.float32)
        mask[max(0, int(y0)) : int(y1) + 1, max(0, int(x0)) : int(x1) + 1] = 1
        masks.append(mask)
    return [masks[0], np.maximum(masks[1], masks[2])]


def heads_of(act: Act, frames: Sequence[int], square: Square) -> dict[int, Float]:
    """Head mattes [SIZE, SIZE] of some frames in the square, by frame number."""
    track = segment(without_coefficients(act, frames), act.clip, SegmentOptions(steady=0))
    assert track.mattes is not None
    left, top, side = (int(v) for v in track.crop[:3])
    found = {}
    for index, mattes in zip(frames, track.mattes, strict=True):
        matte = cv2.imdecode(np.frombuffer(mattes["head"], np.uint8), cv2.IMREAD_GRAYSCALE)
        scale = side / matte.shape[0] * SIZE / square.side
        shift = (np.array([left, top]) - (square.left, square.top)) * SIZE / square.side
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        found[index] = cv2.warpAffine(matte, matrix, (SIZE, SIZE)).astype(np.float32) / 255
    return found


@dataclass
class SelfResult:
    """One clip: [4, 2] PSNR and SSIM over the regions, of the method and of two ways to leave the photo as it is."""

    name: str
    moved: NDArray[np.float64]
    unmoved: NDArray[np.float64]
    aligned: NDArray[np.float64]
    rest: float
    """PSNR of the neutral frame driven by itself."""
    frames: int
    pictures: dict[str, list[Image]] = field(default_factory=dict)


def self_reenacted(act: Act, count: int, keep: int = 0) -> SelfResult:
    """The clip's neutral frame as photo, ``count`` other frames as driver, SIZE squared, no driver pixels."""
    act = from_the_best(act)
    frames = act.spread(count)
    square = Square.of(act)
    mattes = heads_of(act, frames, square)
    pictures = act.pictures([*frames, act.rest])
    photo = square.cut(pictures[act.rest])
    stage = of_picture(photo).begun(act.neutral, act.camera)
    start = square.places(np.asarray(act.neutral.landmarks))
    scores, shown = [], []
    kept = set(np.linspace(0, len(frames) - 1, keep).round().astype(int)) if keep else set()
    for i, index in enumerate(frames):
        truth = square.cut(pictures[index])
        made = stage.frame(act.drives[index])
        points = square.places(np.asarray(act.drives[index].landmarks))
        still = aligned(photo, start, points)
        masks = [np.ones((SIZE, SIZE), np.float32), mattes[index], *boxes(points)]
        scores.append([compared(p, truth, masks) for p in (made, photo, still)])
        if i in kept:
            shown.append((truth, made))
    moved, unmoved, similar = np.mean(scores, 0)
    rest = psnr(stage.frame(act.neutral), photo)
    result = SelfResult(act.clip.stem, moved, unmoved, similar, rest, len(frames))
    result.pictures = {"driver": [t for t, _ in shown], "result": [m for _, m in shown], "photo": [photo]}
    return result


def aligned(photo: Image, start: Points, now: Points) -> Image:
    """The photo under the similarity of the image that brings its stable points closest to ``now``'s."""
    points = list(STABLE)
    flat = [np.column_stack([p[points, :2], np.zeros(len(points))]) for p in (start, now)]
    move = fitted(*flat)
    matrix = np.column_stack([move.scale * move.rotation[:2, :2], move.shift[:2]])
    matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    return np.asarray(
        cv2.warpAffine(photo, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    )


@dataclass(frozen=True)
class Look:
    """What is measured of one face: relative to its own size and turn."""

    points: Points
    gap: float
    aperture: float
    width: float
    gaze: NDArray[np.float64]
    """[2] both eyes' mean, along and across, in eye widths."""

    @classmethod
    def of(cls, points: Points) -> Look:
        """Of landmarks [478, 3]."""
        own = face_frame(points).undone(points)
        face = rules.measured(own)
        width = float(np.linalg.norm(own[61] - own[291]))
        return cls(points, face.lip_gap, float(face.aperture[:, 2:7].mean()), width, face.gaze.mean(0))


@dataclass
class CrossResult:
    """One photo moved by one clip."""

    name: str
    rotation: float
    """degrees, mean."""
    landmarks: float
    """mean error over the face's width, per cent."""
    gap: float
    """correlations with the driver."""
    aperture: float
    gaze: float
    width_slope: float
    aperture_slope: float
    lost: int
    identity: float
    frames: int


def cross_driven(photo: Path, stage: Stage, act: Act, count: int, look: Looker) -> CrossResult:
    """The landmarker run on ``count`` frames of the photo driven by the clip."""
    begun = stage.begun(act.neutral, act.camera)
    avatar, motion = begun.avatar, begun.motion
    rest = look(begun.frame(act.neutral))
    assert rest is not None, photo
    start, driver = Look.of(rest), Look.of(np.asarray(act.neutral.landmarks, np.float64))
    network = csim.load()
    picture = avatar.layers.photo  # type: ignore[attr-defined]
    rows: list[tuple[Look, Look]] = []
    turns, errors, cosines, lost = [], [], [], 0
    face = float(np.linalg.norm(rest[454, :2] - rest[234, :2]))
    for index in act.spread(count):
        drive = act.drives[index]
        made = begun.frame(drive)
        seen = look(made)
        if seen is None:
            lost += 1
            continue
        now = np.asarray(drive.landmarks, np.float64)
        goal = avatar.posed(drive, motion).landmarks  # type: ignore[attr-defined]
        turns.append(angle(motion_of(rest, seen).rotation, motion_of(driver.points, now).rotation))
        errors.append(np.linalg.norm((seen - goal)[:MESH, :2], axis=1).mean() / face)
        if network is not None:
            cosines.append(identity(network, (made, seen), (picture, avatar.points)))  # type: ignore[attr-defined]
        rows.append((Look.of(now), Look.of(seen)))
    return CrossResult(
        f"{photo.stem} by {act.clip.stem}",
        float(np.mean(turns)),
        float(100 * np.mean(errors)),
        follows([(a.gap, b.gap) for a, b in rows]),
        follows([(a.aperture, b.aperture) for a, b in rows]),
        follows([(x, y) for a, b in rows for x, y in zip(a.gaze - driver.gaze, b.gaze - start.gaze, strict=True)]),
        slope([(a.width / driver.width, b.width / start.width) for a, b in rows]),
        slope([(a.aperture / driver.aperture, b.aperture / start.aperture) for a, b in rows]),
        lost,
        float(np.mean(cosines)) if cosines else float("nan"),
        len(rows) + lost,
    )  # fmt: skip


def angle(a: Points, b: Points) -> float:
    """Degrees between two rotations."""
    return float(np.degrees(np.arccos(np.clip((np.trace(a @ b.T) - 1) / 2, -1, 1))))


def follows(pairs: Sequence[tuple[float, float]]) -> float:
    """Pearson's correlation."""
    return float(np.corrcoef(np.array(pairs).T)[0, 1])


def slope(pairs: Sequence[tuple[float, float]]) -> float:
    """Of the least-squares line through (driver, result)."""
    x, y = np.array(pairs).T - np.mean(pairs, 0)[:, None]
    return float((x @ y) / (x @ x))


def identity(network: IdentitySimilarity, one: tuple[Image, Points], other: tuple[Image, Points]) -> float:
    """Cosine of two faces, each aligned by landmarks of its own."""
    places = np.asarray(one[1], np.float64)
    return float(network(one[0], brought(other[0], other[1], places, one[0].shape[:2]), places))


def brought(picture: Image, points: Points, places: Points, size: tuple[int, ...]) -> Image:
    """The picture under the similarity that lays the alignment points of ``points`` onto ``places``."""
    chosen = list(csim.POINTS)
    move = fitted(*(np.column_stack([p[chosen, :2] - 0.5, np.zeros(len(chosen))]) for p in (points, places)))
    matrix = np.column_stack([move.scale * move.rotation[:2, :2], move.shift[:2]])
    return np.asarray(cv2.warpAffine(picture, matrix, (size[1], size[0]), borderMode=cv2.BORDER_REPLICATE))


def own_rest(stage: Stage) -> float:
    """PSNR of the photo at rest against the photo."""
    from avatarkit.methods.driving import neutral_drive

    avatar = stage.avatar
    drawn = stage.begun(None, None).frame(neutral_drive(avatar.header))
    return psnr(drawn, avatar.layers.photo)  # type: ignore[attr-defined]


def turned_drive(stage: Stage, yaw: float, pitch: float = 0.0) -> Drive:
    """The photo's head turned by so many degrees."""
    from avatarkit.methods.driving import still

    return still(stage.avatar.header, {}, yaw, pitch, 0.0)
