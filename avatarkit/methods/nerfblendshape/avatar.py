"""The fitted avatar: what the file holds, and how it renders."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from avatarkit.data.rays import SceneBox
from avatarkit.files.errors import AvatarkitError
from avatarkit.methods.drivers import Drivers
from avatarkit.methods.nerfblendshape.field import Field, as_frame
from avatarkit.methods.nerfblendshape.warp import MeshWarp
from avatarkit.methods.registry import Drive, Frame
from avatarkit.ops.encode import HashGrid
from avatarkit.ops.mlp import FieldWeights
from avatarkit.ops.tables import BlendTables, pack_bases
from avatarkit.rendering.camera import Camera

NETWORK = ("density0", "density1", "color0", "color1")
PICTURES = ("plate", "torso")


@dataclass
class NeRFBlendShapeAvatar:
    """A head as blended radiance fields (Gao et al. 2022). See the registry's ``Avatar``."""

    header: dict[str, Any]
    field: Field
    tables: BlendTables
    drivers: Drivers
    bitfield: Tensor
    mesh: MeshWarp | None = None
    pictures: dict[str, Tensor] = dataclasses.field(default_factory=dict)
    """``plate`` and ``torso``: PNG bytes [N] uint8 of what stays behind the head."""

    def render(self, drive: Drive, camera: Camera) -> Frame:
        """The head alone as ``camera`` sees it; outside the head's box alpha is zero."""
        table = self.tables.blend(torch.from_numpy(self.drivers.of_drive(drive)))[0]
        rotation = torch.from_numpy(np.asarray(drive.rotation, np.float32))
        translation = torch.from_numpy(np.asarray(drive.translation, np.float32))
        warp = None
        if self.mesh is not None:
            warp = self.mesh.warp(torch.from_numpy(self.drivers.clamped(drive.expression)))
        return as_frame(self.field.image(table, rotation, translation, camera, self.bitfield, warp), camera)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and header of the avatar file. The bases are kept in half precision."""
        tensors = {
            "base": self.tables.base,
            "bases": self.tables.canonical().half(),
            "occupancy": self.bitfield,
            **dict(zip(NETWORK, (matrix.detach() for matrix in self.field.weights), strict=True)),
            **({} if self.mesh is None else self.mesh.state()),
            **self.pictures,
        }
        return tensors, self.header

    @classmethod
    def from_state(
        cls, tensors: dict[str, Tensor], header: dict[str, Any], device: str
    ) -> NeRFBlendShapeAvatar:
        """The avatar of a file. Raises AvatarkitError where tensors and header do not fit together."""
        if device != "cpu":
            raise AvatarkitError(f"--device {device}: nerfblendshape renders on the CPU; leave --device out")
        try:
            entry = header["field"]
            box = SceneBox((*map(float, entry["center"]),), float(entry["side"]))  # type: ignore[arg-type]
            grid = HashGrid(**{key: int(value) for key, value in entry["grid"].items()})
            weights = FieldWeights(*(tensors[name].float() for name in NETWORK)).checked()
            drivers = Drivers.from_header(header["expression_names"], header["drivers"])
            bases = tensors["bases"].float()
            if (
                tensors["base"].numel() != grid.size
                or bases.shape[0] != len(drivers)
                or bases.shape[1] > grid.size
                or weights.density0.shape[0] != grid.levels * grid.features
            ):
                raise ValueError("the tables do not fit the header")
            if not all(bool(torch.isfinite(t).all()) for t in (tensors["base"], bases, *weights)):
                raise ValueError("the weights are not finite")
            # An avatar is not trained further: no moments.
            none = torch.empty(2, 0)
            tables = BlendTables(tensors["base"].float(), none, pack_bases(bases), none, bases.shape[1])
            occupancy = tensors["occupancy"]
            step = float(entry["step"])
            mesh = MeshWarp.from_state(tensors, box.side, len(drivers.names))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise AvatarkitError(
                f"the avatar's weights and header do not fit together ({error}): fit it again"
            ) from error
        pictures = {name: tensors[name] for name in PICTURES if name in tensors}
        return cls(header, Field(grid, weights, box, step), tables, drivers, occupancy, mesh, pictures)


def field_header(shape: Field) -> dict[str, Any]:
    """The header's ``field`` entry, from which ``from_state`` makes the field's geometry again."""
    grid = shape.grid
    return {
        "center": list(shape.box.center),
        "side": shape.box.side,
        "step": shape.step,
        "grid": {
            "levels": grid.levels,
            "log2_size": grid.log2_size,
            "features": grid.features,
            "coarsest": grid.coarsest,
            "finest": grid.finest,
        },
    }
