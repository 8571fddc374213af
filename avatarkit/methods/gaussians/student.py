"""Any avatar as the teacher of a Gaussian one: what it is asked to show, and the clip that its answers make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from avatarkit.data.clip import crop_of
from avatarkit.files.track import Track
from avatarkit.heads.model import HeadModel
from avatarkit.methods.driving import drives, neutral_drive, performed
from avatarkit.methods.registry import Avatar, Drive, Frame
from avatarkit.methods.stage import Stage
from avatarkit.rendering import performance
from avatarkit.rendering.camera import Camera

Float = NDArray[np.float32]
Image = NDArray[np.uint8]

ACTED = ("talk", "smile", "turn", "blink", "idle")
FROM_CLIP, FROM_ACTS = 0.5, 0.5
"""Share of the drives that are the clip's own where there is one; of the others, those of built-in performances."""
HELD_OUT = 0.1
"""Share of every kind that the student never sees."""
FAR = 0.9
"""Share of the trusted range that random drives use."""


@dataclass(frozen=True)
class Lessons:
    """Drives for teaching and for the test afterwards."""

    teaching: list[Drive]
    """the first is the teacher's rest"""
    testing: list[Drive]


def lessons(header: dict[str, Any], track: Track | None, count: int, seed: int) -> Lessons:
    """``count`` drives inside the trusted range of the avatar of ``header``; a tenth of them is for testing.

    Half of them are frames of ``track`` where that is given. The others are built-in performances and random
    expressions and poses. Testing drives of a clip or of a performance are its last ones, so that they are no
    near copies of what is taught. No drive says where its torso is: it goes with the neck in all of them, as it does
    when other people drive.
    """
    kinds = []
    if track is not None:
        own = [drive for drive in drives(track, header) if drive is not None]
        kinds.append(_spread([replace(d, landmarks=None, torso=None) for d in own], round(FROM_CLIP * count)))
    left = count - sum(len(kind) for kind in kinds)
    acted = [drive for name in ACTED for drive in performed(performance.performance(name), header)]
    kinds.append(_spread(acted, round(FROM_ACTS * left)))
    kinds.append(_random(header, left - len(kinds[-1]), seed))
    teaching, testing = [replace(neutral_drive(header), torso=None)], []
    for kind in kinds:
        cut = len(kind) - round(HELD_OUT * len(kind))
        teaching += kind[:cut]
        testing += kind[cut:]
    return Lessons(teaching, testing)


def _spread(found: list[Drive], most: int) -> list[Drive]:
    if len(found) <= most:
        return found
    return [found[i] for i in np.linspace(0, len(found) - 1, most).round().astype(int)]


def _random(header: dict[str, Any], count: int, seed: int) -> list[Drive]:
    """Expressions of a few shapes at once, and poses, all within what the avatar was trained on."""
    random = np.random.default_rng([seed, 2])
    rest = replace(neutral_drive(header), torso=None)
    low, high = np.asarray(header["reference"]["expression_range"], np.float32)
    turn_low, turn_high = np.asarray(header["reference"]["turn_range"], np.float32)
    result = []
    for _ in range(count):
        chosen = random.random(len(low)) < 4 / max(len(low), 1)
        target = low + random.random(len(low), np.float32) * (high - low)
        expression = np.where(chosen, rest.expression + FAR * (target - rest.expression), rest.expression)
        turn = FAR * (turn_low + random.random(3, np.float32) * (turn_high - turn_low))
        gaze = rest.eyes + random.uniform(-0.15, 0.15, (1, 3)) * [1, 1, 0]
        result.append(
            replace(
                rest,
                rotation=(Rotation.from_rotvec(turn).as_matrix() @ rest.rotation).astype(np.float32),
                expression=expression.astype(np.float32),
                eyes=gaze.astype(np.float32),
            )
        )
    return result


@dataclass(frozen=True)
class _Shown:
    """An avatar that has drawn its picture already."""

    header: dict[str, Any]
    picture: Frame

    def render(self, drive: Drive, camera: Camera) -> Frame:
        """The picture, whatever is asked for."""
        return self.picture


