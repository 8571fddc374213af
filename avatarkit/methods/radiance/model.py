"""What a radiance field of a head has to offer to be trained, rendered and saved here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from avatarkit.data.rays import SceneBox
from avatarkit.methods.drivers import Drivers
from avatarkit.methods.radiance.occupancy import CELLS, Occupancy
from avatarkit.methods.registry import Drive
from avatarkit.ops.occupancy import cell_points
from avatarkit.rendering.volume import Volume

FieldAt = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(points [N, 3] in the unit cube, directions [N, 3]) -> density [N] per side of the cube, rgb [N, 3]."""


@dataclass(frozen=True)
class Moment:
    """What of one frame a field is told."""

    expression: Tensor
    """[E] all coefficients, those in use kept to the training range."""
    weights: Tensor
    """[K] the drivers."""
    frame: int = -1
    """which of the training frames it is; -1: none, codes that belong to frames take their mean."""


@dataclass
class Seen:
    """What rays of one image see."""

    fine: Volume
    coarse: Volume | None
    samples: int
    """evaluations of a network"""
    points: Tensor = field(default_factory=lambda: torch.empty(0, 3))
    """[N, 3] where the last field was evaluated, and"""
    density: Tensor = field(default_factory=lambda: torch.empty(0))
    """[N] what it was there; empty when rendering."""
    distortion: Tensor | None = None
    """[R] of fields that are marched step by step"""


@dataclass(frozen=True)
class View:
    """One image's rays of a training step, with the truth: what losses are made of."""

    moment: Moment
    seen: Seen
    target: Tensor
    """[R, 3] over the same background as"""
    behind: Tensor
    """[R, 3]"""
    matte: Tensor
    """[R] head matte; the fields of a method that has none to see do not look at it."""
    share: float
    """of the fit that is done"""
    generator: torch.Generator
    """chance of this step"""

    def over(self, volume: Volume) -> Tensor:
        """[R, 3] a volume's color over the background: the background is its rays' last sample."""
        return volume.color + (1 - volume.alpha)[:, None] * self.behind


class RayModel(nn.Module, ABC):
    """A head in a cube of head space that rays are shot through.

    Subclasses give ``begin``, ``render``, ``density`` and ``loss``; what they are made of is saved as their state.
    """

    def __init__(self, box: SceneBox, drivers: Drivers, occupancy: Occupancy, sizes: Any) -> None:
        """``sizes``: a flat dataclass of what decides the shape of the model."""
        super().__init__()
        self.box, self.drivers, self.occupancy, self.own = box, drivers, occupancy, sizes

    def moment(self, drive: Drive, frame: int = -1) -> Moment:
        """What the field is told of a drive."""
        return Moment(
            torch.from_numpy(self.drivers.clamped(drive.expression)),
            torch.from_numpy(self.drivers.of_drive(drive)[0]),
            frame,
        )

    @abstractmethod
    def begin(self, moment: Moment) -> Any:
        """Whatever is worked out once an image, for ``render``."""

    @abstractmethod
    def render(
        self,
        begun: Any,
        origins: Tensor,
        directions: Tensor,
        generator: torch.Generator | None = None,
        everywhere: bool = False,
    ) -> Seen:
        """Rays [R, 3] in the unit cube through the field of one image.

        With ``generator`` samples are jittered and ``Seen`` says where they were: training. ``everywhere`` looks
        into cells that were found empty, too.
        """

    @abstractmethod
    def density(self, begun: Any, points: Tensor) -> Tensor:
        """[N] of the field of one image at ``points`` [N, 3]."""

    @abstractmethod
    def loss(self, view: View, config: Any) -> Tensor:
        """Of one image's rays."""

    def groups(self, config: Any) -> list[dict[str, Any]]:
        """Parameter groups of Adam with the learning rates they begin with."""
        return [{"params": list(self.parameters()), "lr": config.learning_rate}]

    def sizes(self) -> dict[str, Any]:
        """What the constructor of an empty model of the same shape needs, for the avatar's header."""
        return dict(vars(self.own))

    def settle(self, moments: list[Moment]) -> None:
        """Finds the cells that rendering has to look into, from the field in ``moments`` of training."""
        cells = cell_points(self.occupancy.allowed.nonzero()[:, 0], CELLS)
        found = torch.zeros(len(cells))
        with torch.no_grad():
            for moment in moments:
                begun = self.begin(moment)
                for first in range(0, len(cells), 1 << 14):
                    part = slice(first, first + (1 << 14))
                    found[part] = torch.maximum(found[part], self.density(begun, cells[part]))
        self.occupancy.final(found)


def geometry_header(model: RayModel) -> dict[str, Any]:
    """The header's entries from which ``geometry`` makes box and drivers again."""
    box = model.box
    return {
        "field": {"center": list(box.center), "side": box.side, **model.sizes()},
        "drivers": model.drivers.header(),
    }


def geometry(header: dict[str, Any]) -> tuple[SceneBox, Drivers]:
    """The inverse of ``geometry_header``. Raises KeyError, TypeError or ValueError for what does not fit."""
    entry = header["field"]
    x, y, z = (float(value) for value in entry["center"])
    box = SceneBox((x, y, z), float(entry["side"]))
    if not (np.isfinite([x, y, z, box.side]).all() and box.side > 0):
        raise ValueError("the box is not finite")
    return box, Drivers.from_header(header["expression_names"], header["drivers"])
