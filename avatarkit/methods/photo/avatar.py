"""The prepared photo: what the file holds, and how it is drawn."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.files.errors import AvatarkitError
from avatarkit.heads import landmarks as marks
from avatarkit.heads import load
from avatarkit.heads.landmarks import OVAL
from avatarkit.heads.model import HeadModel
from avatarkit.methods.driving import neutral_drive
from avatarkit.methods.photo import draw, glasses, hands, mesh, warp
from avatarkit.methods.photo.depth import front_surface, outer_depth, relative_pixels
from avatarkit.methods.photo.eyes import Eye
from avatarkit.methods.photo.lids import Lid
from avatarkit.methods.photo.mouth import Mouth
from avatarkit.methods.photo.outline import Outline, strange
from avatarkit.methods.photo.prepare import Layers, layers
from avatarkit.methods.photo.transfer import LIMITS, Motion, Options, Posed, Rig
from avatarkit.methods.photo.underlay import Underlay
from avatarkit.methods.registry import Drive, Frame
from avatarkit.ops.layers import Composed, restore
from avatarkit.rendering.camera import Camera

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

FLIP = np.array([1.0, -1.0, -1.0])
PIVOT = 0.6
"""Share of the chin's rigid motion that the torso takes over where nothing tracks it."""

HELD = float(np.radians(2.0))
"""Turn held back from which the user is told."""