def whole(stage: Stage) -> Stage:
    """``stage`` with a crop that holds all its avatar draws: whole pictures where it draws those itself."""
    if not stage.rigged:
        return stage
    width, height = stage.camera.width, stage.camera.height
    side = max(width, height)
    crop = ((width - side) // 2, (height - side) // 2, side)
    return replace(stage, scene=replace(stage.scene, crop=crop))


def person_of(stage: Stage, drive: Drive, resolution: int) -> Frame:
    """The whole person in the crop, torso and all, as the avatar on ``stage`` shows it."""
    head = stage.head(drive, resolution)
    if stage.rigged or stage.scene.torso is None:
        return head
    shown: Avatar = _Shown(stage.avatar.header, head)  # type: ignore[assignment]
    still = replace(stage, avatar=shown)
    light, dark = (
        still.before(lambda plate, tone=tone: np.full_like(plate, tone)).frame(drive, resolution, "crop")  # type: ignore[misc]
        for tone in (255, 0)
    )
    alpha = 1 - np.clip(light.astype(np.float32) - dark, 0, 255).mean(-1) / 255
    color = dark / (255 * np.maximum(alpha, 1e-3)[..., None])
    return Frame(np.clip(color, 0, 1).astype(np.float32), alpha.astype(np.float32))


class TaughtFrames:
    """What a teacher shows for each of its lessons, with the interface of ``ClipFrames``."""

    def __init__(
        self,
        stage: Stage,
        given: list[Drive],
        head: HeadModel,
        person: tuple[Float, NDArray[np.floating]] | None,
        resolution: int,
        plate: Image,
        progress: Callable[[dict[str, Any]], None],
    ) -> None:
        """Renders the drives ``given``; ``person`` are the neutral head and the shapes (None: the model's own)."""
        x, y, side = (int(v) for v in stage.scene.crop)
        self.crop, self.resolution = (x, y, side), resolution
        self.frame_size = stage.camera.width, stage.camera.height
        self.camera = stage.camera.cropped(x, y, side, resolution)
        self.positions = np.arange(len(given))
        self.plate = crop_of(plate, self.crop, resolution).astype(np.float32) / 255
        self.track = _track(stage, given, head, person)
        self._frames: list[tuple[Image, Image]] = []
        for i, drive in enumerate(given):
            frame = person_of(stage, drive, resolution)
            alpha = frame.alpha[..., None]
            picture = frame.rgb * alpha + (1 - alpha) * self.plate
            self._frames.append(
                ((picture * 255 + 0.5).astype(np.uint8), (frame.alpha * 255 + 0.5).astype(np.uint8))
            )
            progress({"stage": "teaching", "step": i + 1, "steps": len(given)})

    @property
    def visible(self) -> tuple[int, int, int, int]:
        """left, top, right, bottom (pixels of the crop, exclusive) of the part that lies inside the frame."""
        x, y, side = self.crop
        scale = self.resolution / side
        width, height = self.frame_size
        left, top = int(np.ceil(max(-x, 0) * scale)), int(np.ceil(max(-y, 0) * scale))
        right, bottom = ((min(start + side, end) - start) * scale for start, end in ((x, width), (y, height)))
        return left, top, int(right), int(bottom)

    def rgb(self, position: int) -> Image:
        """[R, R, 3] before the teacher's background."""
        return self._frames[position][0]

    def person(self, position: int) -> Image:
        """[R, R] 0 to 255."""
        return self._frames[position][1]

    head = person


def _track(
    stage: Stage, given: list[Drive], head: HeadModel, person: tuple[Float, NDArray[np.floating]] | None
) -> Track:
    header = stage.avatar.header
    neutral, shapes = person if person is not None else (head.vertices, None)
    count = len(given)

    def column(name: str) -> Float:
        return np.stack([np.asarray(getattr(drive, name), np.float32) for drive in given])

    return Track(
        meta={"head": header.get("head", {}), "video": header.get("clip", {})},
        frame=np.arange(count, dtype=np.int32),
        valid=np.ones(count, bool),
        intrinsics=np.asarray(stage.camera.intrinsics, np.float32),
        rotation=column("rotation"),
        translation=column("translation"),
        expression=column("expression"),
        expression_names=tuple(header["expression_names"]),
        neck=column("neck"),
        jaw=column("jaw"),
        eyes=column("eyes"),
        neutral=np.asarray(neutral, np.float32),
        landmarks=np.full((count, 478, 3), np.nan, np.float32),
        residual=np.zeros(count, np.float32),
        crop=np.array([*stage.scene.crop, stage.scene.crop[2]], np.int32),
        shapes=None if shapes is None else np.asarray(shapes, np.float16),
    )
