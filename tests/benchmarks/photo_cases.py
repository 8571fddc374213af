"""What the benchmark and the sheets of ``reenact`` share: clips acted as the command acts them, photos prepared."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from avatarkit import heads
from avatarkit.commands import acting, reenactment
from avatarkit.files.images import write_image
from avatarkit.files.track import Track
from avatarkit.files.video import read_frames_at
from avatarkit.methods.driving import neutral_frame
from avatarkit.methods.registry import Drive
from avatarkit.methods.stage import Stage
from avatarkit.methods.steering import Steering
from avatarkit.rendering.camera import Camera
from avatarkit.tracking.detectors import FaceMesh
from avatarkit.tracking.torso import based_on

SIZE = 512
LONGEST = 1200
"""Frames of a clip that are looked at."""
Image = NDArray[np.uint8]
Points = NDArray[np.float64]


def data() -> Path:
    """The folder of clips and photos."""
    return Path(os.environ.get("AVATARKIT_SHARED", "../shared")) / "data"


@dataclass(frozen=True)
class Act:
    """A clip's motion as ``reenact`` sees it, and some of its pictures."""

    clip: Path
    calibration: Track
    neutral: Drive
    camera: Camera
    drives: dict[int, Drive]
    """by frame number; frames without a face are missing."""
    held: int
    """frames without a usable face."""
    rest: int
    """the neutral frame's number."""

    def spread(self, count: int) -> list[int]:
        """``count`` frame numbers over the clip, without the neutral one."""
        frames = np.array([f for f in sorted(self.drives) if f != self.rest])
        return sorted({int(frames[i]) for i in np.linspace(0, len(frames) - 1, count).round().astype(int)})

    def pictures(self, frames: Sequence[int]) -> dict[int, Image]:
        """Whole frames of the clip by number."""
        return dict(read_frames_at(self.clip, sorted(set(frames))))


def acted(clip: Path) -> Act:
    """The whole clip (LONGEST frames at most) followed as the command follows it."""
    header = {"expression_names": heads.load("builtin").expression_names, "clip": {}}
    wishes = acting.Wishes("relative", Steering(), max_frames=LONGEST)
    with acting.opened(str(clip), clip, header, wishes, True) as actor:
        assert isinstance(actor, acting.Tracked) and actor.neutral is not None and actor.camera is not None
        found = dict(actor.drives())
        drives = {index: drive for index, drive in found.items() if drive is not None}
        rest = int(actor.begun.frame[neutral_frame(actor.begun)])
        return Act(clip, actor.begun, actor.neutral, actor.camera, drives, len(found) - len(drives), rest)


def from_the_best(act: Act) -> Act:
    """The act seen from the most neutral frame of the whole clip, not only of its beginning."""
    frames = sorted(act.drives)
    whole = without_coefficients(act, frames)
    best = frames[neutral_frame(whole)]
    start = act.drives[best]
    drives = act.drives
    if start.torso is not None:
        drives = {
            i: replace(d, torso=None if d.torso is None else based_on(d.torso, start.torso))
            for i, d in drives.items()
        }
    return replace(act, neutral=drives[best], rest=best, drives=drives)


def prepared(photo: Path, size: int = SIZE) -> Stage:
    """The photo as the command prepares it."""
    return reenactment.prepared(reenactment.Job((photo,), size=size), photo, True)


def of_picture(picture: Image) -> Stage:
    """The stage of a picture that lies in no file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.png"
        write_image(path, picture)
        return prepared(path)


@dataclass(frozen=True)
class Square:
    """The square of a clip around its face, scaled to SIZE pixels."""

    left: int
    top: int
    side: int

    @classmethod
    def of(cls, act: Act) -> Square:
        """As large as fits, with the neutral face as near its middle as may be."""
        width, height = act.camera.width, act.camera.height
        side = min(width, height)
        assert act.neutral.landmarks is not None
        middle = act.neutral.landmarks[:468, :2].mean(0)
        left, top = (int(np.clip(middle[i] - side / 2, 0, (width, height)[i] - side)) for i in (0, 1))
        return cls(left, top, side)

    def cut(self, frame: Image) -> Image:
        """[SIZE, SIZE, 3] of a frame."""
        part = frame[self.top : self.top + self.side, self.left : self.left + self.side]
        method = cv2.INTER_AREA if self.side > SIZE else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(part, (SIZE, SIZE), interpolation=method), np.uint8)

    def places(self, points: NDArray[np.floating]) -> Points:
        """Landmarks [478, 3] of the frame in the square's pixels."""
        return np.asarray((points - (self.left, self.top, 0)) * (SIZE / self.side), np.float64)


class Looker:
    """The landmarks of single pictures."""

    def __init__(self) -> None:
        self.mesh = FaceMesh()

    def __call__(self, picture: Image) -> Points | None:
        """[478, 3], or None where there is no face; the mesh settles from a fresh detection."""
        self.mesh.reset()
        faces = []
        for _ in range(2):
            faces = self.mesh.detect(picture)
            if not faces:
                return None
        return np.asarray(faces[0].points, np.float64)


def without_coefficients(act: Act, frames: Sequence[int]) -> Track:
    """The act's ``frames`` as a track (poses and landmarks)."""
    rows = [act.drives[f] for f in frames]
    begun, count = act.calibration, len(frames)
    return replace(
        begun,
        frame=np.array(frames, np.int32),
        valid=np.ones(count, np.bool_),
        rotation=np.stack([d.rotation for d in rows]),
        translation=np.stack([d.translation for d in rows]),
        expression=np.stack([d.expression for d in rows]),
        neck=np.stack([d.neck for d in rows]),
        jaw=np.stack([d.jaw for d in rows]),
        eyes=np.stack([d.eyes for d in rows]),
        landmarks=np.stack([np.asarray(d.landmarks) for d in rows]),
        residual=np.zeros(count, np.float32),
        torso=None,
    )
