"""The fitted avatar: what the file holds, and how it renders."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatarkit.files.errors import AvatarkitError
from avatarkit.methods.gaussians.drivers import Drivers
from avatarkit.methods.gaussians.puppet import Pose, Puppet
from avatarkit.methods.gaussians.rig import Rig
from avatarkit.methods.registry import Drive, Frame
from avatarkit.ops.anchors import BLENDED, CHANNELS
from avatarkit.ops.splat import blend
from avatarkit.rendering.camera import Camera

PICTURES = ("plate", "torso")
REACH = 0.08
"""Share of the crop's side by which the Gaussians go on around it (see ``planting.MARGIN``)."""
_RIG = ("neutral", "triangles", "shapes", "unit", "landmarks", "eyes", "rotation", "translation")
_POSITIONS = 3
"""Channels that half precision would move by a tenth of a pixel."""


@dataclass(eq=False)
class GaussiansAvatar:
    """A person as Gaussians bound to the tracked head. See the registry's ``Avatar``."""

    header: dict[str, Any]
    puppet: Puppet
    base: Tensor
    """[14, N] float32, all but the positions representable in half precision"""
    residual: Tensor
    """[K, 7, N] int8"""
    scale: Tensor
    """[K, 7] worth of one unit of ``residual``"""
    reach: ClassVar[float] = REACH
    pictures: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    """``plate`` and, where the crop is not the whole picture, ``torso``: encoded pictures [N] uint8."""

    @classmethod
    def quantized(
        cls,
        header: dict[str, Any],
        puppet: Puppet,
        base: Tensor,
        residual: Tensor,
        pictures: dict[str, Tensor],
    ) -> GaussiansAvatar:
        """The avatar of a fit's ``base`` [14, N] and float ``residual`` [K, 7, N], as its file will hold it."""
        rounded = base.half().float()
        rounded[:_POSITIONS] = base[:_POSITIONS]
        # a few outliers must not cost all others their precision
        scale = torch.zeros(residual.shape[:2])
        for shape, row in zip(residual, scale, strict=True):
            row.copy_(torch.quantile(shape.abs(), 0.9995, dim=1) / 127)
        scale.clamp_(min=1e-12)
        units = torch.round(residual / scale[..., None]).clamp(-127, 127).to(torch.int8)
        return cls(header, puppet, rounded, units, scale, pictures)

    def render(self, drive: Drive, camera: Camera) -> Frame:
        """The person as ``camera`` sees them, without background."""
        with torch.no_grad():
            pose = self.puppet.pose(drive)
            seen = self.puppet.draw(self.gaussians(pose), pose, camera).numpy()
        return as_frame(seen)

    def over(self, drive: Drive, camera: Camera, behind: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """[H, W, 3] the person as ``camera`` sees them, before ``behind`` [H, W, 3]: the quick way to a picture."""
        with torch.no_grad():
            pose = self.puppet.pose(drive)
            return self.puppet.draw_over(self.gaussians(pose), pose, camera, behind)

    def splats(self, drive: Drive) -> tuple[NDArray[np.float32], ...]:
        """Mean [N, 3], covariance [N, 6], color [N, 3] and opacity [N] of a drive; see ``files.ply``.

        Meters; the camera's axes (x right, y down, z forward), from the middle between the eyes.
        """
        with torch.no_grad():
            pose = self.puppet.pose(drive)
            mean, *others = (part.numpy() for part in self.puppet.carried(self.gaussians(pose), pose))
        return mean - np.asarray(drive.translation, np.float32), *others

    def gaussians(self, pose: Pose) -> Tensor:
        """[14, N] at rest as a pose blends them."""
        return blend(self.base, self.residual, torch.from_numpy(pose.coefficients), self.scale)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and header of the avatar file."""
        rig = self.puppet.rig
        drivers, entry = self.puppet.drivers.state()
        tensors = {
            "positions": self.base[:_POSITIONS].contiguous(),
            "base": self.base[_POSITIONS:].half(),
            "residual": self.residual,
            "scale": self.scale,
            "bone": self.puppet.bone.to(torch.int16),
            "opening": self.puppet.opening,
            "corrections": torch.from_numpy(self.puppet.corrections),
            "torso_map": torch.from_numpy(self.puppet.torso_map),
            "torso_rest": torch.from_numpy(self.puppet.torso_rest),
            **{f"rig.{name}": _small(getattr(rig, name)) for name in _RIG},
            **drivers,
            **self.pictures,
        }
        return tensors, {**self.header, "drivers": entry, "focal": self.puppet.focal}

    @classmethod
    def from_state(cls, tensors: dict[str, Tensor], header: dict[str, Any], device: str) -> GaussiansAvatar:
        """The avatar of a file; raises AvatarkitError where tensors and header do not fit together."""
        if device != "cpu":
            raise AvatarkitError(f"--device {device}: avatars of this method are rendered on the cpu")
        try:
            rig = Rig(**{name: _array(tensors[f"rig.{name}"], name) for name in _RIG})
            drivers = Drivers.from_state(tensors, header["drivers"])
            base = torch.cat([tensors["positions"].float(), tensors["base"].float()])
            puppet = Puppet(
                rig, drivers, tensors["bone"].int(), tensors["opening"],
                tensors["corrections"].float().numpy(), tensors["torso_map"].float().numpy(),
                tensors["torso_rest"].float().numpy(), float(header["focal"]),
            )  # fmt: skip
            _check(puppet, base, tensors["residual"], tensors["scale"], header["expression_names"])
        except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
            raise AvatarkitError(
                f"the avatar's weights and header do not fit together ({error}): fit it again"
            ) from error
        pictures = {name: tensors[name] for name in PICTURES if name in tensors}
        return cls(header, puppet, base, tensors["residual"], tensors["scale"].float(), pictures)


def _check(puppet: Puppet, base: Tensor, residual: Tensor, scale: Tensor, names: list[str]) -> None:
    """Raises ValueError where something would be read beyond its end, or is not finite."""
    rig, count, bases = puppet.rig, base.shape[1], len(puppet.drivers)
    shapes = {
        "base": (base.shape, (CHANNELS, count)),
        "bone": (puppet.bone.shape, (count,)),
        "opening": (puppet.opening.shape, (count,)),
        "residual": (residual.shape, (bases, BLENDED, count)),
        "scale": (scale.shape, (bases, BLENDED)),
        "corrections": (puppet.corrections.shape, (2, 6, bases + 1)),
        "rig.shapes": (rig.shapes.shape, (len(names), len(rig.neutral), 3)),
    }
    for name, (have, want) in shapes.items():
        if tuple(have) != want:
            raise ValueError(f"'{name}' is {list(have)}, not {list(want)}")
    if residual.dtype != torch.int8:
        raise ValueError(f"'residual' is {residual.dtype}, not int8")
    for name, index, end in (
        ("bone", puppet.bone.numpy(), rig.bones),
        ("rig.triangles", rig.triangles, len(rig.neutral)),
        ("rig.landmarks", rig.landmarks, len(rig.neutral)),
    ):
        if index.size and not (index.min() >= 0 and index.max() < end):
            raise ValueError(f"'{name}' points beyond what there is")
    for name, values in (
        ("base", base),
        ("scale", scale),
        ("corrections", torch.from_numpy(puppet.corrections)),
    ):
        if not bool(torch.isfinite(values).all()):
            raise ValueError(f"'{name}' is not finite")


def as_frame(seen: NDArray[np.float32]) -> Frame:
    """Straight color and alpha of a premultiplied picture [H, W, 4]."""
    alpha = seen[..., 3]
    straight = np.clip(seen[..., :3] / np.maximum(alpha, 1e-4)[..., None], 0, 1)
    return Frame(straight, np.clip(alpha, 0, 1))


def _small(values: NDArray[Any]) -> Tensor:
    """Indices as int16 where they fit."""
    if values.dtype == np.int32 and (not values.size or values.max() < 2**15):
        values = values.astype(np.int16)
    return torch.from_numpy(np.ascontiguousarray(values))


def _array(tensor: Tensor, name: str) -> NDArray[Any]:
    if name in ("triangles", "landmarks"):
        return tensor.int().numpy()
    return tensor.numpy() if name == "shapes" else tensor.float().numpy()
