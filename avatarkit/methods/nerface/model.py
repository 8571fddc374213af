"""The field: position, direction, expression and a code of the frame in, density and color out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from avatarkit.data.rays import SceneBox
from avatarkit.losses.photometric import l1, squared
from avatarkit.methods.drivers import Drivers
from avatarkit.methods.nerface.config import Config
from avatarkit.methods.radiance.codes import FrameCodes
from avatarkit.methods.radiance.hierarchy import TwoLooks
from avatarkit.methods.radiance.model import FieldAt, Moment, View
from avatarkit.methods.radiance.network import RadianceNetwork
from avatarkit.methods.radiance.occupancy import Occupancy
from avatarkit.rendering.fourier import fourier, fourier_width


@dataclass(frozen=True)
class Sizes:
    """What decides the shape of the model."""

    frames: int
    """training frames, each with a latent code"""
    depth: int = 8
    width: int = 256
    position_octaves: int = 10
    direction_octaves: int = 4
    code: int = 32
    coarse: int = 64
    fine: int = 64
    sampling: str = "skip"


class NerFACE(TwoLooks):
    """D(p, v, expression, code) -> (rgb, density), once coarse and once fine (Gafni et al. 2021, eq. 1 to 5)."""

    def __init__(self, box: SceneBox, drivers: Drivers, occupancy: Occupancy, sizes: Sizes) -> None:
        super().__init__(box, drivers, occupancy, sizes)
        positions = fourier_width(3, sizes.position_octaves)
        directions = fourier_width(3, sizes.direction_octaves)
        self.codes = FrameCodes(sizes.frames, sizes.code)
        self.networks = nn.ModuleList(
            RadianceNetwork(
                positions, directions, len(drivers) + sizes.code, depth=sizes.depth, width=sizes.width
            )
            for _ in range(2 if sizes.fine else 1)
        )

    def begin(self, moment: Moment) -> Tensor:
        """[K + C] expression and latent code, side by side."""
        return torch.cat([moment.weights, self.codes(moment.frame)])

    def field(self, network: RadianceNetwork, code: Tensor) -> FieldAt:
        """One of the networks as a field at a moment's ``code``."""

        def at(points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
            places = fourier(2 * points - 1, self.own.position_octaves)
            turned = fourier(directions, self.own.direction_octaves)
            found: tuple[Tensor, Tensor] = network(places, turned, code)
            return found

        return at

    def density(self, begun: Tensor, points: Tensor) -> Tensor:
        """[N] of the fine network."""
        network: Any = self.networks[-1]
        found: Tensor = network.densities(fourier(2 * points - 1, self.own.position_octaves), begun)
        return found

    def loss(self, view: View, config: Config) -> Tensor:
        """Squared error of both looks before the background plate, and the size of the latent codes (section 3.4)."""
        volumes = [v for v in (view.seen.coarse, view.seen.fine) if v is not None]
        loss = torch.stack([squared(view.over(volume), view.target) for volume in volumes]).sum()
        if config.code_weight and config.code:
            loss = loss + config.code_weight * self.codes(view.moment.frame).square().mean()
        if config.mask_weight:
            loss = loss + config.mask_weight * l1(view.seen.fine.alpha, view.matte)
        return loss
