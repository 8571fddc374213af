"""A fitted radiance field as the registry's avatar: what the file holds, and how it renders."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from avatarkit.files.errors import AvatarkitError
from avatarkit.methods.radiance.model import RayModel, geometry
from avatarkit.methods.radiance.picture import draw_head
from avatarkit.methods.registry import Drive, Frame
from avatarkit.rendering.camera import Camera

PICTURES = ("plate", "torso")
PREFIX = "model."
# Large buffers of the training that rendering does not need.
LEFT_OUT = ("occupancy.density",)


@dataclass
class RayAvatar:
    """A head as a radiance field. See the registry's ``Avatar``."""

    build: ClassVar[Any]
    """(box, drivers, entry of ``sizes``) -> an empty model: what a method's avatar class gives."""

    header: dict[str, Any]
    model: RayModel
    pictures: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    """``plate`` and ``torso``: PNG bytes [N] uint8 of what stays behind the head."""

    def render(self, drive: Drive, camera: Camera) -> Frame:
        """The head alone as ``camera`` sees it; outside the head's box alpha is zero."""
        return draw_head(self.model, drive, camera)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and header of the avatar file."""
        weights = {
            PREFIX + name: value.detach()
            for name, value in self.model.state_dict().items()
            if name not in LEFT_OUT
        }
        return {**weights, **self.pictures}, self.header

    @classmethod
    def from_state(cls, tensors: dict[str, Tensor], header: dict[str, Any], device: str) -> Self:
        """The avatar of a file. Raises AvatarkitError where tensors and header do not fit together."""
        if device != "cpu":
            method = header.get("method", "it")
            raise AvatarkitError(f"--device {device}: {method} renders on the CPU; leave --device out")
        try:
            box, drivers = geometry(header)
            model: RayModel = cls.build(box, drivers, header["field"])
            own = {name.removeprefix(PREFIX): v for name, v in tensors.items() if name.startswith(PREFIX)}
            own |= {name: model.state_dict()[name] for name in LEFT_OUT}
            if not all(bool(torch.isfinite(value).all()) for value in own.values()):
                raise ValueError("the weights are not finite")
            model.load_state_dict(own)
        except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise AvatarkitError(
                f"the avatar's weights and header do not fit together ({reason}): fit it again"
            ) from error
        model.requires_grad_(False)
        return cls(header, model, {name: tensors[name] for name in PICTURES if name in tensors})
