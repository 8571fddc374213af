"""What the viewer shows: an avatar, what it can play, and the picture of one request. Knows nothing of the network."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from avatarkit.files.errors import UsageError
from avatarkit.methods.driving import neutral_drive, possible, still, turned
from avatarkit.methods.registry import Drive
from avatarkit.methods.stage import Stage
from avatarkit.rendering.viewpoint import Viewpoint

Image = NDArray[np.uint8]
REGIONS = (
    ("brows", ("brow",)),
    ("eyes", ("eye",)),
    ("cheeks and nose", ("cheek", "nose")),
    ("jaw", ("jaw",)),
    ("mouth", ("mouth",)),
    ("tongue", ("tongue",)),
)
LIMITS = {"yaw": 45.0, "pitch": 30.0, "roll": 30.0, "orbitYaw": 60.0, "orbitPitch": 40.0}
"""Degrees to both sides that the page offers."""


def grouped(names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Expression names by region, in the order of ``REGIONS``; what belongs to none comes last as ``other``."""
    groups = [(title, [n for n in names if n.startswith(starts)]) for title, starts in REGIONS]
    known = {name for _, members in groups for name in members}
    groups.append(("other", [name for name in names if name not in known]))
    return [(title, members) for title, members in groups if members]


@dataclass(frozen=True)
class Clip:
    """Something to play: drives at ``fps``. ``stage`` is ready for them (see ``Stage.begun``)."""

    name: str
    fps: float
    drives: list[Drive]
    stage: Stage
    follows: bool = False
    """whether it is a driver's own face that is shown, to which sliders add nothing."""


@dataclass(frozen=True)
class View:
    """One request of the page. Angles in degrees; see ``Session.image``."""

    expression: dict[str, float] = field(default_factory=dict)
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """yaw, pitch and roll of the head."""
    orbit: tuple[float, float] = (0.0, 0.0)
    """yaw and pitch of the camera about the head."""
    zoom: float = 1.0
    size: int = 512
    whole: bool = False
    """the whole frame of the clip instead of the head's square."""
    clip: str = ""
    """name of the clip that plays; empty: the avatar at rest."""
    frame: int = 0

    @classmethod
    def of(cls, request: dict[str, Any], names: Sequence[str]) -> View:
        """The view of a JSON request, everything inside its limits. Raises UsageError for what cannot be."""

        def number(key: str, low: float, high: float, default: float = 0.0) -> float:
            value = request.get(key, default)
            if not isinstance(value, int | float) or not np.isfinite(value):
                raise UsageError(f"{key} must be a number")
            return float(np.clip(value, low, high))

        expression = request.get("expression", {})
        if not isinstance(expression, dict) or not all(
            name in names and isinstance(value, int | float) and np.isfinite(value)
            for name, value in expression.items()
        ):
            raise UsageError("expression must hold numbers by the avatar's expression names")
        within = {key: number(key, -limit, limit) for key, limit in LIMITS.items()}
        return cls(
            expression={name: float(np.clip(value, -1, 1)) for name, value in expression.items()},
            turn=(within["yaw"], within["pitch"], within["roll"]),
            orbit=(within["orbitYaw"], within["orbitPitch"]),
            zoom=number("zoom", 0.5, 4.0, 1.0),
            size=int(number("size", 64, 1024, 512)),
            whole=bool(request.get("whole", False)),
            clip=str(request.get("clip", "")),
            frame=int(number("frame", 0, 1e9)),
        )


class Session:
    """An avatar on its stage and the clips it can play. Any thread may ask for an image; one at a time is drawn."""

    def __init__(self, stage: Stage, clips: Sequence[Clip] = ()) -> None:
        self.stage = stage.begun(None, None)
        self.clips = {clip.name: clip for clip in clips}
        self.names = tuple(stage.avatar.header["expression_names"])
        self._lock = threading.Lock()

    def description(self) -> dict[str, Any]:
        """What the page needs to know before the first picture, ready for JSON."""
        header = self.stage.avatar.header
        low, high = header["reference"]["expression_range"]
        rest = neutral_drive(header).expression
        return {
            "method": header["method"],
            "groups": grouped(self.names),
            "rest": dict(zip(self.names, np.asarray(rest, float).tolist(), strict=True)),
            "trained": {n: [low[i], high[i]] for i, n in enumerate(self.names)},
            "limits": LIMITS,
            "orbits": not self.stage.rigged,
            "resolution": self.stage.resolution,
            "clips": [
                {"name": c.name, "fps": c.fps, "frames": len(c.drives), "follows": c.follows}
                for c in self.clips.values()
            ],
        }

    def image(self, view: View) -> Image:
        """[H, W, 3] the picture of ``view``: the clip's frame or the rest, sliders added, the head turned, seen so."""
        stage, drive = self.stage, still(self.stage.avatar.header, {})
        clip = self.clips.get(view.clip)
        if clip is not None and clip.drives:
            stage, drive = clip.stage, clip.drives[view.frame % len(clip.drives)]
        if view.expression:
            expression = drive.expression.copy()
            for name, value in view.expression.items():
                expression[self.names.index(name)] += value
            rest = neutral_drive(stage.avatar.header)
            drive = replace(drive, expression=possible(np.clip(expression, 0, 1), rest, self.names))
        if any(view.turn) and drive.landmarks is None:
            drive = turned(drive, *view.turn)
        with self._lock:
            if stage.rigged:
                return _zoomed(stage.frame(drive, view.size, "frame" if view.whole else "crop"), view)
            if view.whole and not any(view.orbit) and view.zoom == 1.0:
                return stage.frame(drive, None, "frame")
            if (
                not (view.whole or any(view.orbit)) and view.zoom == 1.0
            ):  # the clip's own camera is the quickest
                return stage.frame(drive, view.size, "crop")
            return stage.seen_from(self._camera(view)).frame(drive)

    def _camera(self, view: View) -> Viewpoint:
        """The clip's camera swung about the resting head, its square crop (or whole frame) enlarged by ``zoom``."""
        yaw, pitch = view.orbit
        # the camera goes to the right of the picture and up with positive angles, so the world turns back
        turn = Rotation.from_euler("XY", [-pitch, yaw], degrees=True).as_matrix()
        center = np.asarray(neutral_drive(self.stage.avatar.header).translation, np.float64)
        if view.whole:
            own = self.stage.camera
            scale = view.size / max(own.width, own.height)
            camera = own.scaled(2 * round(own.width * scale / 2), 2 * round(own.height * scale / 2))
            return Viewpoint(camera, turn, center - turn @ center)
        x, y, side = self.stage.scene.crop
        small = side / view.zoom
        edge = (side - small) / 2
        camera = self.stage.camera.cropped(x + edge, y + edge, small, view.size)
        return Viewpoint(camera, turn, center - turn @ center)


def _zoomed(image: Image, view: View) -> Image:
    """The middle of a picture that cannot be drawn from nearer, enlarged."""
    if view.zoom <= 1.0:
        return image
    height, width = image.shape[:2]
    h, w = round(height / view.zoom), round(width / view.zoom)
    top, left = (height - h) // 2, (width - w) // 2
    part = np.ascontiguousarray(image[top : top + h, left : left + w])
    return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
