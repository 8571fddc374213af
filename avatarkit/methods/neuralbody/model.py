"""The field: codes on the head's vertices, diffused, asked at a point; density from them alone, color from all."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avatarkit.data.rays import SceneBox
from avatarkit.losses.photometric import l1, squared
from avatarkit.methods.drivers import Drivers
from avatarkit.methods.neuralbody.config import Config
from avatarkit.methods.radiance.codes import FrameCodes
from avatarkit.methods.radiance.diffusion import Diffused, Diffusion, queried
from avatarkit.methods.radiance.hierarchy import render_hierarchy
from avatarkit.methods.radiance.model import Moment, RayModel, Seen, View
from avatarkit.methods.radiance.network import DENSITY_SCALE, layer
from avatarkit.methods.radiance.occupancy import Occupancy
from avatarkit.methods.radiance.vertices import HeadVertices
from avatarkit.rendering.fourier import fourier, fourier_width

DIRECTION_OCTAVES = 4


@dataclass(frozen=True)
class Sizes:
    """What decides the shape of the model."""

    frames: int
    """training frames, each with an appearance code"""
    vertices: int
    cells: int
    """across the unit cube, of the first level"""
    code: int = 16
    volume: int = 16
    appearance: int = 128
    width: int = 256
    position_octaves: int = 10
    coarse: int = 64
    sampling: str = "skip"


@dataclass(frozen=True)
class Begun:
    """What an image's rays share."""

    diffused: Diffused
    appearance: Tensor


class NeuralBody(RayModel):
    """sigma = M_sigma(psi(x, Z, S)); c = M_c(psi, gamma_d(d), gamma_x(x), l) (Peng et al. 2021, eq. 2 and 3)."""

    def __init__(
        self, box: SceneBox, drivers: Drivers, occupancy: Occupancy, sizes: Sizes, vertices: HeadVertices
    ) -> None:
        super().__init__(box, drivers, occupancy, sizes)
        self.vertices = vertices
        self.codes = nn.Parameter(torch.randn(sizes.vertices, sizes.code) * 0.1)
        self.appearance = FrameCodes(sizes.frames, sizes.appearance)
        self.diffusion = Diffusion(sizes.code, sizes.cells, sizes.volume)
        width = sizes.width
        self.layers = nn.ModuleList(
            [layer(queried(sizes.volume), width), layer(width, width), layer(width, width)]
        )
        self.opacity = nn.Linear(width, 1)
        self.geometry = nn.Linear(width, width)
        turned = fourier_width(3, DIRECTION_OCTAVES) + fourier_width(3, sizes.position_octaves)
        self.late = nn.Linear(sizes.appearance, width // 2, bias=False) if sizes.appearance else None
        self.side = layer(width + turned, width // 2)
        self.color = nn.Linear(width // 2, 3)

    def begin(self, moment: Moment) -> Begun:
        """The codes at the vertices of the moment's expression, diffused."""
        places = self.vertices.neutral + self.vertices.moves(moment.expression)
        return Begun(self.diffusion(self.codes, places), self.appearance(moment.frame))

    def trunk(self, begun: Begun, points: Tensor) -> Tensor:
        """[N, width]"""
        x = begun.diffused.at(points)
        for own in self.layers:
            x = F.relu(own(x), inplace=True)
        return x

    def density(self, begun: Begun, points: Tensor) -> Tensor:
        """See the base class."""
        return self._density(self.trunk(begun, points))

    def _density(self, trunk: Tensor) -> Tensor:
        return DENSITY_SCALE * F.softplus(self.opacity(trunk)[:, 0] - 1)

    def field(self, begun: Begun, points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Density [N] and rgb [N, 3]."""
        trunk = self.trunk(begun, points)
        places = fourier(2 * points - 1, self.own.position_octaves)
        turned = torch.cat([fourier(directions, DIRECTION_OCTAVES), places], 1)
        # No ramp lies between geometry and side: of what both do to the trunk, the product is taken first.
        inner, outer = self.side.weight.split([self.own.width, turned.shape[1]], 1)
        bias = self.side.bias + inner @ self.geometry.bias
        if self.late is not None:
            bias = bias + self.late(begun.appearance)
        side = torch.addmm(bias, turned, outer.t()).addmm(trunk, (inner @ self.geometry.weight).t())
        return self._density(trunk), torch.sigmoid(self.color(F.relu(side, inplace=True)))

    def render(
        self,
        begun: Begun,
        origins: Tensor,
        directions: Tensor,
        generator: torch.Generator | None = None,
        everywhere: bool = False,
    ) -> Seen:
        """See the base class."""

        def at(points: Tensor, turned: Tensor) -> tuple[Tensor, Tensor]:
            return self.field(begun, points, turned)

        occupancy = self.occupancy if self.own.sampling == "skip" else None
        counts = (self.own.coarse, 0)
        return render_hierarchy((at, at), origins, directions, counts, occupancy, generator, everywhere)

    def loss(self, view: View, config: Config) -> Tensor:
        """Squared error of the colors (eq. 6)."""
        loss = squared(view.over(view.seen.fine), view.target)
        if config.mask_weight:
            loss = loss + config.mask_weight * l1(view.seen.fine.alpha, view.matte)
        return loss
