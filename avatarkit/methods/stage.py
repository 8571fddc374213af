"""An avatar on its stage: the file, the drawable avatar, and the frames that a viewer sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.files import identities
from avatarkit.files.avatar import load_avatar_file
from avatarkit.files.errors import AvatarkitError, UsageError
from avatarkit.methods import registry
from avatarkit.methods.driving import neutral_drive
from avatarkit.methods.registry import Avatar, Drive, Frame
from avatarkit.rendering.camera import Camera
from avatarkit.rendering.composite import Scene
from avatarkit.rendering.performance import NECK_PIVOT
from avatarkit.rendering.viewpoint import Viewpoint

Image = NDArray[np.uint8]


@dataclass
class Stage:
    """An avatar with the scene of its training clip. ``camera`` is that of the whole original frame."""

    avatar: Avatar
    scene: Scene
    camera: Camera
    resolution: int
    """pixels of the square head crop the avatar was trained at."""
    motion: Any = None
    """what an avatar that draws whole frames compares its driver with (see ``begun``)."""
    viewpoint: Viewpoint | None = None
    """another camera than the clip's, which ``frame`` then shows."""

    @property
    def rigged(self) -> bool:
        """Whether the avatar draws whole frames itself, from a driver's own landmarks."""
        return hasattr(self.avatar, "start") and hasattr(self.avatar, "frame")

    def begun(self, neutral: Drive | None, camera: Camera | None) -> Stage:
        """The stage ready for a driver whose rest is ``neutral`` seen by ``camera``; None: drives are the avatar's."""
        if not self.rigged or neutral is None:
            return replace(self, motion=None)
        return replace(self, motion=self.avatar.start(neutral, camera))  # type: ignore[attr-defined]

    @classmethod
    def load(cls, path: Path, device: str = "cpu", identity: int = 0) -> Stage:
        """The avatar of a file by whichever method made it; ``identity`` numbers those of a file of several.

        Raises AvatarkitError or UsageError for unusable files.
        """
        tensors, header = identities.chosen(*load_avatar_file(path), identity)
        avatar = registry.get(header["method"]).Avatar.from_state(tensors, header, device)
        return cls.of(avatar, tensors)

    @classmethod
    def of(cls, avatar: Avatar, tensors: dict[str, Any]) -> Stage:
        """The stage of an avatar whose state holds ``plate`` and ``torso`` as PNG bytes (white where absent)."""
        header = avatar.header
        k = header["camera"]
        camera = Camera(np.asarray(k["intrinsics"], np.float32), int(k["width"]), int(k["height"]))
        plate = _decode(tensors, "plate", 3)
        if plate is None:
            plate = np.full((camera.height, camera.width, 3), 255, np.uint8)
        crop = tuple(int(c) for c in header["crop"][:3])
        taken = header.get("reference", {}).get("torso_taken")
        at = None if taken is None else np.asarray(taken, np.float32)
        scene = Scene(plate, _decode(tensors, "torso", 4), (crop[0], crop[1], crop[2]), at)
        return cls(avatar, scene, camera, int(header["resolution"]))

    def with_background(self, background: str) -> Stage:
        """The same stage before ``plate`` (its own), ``white``, ``black`` or an image file stretched to the frame."""
        if background == "plate":
            return self
        height, width = self.scene.plate.shape[:2]
        if background in ("white", "black"):
            plate = np.full((height, width, 3), 255 if background == "white" else 0, np.uint8)
        else:
            picture = cv2.imdecode(_bytes(Path(background)), cv2.IMREAD_COLOR)
            if picture is None:
                raise AvatarkitError(
                    f"--background {background}: not a picture; give plate, white, black or an image"
                )
            plate = cv2.resize(picture[..., ::-1], (width, height), interpolation=cv2.INTER_AREA)
        return replace(self, scene=replace(self.scene, plate=np.ascontiguousarray(plate)))

    def before(self, change: Callable[[Image], Image]) -> Stage:
        """The same stage with the background [H, W, 3] that ``change`` makes of its own."""
        if self.rigged:
            return replace(self, avatar=self.avatar.before(change))  # type: ignore[attr-defined]
        plate = np.ascontiguousarray(change(self.scene.plate))
        return replace(self, scene=replace(self.scene, plate=plate))

    def seen_from(self, viewpoint: Viewpoint) -> Stage:
        """The same stage before another camera. Raises UsageError for avatars that know only their photo's view."""
        if self.rigged:
            raise UsageError("--camera: this avatar is a photo and has no other view; give frame or crop")
        return replace(self, viewpoint=viewpoint)

    def without_torso(self) -> Stage:
        """The head alone before the background, for views the flat torso cannot follow."""
        return replace(self, scene=replace(self.scene, torso=None))

    def head(self, drive: Drive, resolution: int | None = None) -> Frame:
        """The head alone in its square crop at ``resolution`` pixels (default: as trained)."""
        x, y, size = self.scene.crop
        return self.avatar.render(drive, self.camera.cropped(x, y, size, resolution or self.resolution))

    def frame(self, drive: Drive, resolution: int | None = None, view: str = "frame") -> Image:
        """What a viewer sees: [H, W, 3] uint8, the whole original ``frame`` or only the head ``crop``."""
        if self.rigged:
            whole: Image = self.avatar.frame(drive, self.motion)  # type: ignore[attr-defined]
            return whole if view == "frame" else self._cropped(whole, resolution or self.resolution)
        if self.viewpoint is not None:
            return self._from_elsewhere(drive, self.viewpoint)
        if hasattr(self.avatar, "over"):
            return self._painted(drive, resolution or self.resolution, view)
        head = self.head(drive, resolution)
        behind = self.scene.behind(self._torso_motion(drive))
        if view == "crop":
            inside = self.scene.window(behind, head.rgb.shape[0])
            image = inside + head.alpha[..., None] * (head.rgb - inside)
        else:
            image = self.scene.over(behind, head.rgb, head.alpha)
        return (image * 255 + 0.5).astype(np.uint8)

    def _painted(self, drive: Drive, resolution: int, view: str) -> Image:
        """The picture of an avatar that draws itself over a background, in the frame at the frame's own resolution."""
        behind, still = self.scene.plate, self.scene.torso is None
        if not still:
            behind = (self.scene.behind(self._torso_motion(drive)) * 255 + 0.5).astype(np.uint8)
        x, y, size = self.scene.crop
        painter: Callable[[Drive, Camera, Image], Image] = self.avatar.over  # type: ignore[attr-defined]
        if view == "crop":
            if still:
                inside = self.scene.plate_window(resolution)
            else:
                inside = np.asarray(self.scene.window(behind, resolution), np.uint8)
            return painter(drive, self.camera.cropped(x, y, size, resolution), inside)
        grown = round(size * float(getattr(self.avatar, "reach", 0.0)))
        left, top = max(x - grown, 0), max(y - grown, 0)
        right = min(x + size + grown, self.camera.width)
        bottom = min(y + size + grown, self.camera.height)
        k = np.array(self.camera.intrinsics, np.float32)
        k[:2, 2] -= (left, top)
        part = np.ascontiguousarray(behind[top:bottom, left:right])
        result = behind.copy()
        result[top:bottom, left:right] = painter(drive, Camera(k, right - left, bottom - top), part)
        return result

    def _from_elsewhere(self, drive: Drive, viewpoint: Viewpoint) -> Image:
        rotation, translation = viewpoint.pose(drive.rotation, drive.translation)
        seen = replace(drive, rotation=rotation, translation=translation)
        depth = float(neutral_drive(self.avatar.header).translation[2])
        behind = viewpoint.behind(self.scene, self.camera, self._torso_motion(drive), depth)
        if hasattr(self.avatar, "over"):
            painter: Callable[[Drive, Camera, Image], Image] = self.avatar.over
            return painter(seen, viewpoint.camera, np.ascontiguousarray(behind * 255 + 0.5, np.uint8))
        head = self.avatar.render(seen, viewpoint.camera)
        image = behind + head.alpha[..., None] * (head.rgb - behind)
        return (image * 255 + 0.5).astype(np.uint8)

    def _cropped(self, whole: Image, resolution: int) -> Image:
        return np.asarray(self.scene.window(whole, resolution).round(), np.uint8)

    def _torso_motion(self, drive: Drive) -> NDArray[np.float32]:
        """[2, 3] from where the torso rests: as it was followed in the avatar's own clip, else with the neck."""
        rest = neutral_drive(self.avatar.header)
        pivot = np.asarray(NECK_PIVOT, np.float64)
        now, before = (self.camera.project(d.rotation @ pivot + d.translation) for d in (drive, rest))
        return self.scene.motion(drive.torso, rest.torso, (now, before))


def _decode(tensors: dict[str, Any], key: str, channels: int) -> Image | None:
    if key not in tensors:
        return None
    image = cv2.imdecode(np.asarray(tensors[key], np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3 or image.shape[2] != channels:
        raise AvatarkitError(f"the avatar's '{key}' picture is damaged: fit the avatar again")
    order = [2, 1, 0, 3][:channels]
    return np.ascontiguousarray(image[..., order])


def _bytes(path: Path) -> NDArray[np.uint8]:
    try:
        return np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise AvatarkitError(f"cannot read {path}: {error.strerror}") from error