class PhotoAvatar:
    """One photo that moves like its driver (see the registry's ``Avatar``). Draws whole frames by itself."""

    def __init__(
        self, header: dict[str, Any], parts: Layers, points: Array, head: dict[str, NDArray[Any]]
    ) -> None:
        """``points`` [478, 3] the photo's landmarks; ``head``: ``neutral`` [V, 3] and ``shapes`` [E, V, 3] or none."""
        self.header, self.layers, self.head = header, parts, head
        self.height, self.width = parts.photo.shape[:2]
        self.points = points
        camera = header["camera"]
        self.camera = Camera(np.asarray(camera["intrinsics"], np.float32), self.width, self.height)
        self.rig = Rig(points, self._jaw())
        if header.get("glasses"):
            self.rig = Rig(points, self._jaw(), glasses.stiffness(self.rig.own))
        step = float(header["config"]["grid"]) * max(self.height, self.width) / 512
        self.mesh = mesh.build(points[: marks.MESH, :2], self.width, self.height, step)
        outer = self.mesh.points[marks.MESH :]
        head_points = self._head_points()
        front = front_surface(head_points, self._model.triangles, self.height, self.width)
        self.hands = np.asarray(header.get("hands", []), np.float64).reshape(-1, 21, 2)
        self.depth = hands.laid_on(outer_depth(outer, points, front), outer, self.hands, points)
        self.underlay = Underlay(self._model, head_points, parts)
        self.warp = warp.solve(self.mesh, self.depth, step, hands.shares(outer, self.hands, points))
        self.canvas = draw.Canvas(self.mesh, parts)
        self.outline = Outline(points, strange(parts.photo, parts.plate, points, self.hands))
        self.eyes = [Eye(parts.photo, points, eye) for eye in (0, 1)]
        self.lids = [Lid(parts.photo, points, eye) for eye in (0, 1)]
        self.mouth = Mouth(parts.photo, points, header["config"]["mouth"] != "photo")
        self.chin = points[152]
        self.held_back = 0
        """frames drawn so far whose turn was held back."""

    # Driving -------------------------------------------------------------------------------------------

    def start(self, neutral: Drive, camera: Camera | None = None, options: Options | None = None) -> Motion:
        """What a driver's frames are compared with: its ``neutral`` frame, seen by ``camera`` (not needed)."""
        options = options or Options()
        if neutral.landmarks is None or not np.isfinite(neutral.landmarks).all():
            return Motion.of(self._drawn(neutral), options, synthetic=True)
        return Motion.of(np.asarray(neutral.landmarks, np.float64), options)

    @cached_property
    def own_motion(self) -> Motion:
        """That of drives in the avatar's own terms: sliders, performances, transferred coefficients."""
        return self.start(replace(neutral_drive(self.header), landmarks=None))

    def posed(self, drive: Drive, motion: Motion | None = None) -> Posed:
        """The photo's face as ``drive`` has it; without ``motion`` the drive is in the avatar's own terms."""
        motion = motion or self.own_motion
        if motion.synthetic or drive.landmarks is None:
            return self.rig.posed(self._drawn(drive), motion)
        return self.rig.posed(np.asarray(drive.landmarks, np.float64), motion)

    def frame(self, drive: Drive, motion: Motion | None = None) -> Image:
        """[H, W, 3] the whole frame: person and background."""
        motion = motion or self.own_motion
        posed = self.posed(drive, motion)
        self.held_back += posed.held > HELD
        made = self._layered(posed, drive, motion)
        restore(made.image, self.lost, made.still)
        return made.image

    def notes(self) -> list[str]:
        """What the viewer of the frames drawn so far should know, one line each."""
        told = []
        if self.header.get("glasses"):
            told.append("glasses in the photo: they stay rigid; large turns bend their sides")
        if len(self.hands):
            told.append(
                "a hand is on the face in the photo: it moves rigidly with the head; a photo without looks better"
            )
        if self.held_back:
            down, yaw, roll = np.degrees(LIMITS[1]).round().astype(int)
            told.append(
                f"{self.held_back} frames turn the head further than one photo can show: held back near "
                f"{yaw} degrees of yaw, {down} of pitch, {roll} of roll"
            )
        return told

    def before(self, change: Callable[[Image], Image]) -> PhotoAvatar:
        """The same avatar with the background [H, W, 3] that ``change`` makes of its own."""
        other = copy.copy(self)
        # what the layers lack of the photo lies on the person: it stays, whatever is behind
        other.lost = np.rint(self.lost * self.layers.alpha).astype(np.int16)
        other.layers = replace(self.layers, plate=np.ascontiguousarray(change(self.layers.plate)))
        other.canvas = self.canvas.before(other.layers.plate)
        return other

    def render(self, drive: Drive, camera: Camera) -> Frame:
        """The person alone as ``camera`` sees it: a scaled crop of the photo's own view."""
        made = self._layered(self.posed(drive), drive, self.own_motion, alone=True)
        assert made.alpha is not None
        own, k = self.camera.intrinsics, np.asarray(camera.intrinsics, np.float64)
        scale = k[0, 0] / own[0, 0]
        shift = k[:2, 2] - scale * own[:2, 2]
        matrix = np.array(
            [[scale, 0, shift[0] + 0.5 * scale - 0.5], [0, scale, shift[1] + 0.5 * scale - 0.5]]
        )
        size = (camera.width, camera.height)
        rgb = cv2.warpAffine(
            made.image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        seen = cv2.warpAffine(made.alpha, matrix, size, flags=cv2.INTER_LINEAR)
        return Frame(rgb.astype(np.float32) / 255, seen.astype(np.float32) / 255)

    @cached_property
    def lost(self) -> NDArray[np.int16]:
        """[3, H, W] what the photo has over the layers put together at rest."""
        rest = self.rig.posed(self.own_motion.neutral, self.own_motion)
        rest = replace(rest, landmarks=self.points)
        made = self._layered(rest, None, self.own_motion)
        lost = self.layers.photo.astype(np.int16) - made.image
        return np.ascontiguousarray(lost.transpose(2, 0, 1))

    def _layered(self, posed: Posed, drive: Drive | None, motion: Motion, alone: bool = False) -> Composed:
        """The layers over each other; ``alone``: without the background, see ``Canvas.drawn``."""
        points = self._points(posed, self._torso(posed, drive, motion))
        chin = posed.head.undone(posed.landmarks[152]) - self.chin
        beneath = self.underlay.laid(posed.head, posed.turn, chin)
        made = self.canvas.drawn(points, beneath, self.outline.shifts(posed.head.rotation), alone)
        for eye in self.eyes:
            eye.draw(made.image, posed.landmarks)
        for lid in self.lids:
            lid.draw(made.image, posed.landmarks)
        lent = None
        if self.header["config"]["mouth"] == "driver" and drive is not None:
            lent = _mouth_of(drive)
        self.mouth.draw(made.image, posed.landmarks, posed.head, lent)
        return made

    def _points(self, posed: Posed, torso: Array) -> Array:
        """[N, 3] where the mesh lies."""
        head = np.column_stack([posed.head.scale * posed.head.rotation[:2], posed.head.shift[:2]])
        head[:, :2] -= np.eye(2)
        outline = list(OVAL)
        oval = (posed.landmarks - self.points)[outline, :2]
        moved = self.warp.displaced(oval, head, torso)
        outer = self.mesh.points[marks.MESH :] + moved
        depth = posed.head.applied(np.column_stack([self.mesh.points[marks.MESH :], self.depth]))[:, 2]
        # A jaw that opens goes back, too: what hangs on it must not come to lie before it.
        depth += self.warp.from_oval @ (posed.landmarks - posed.head.applied(self.points))[outline, 2]
        return np.concatenate([posed.landmarks[: marks.MESH], np.column_stack([outer, depth])])

    def _torso(self, posed: Posed, drive: Drive | None, motion: Motion) -> Array:
        """[2, 3] the torso's similarity minus identity, pixels: as tracked, else a share of what the neck does."""
        if drive is not None and drive.torso is not None and not motion.synthetic:
            return _carried(
                drive.torso, motion.neutral[152, :2], self.chin[:2], self.rig.size_against(motion)
            )
        pivot = self.chin + np.array([0, 0, 0.35 * self.rig.width])
        moved = posed.head.applied(pivot) - pivot
        return np.column_stack([np.zeros((2, 2)), PIVOT * moved[:2]])

    # The fitted head -----------------------------------------------------------------------------------

    @cached_property
    def _model(self) -> HeadModel:
        return load(self.header["head"].get("name", "builtin"))

    def _posed_head(self, drive: Drive) -> Array:
        """[V, 3] camera space."""
        vertices = self._model.posed(
            expression=drive.expression, eyes=drive.eyes,
            neutral=self.head["neutral"], shapes=self.head.get("shapes"),
        )  # fmt: skip
        return np.asarray(vertices @ np.asarray(drive.rotation).T + drive.translation, np.float64)

    def _drawn(self, drive: Drive) -> Array:
        """[478, 3] landmarks of the photo's fitted head under ``drive``, as a detector would see them."""
        origin = float(neutral_drive(self.header).translation[2])
        return relative_pixels(self._posed_head(drive)[self._model.landmarks], self.camera.intrinsics, origin)

    def _head_points(self) -> Array:
        """[V, 3] the fitted head at rest in pixels and depth, its depth on the landmarks' level."""
        rest = neutral_drive(self.header)
        points = relative_pixels(self._posed_head(rest), self.camera.intrinsics, float(rest.translation[2]))
        stable = list(marks.STABLE)
        points[:, 2] += np.median(self.points[stable, 2] - points[self._model.landmarks[stable], 2])
        return points

    def _jaw(self) -> Array:
        """[468, 3] displacement by jawOpen in template axes (image axes, meters)."""
        model = self._model
        shape = model.shapes[model.expression_names.index("jawOpen")]
        return np.asarray(shape[model.landmarks[: marks.MESH]] * FLIP, np.float64)

    # Files ---------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and header of the avatar file; pictures as PNG bytes."""
        import torch

        matte = (self.layers.alpha * 255).round().astype(np.uint8)
        tensors = {
            "photo": _png(self.layers.photo), "matte": _png(matte), "plate": _png(self.layers.plate),
            "landmarks": torch.from_numpy(self.points.astype(np.float32)),
            "neutral": torch.from_numpy(np.asarray(self.head["neutral"], np.float32)),
        }  # fmt: skip
        if "shapes" in self.head:
            tensors["shapes"] = torch.from_numpy(np.asarray(self.head["shapes"], np.float16))
        return tensors, self.header

    @classmethod
    def from_state(cls, tensors: dict[str, Tensor], header: dict[str, Any], device: str) -> PhotoAvatar:
        """The avatar of a file. Raises AvatarkitError where tensors and header do not fit together."""
        if device != "cpu":
            raise AvatarkitError(f"--device {device}: photo renders on the CPU; leave --device out")
        try:
            pictures = [_picture(tensors[name]) for name in ("photo", "matte", "plate")]
            photo, matte, plate = pictures
            points = tensors["landmarks"].numpy().astype(np.float64)
            head = {"neutral": tensors["neutral"].numpy()}
            if "shapes" in tensors:
                head["shapes"] = tensors["shapes"].float().numpy()
            if (
                points.shape != (marks.COUNT, 3)
                or photo.shape != plate.shape
                or matte.shape != photo.shape[:2]
            ):
                raise ValueError("sizes differ")
            return cls(header, layers(photo, matte, points, plate), points, head)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise AvatarkitError(
                f"the avatar's pictures and header do not fit together ({error}): fit it again"
            ) from error


def _mouth_of(drive: Drive) -> tuple[Image, Array] | None:
    """The driver's picture and landmarks, where it has both."""
    if drive.picture is None or drive.landmarks is None:
        return None
    return np.asarray(drive.picture, np.uint8), np.asarray(drive.landmarks, np.float64)


def _carried(torso: NDArray[np.floating], chin: Array, own: Array, size: float) -> Array:
    """A driver's ``torso`` [2, 3] about its ``chin`` [2] as a similarity about the photo's ``own``, minus identity."""
    linear = np.asarray(torso[:, :2], np.float64)
    travel = linear @ chin + torso[:, 2] - chin
    return np.column_stack([linear - np.eye(2), own - linear @ own + size * travel])


def _png(image: Image) -> Tensor:
    import torch

    good, data = cv2.imencode(".png", image[..., ::-1] if image.ndim == 3 else image)
    assert good
    return torch.from_numpy(np.asarray(data, np.uint8).reshape(-1).copy())


def _picture(data: Tensor) -> Image:
    image = cv2.imdecode(data.numpy(), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ValueError("a picture is damaged")
    return np.ascontiguousarray(image[..., ::-1] if image.ndim == 3 else image)
