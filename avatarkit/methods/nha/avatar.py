"""The fitted avatar: what the file holds, and how it renders."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatarkit.files.errors import AvatarkitError
from avatarkit.files.rigged import Motion, RiggedHead
from avatarkit.methods.drivers import Drivers
from avatarkit.methods.nha.coverage import Coverage
from avatarkit.methods.nha.figure import Figure
from avatarkit.methods.nha.geometry import JointRange
from avatarkit.methods.nha.template import Template
from avatarkit.methods.registry import Drive, Frame
from avatarkit.rendering.camera import Camera

PICTURES = ("plate", "torso")
PREFIX = "figure."


@dataclass(eq=False)
class NeuralHeadAvatar:
    """A person's head as mesh, geometry and texture network. See the registry's ``Avatar``."""

    header: dict[str, Any]
    figure: Figure
    coverage: Coverage
    """what the training frames showed"""
    pictures: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    """``plate`` and ``torso``: PNG bytes [N] uint8 of what stays behind the head."""

    def __post_init__(self) -> None:
        self.figure.requires_grad_(False)
        self.figure.coverage = self.coverage.tensor()
        with torch.no_grad():
            self.fields = self.figure.geometry.fields()
        """[V, 1 + K, 3] of the geometry network, which frames only mix"""

    def render(self, drive: Drive, camera: Camera) -> Frame:
        """The head alone as ``camera`` sees it."""
        return as_frame(self.figure.draw(drive, camera, self.fields).numpy())

    def over(self, drive: Drive, camera: Camera, behind: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """[H, W, 3] the head as ``camera`` sees it, before ``behind`` [H, W, 3]: the quick way to a picture."""
        seen = self.figure.draw(drive, camera, self.fields)
        picture = (seen[..., :3] * 255).addcmul_(1 - seen[..., 3:], torch.from_numpy(behind).float())
        return np.asarray(picture.add_(0.5).clamp_(0, 255).to(torch.uint8).numpy())

    def rigged(self, drive: Drive | None = None, size: int = 1024) -> RiggedHead:
        """For other programs: mesh, baked texture, morph targets, skeleton; see ``baking.rigged``."""
        from avatarkit.methods.nha import baking

        return baking.rigged(self, drive, size)

    def motion(self, drives: Sequence[Drive | None], fps: float) -> Motion:
        """The animation of a rigged head by ``drives``; see ``baking.motion``."""
        from avatarkit.methods.nha import baking

        return baking.motion(self, drives, fps)

    def moved(
        self, drive: Drive, size: int = 1024
    ) -> tuple[RiggedHead, NDArray[np.float32], NDArray[np.float32]]:
        """The rigged head baked for ``drive``, and its vertices and normals [V, 3] in head space at that moment."""
        from avatarkit.methods.nha import baking

        return baking.moved(self, drive, size)

    def refitted(
        self, drive: Drive, camera: Camera, rgb: NDArray[np.uint8], matte: NDArray[np.uint8],
        labels: NDArray[np.uint8], points: NDArray[np.floating], visible: tuple[int, int, int, int],
    ) -> Drive:  # fmt: skip
        """``drive`` with pose and coefficients fitted to a picture of the head alone; see ``refitting.refitted``.

        ``rgb`` [R, R, 3] as ``camera`` sees it, head ``matte`` and ``labels`` [R, R], landmarks ``points`` [L, 2] in
        its pixels, and left, top, right, bottom of what is ``visible``.
        """
        from avatarkit.methods.nha.evidence import Evidence
        from avatarkit.methods.nha.refitting import refitted

        evidence = Evidence.seen(rgb, matte, labels, points, visible)
        return refitted(self.figure, self.fields, drive, evidence, camera)

    @staticmethod
    def sizes(figure: Figure) -> dict[str, Any]:
        """The header entries from which ``from_state`` builds the figure again."""
        ranges = {f.name: getattr(figure.joints, f.name).tolist() for f in dataclasses.fields(JointRange)}
        return {
            "drivers": figure.drivers.header(),
            "joints": ranges,
            "networks": {
                "focal": figure.focal,
                "width": figure.texture.width,
                "bases": figure.geometry.mixing[-1].out_features,
                "static_geometry": figure.geometry.static,
                "static_texture": figure.texture.static,
            },
        }

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and header of the avatar file."""
        weights = {PREFIX + name: value.detach() for name, value in self.figure.state_dict().items()}
        tensors = {**self.figure.template.state(), **weights, **self.coverage.state(), **self.pictures}
        return tensors, self.header

    @classmethod
    def from_state(cls, tensors: dict[str, Tensor], header: dict[str, Any], device: str) -> NeuralHeadAvatar:
        """The avatar of a file; raises AvatarkitError where tensors and header do not fit together."""
        if device != "cpu":
            raise AvatarkitError(f"--device {device}: avatars of this method are rendered on the cpu")
        try:
            template = Template.from_state(tensors)
            drivers = Drivers.from_header(header["expression_names"], header["drivers"])
            joints = JointRange(**{k: np.asarray(v, np.float32) for k, v in header["joints"].items()})
            figure = Figure(template, drivers, joints, **header["networks"])
            own = {name.removeprefix(PREFIX): v for name, v in tensors.items() if name.startswith(PREFIX)}
            if not all(bool(torch.isfinite(value).all()) for value in own.values()):
                raise ValueError("the weights are not finite")
            figure.load_state_dict(own)
            coverage = Coverage.from_state(tensors, len(template))
            if len(template.unit) != len(header["expression_names"]):
                raise ValueError(
                    f"{len(template.unit)} shapes for {len(header['expression_names'])} expressions"
                )
        except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise AvatarkitError(
                f"the avatar's weights and header do not fit together ({reason}): fit it again"
            ) from error
        return cls(header, figure, coverage, {name: tensors[name] for name in PICTURES if name in tensors})


def as_frame(seen: NDArray[np.float32]) -> Frame:
    """Straight color and alpha of a premultiplied picture [H, W, 4]."""
    alpha = np.clip(seen[..., 3], 0, 1)
    straight = np.clip(seen[..., :3] / np.maximum(alpha, 1e-4)[..., None], 0, 1)
    return Frame(straight, alpha)
