"""The field: the head's displacement in the space around it deforms points into one canonical radiance field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avatarkit.data.rays import SceneBox
from avatarkit.losses.photometric import bimodal, l1, squared
from avatarkit.methods.drivers import Drivers
from avatarkit.methods.manerf.config import Config
from avatarkit.methods.radiance.codes import FrameCodes
from avatarkit.methods.radiance.diffusion import Diffused, Diffusion, queried
from avatarkit.methods.radiance.hierarchy import TwoLooks
from avatarkit.methods.radiance.model import FieldAt, Moment, View
from avatarkit.methods.radiance.network import RadianceNetwork, layer
from avatarkit.methods.radiance.occupancy import Occupancy
from avatarkit.methods.radiance.vertices import HeadVertices
from avatarkit.rendering.fourier import fourier, fourier_width
from avatarkit.rendering.volume import box_span, render_volume, stratified

# Displacements are centimeters on a head: in these units (sides of the box) they are about one.
DISPLACEMENT = 0.02
# Random straight rays through the canonical volume, and samples of each, in an iteration.
EDGE_RAYS, EDGE_SAMPLES = 16, 32


@dataclass(frozen=True)
class Sizes:
    """What decides the shape of the model."""

    frames: int
    """training frames, each with an appearance code"""
    vertices: int
    labels: int
    """semantic classes; 0: none"""
    cells: int
    """of the displacement volume across the unit cube"""
    expression_input: bool = True
    code: int = 16
    volume: int = 16
    appearance: int = 32
    depth: int = 8
    width: int = 256
    deform_depth: int = 6
    deform_width: int = 128
    position_octaves: int = 10
    deform_octaves: int = 6
    direction_octaves: int = 4
    coarse: int = 64
    fine: int = 64
    sampling: str = "skip"


@dataclass(frozen=True)
class Begun:
    """What an image's rays share."""

    volume: Diffused
    expression: Tensor
    """[K]"""
    appearance: Tensor


class Deformation(nn.Module):
    """F^deform: (x, psi, f') -> Delta x (seed 000, eq. 9), zero at the start."""

    def __init__(self, inputs: int, drivers: int, depth: int, width: int) -> None:
        super().__init__()
        self.first = layer(inputs, width)
        self.drive = nn.Linear(drivers, width, bias=False) if drivers else None
        self.layers = nn.ModuleList(layer(width, width) for _ in range(depth - 1))
        self.last = nn.Linear(width, 3)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, positions: Tensor, features: Tensor, expression: Tensor) -> Tensor:
        """[N, 3] of position features, volume features [N, .] and the drivers [K]."""
        x = self.first(torch.cat([positions, features], 1))
        if self.drive is not None:
            x = x + self.drive(expression)
        for own in self.layers:
            x = own(F.relu(x, inplace=True))
        return DISPLACEMENT * self.last(F.relu(x, inplace=True))


class MANeRF(TwoLooks):
    """F_Theta(x + Delta x, d, omega) -> (c, sigma) (eq. 6), once coarse and once fine."""

    labels: Tensor

    def __init__(
        self,
        box: SceneBox,
        drivers: Drivers,
        occupancy: Occupancy,
        sizes: Sizes,
        vertices: HeadVertices,
        labels: Tensor,
    ) -> None:
        """``labels`` [V] the semantic class of every vertex (S of eq. 8)."""
        super().__init__(box, drivers, occupancy, sizes)
        self.vertices = vertices
        self.register_buffer("labels", labels)
        self.codes = nn.Parameter(torch.randn(sizes.vertices, sizes.code) * 0.1)
        self.appearance = FrameCodes(sizes.frames, sizes.appearance)
        drive = len(drivers) if sizes.expression_input else 0
        self.diffusion = Diffusion(3 + sizes.code + sizes.labels + drive, sizes.cells, sizes.volume)
        self.deformation = Deformation(
            fourier_width(3, sizes.deform_octaves) + queried(sizes.volume),
            len(drivers),
            sizes.deform_depth,
            sizes.deform_width,
        )
        positions, directions = (
            fourier_width(3, octaves) for octaves in (sizes.position_octaves, sizes.direction_octaves)
        )
        self.networks = nn.ModuleList(
            RadianceNetwork(positions, directions, 0, sizes.appearance, depth=sizes.depth, width=sizes.width)
            for _ in range(2 if sizes.fine else 1)
        )

    def begin(self, moment: Moment) -> Begun:
        """The volume of displacements, expression, labels and codes around the vertices as they are (eq. 8)."""
        moves = self.vertices.moves(moment.expression)
        parts = [
            -moves / DISPLACEMENT,
            self.codes,
        ]  # eq. 4: from where they are to where the canonical ones are
        if self.own.labels:
            parts.append(F.one_hot(self.labels, self.own.labels).float())
        if self.own.expression_input:
            parts.append(moment.weights.expand(len(moves), -1))
        volume = self.diffusion(torch.cat(parts, 1), self.vertices.neutral + moves)
        return Begun(volume, moment.weights, self.appearance(moment.frame))

    def canonical(self, begun: Begun, points: Tensor) -> Tensor:
        """[N, 3] x + Delta x."""
        places = fourier(2 * points - 1, self.own.deform_octaves)
        moved: Tensor = points + self.deformation(places, begun.volume.at(points), begun.expression)
        return moved

    def field(self, network: RadianceNetwork, begun: Begun) -> FieldAt:
        """One of the networks seen through the deformation."""

        def at(points: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
            return self._shade(network, self.canonical(begun, points), directions, begun.appearance)

        return at

    def _shade(
        self, network: RadianceNetwork, points: Tensor, directions: Tensor, appearance: Tensor
    ) -> tuple[Tensor, Tensor]:
        places = fourier(2 * points - 1, self.own.position_octaves)
        turned = fourier(directions, self.own.direction_octaves)
        found: tuple[Tensor, Tensor] = network(places, turned, None, appearance)
        return found

    def density(self, begun: Begun, points: Tensor) -> Tensor:
        """See the base class: of the fine network."""
        network: Any = self.networks[-1]
        places = fourier(2 * self.canonical(begun, points) - 1, self.own.position_octaves)
        found: Tensor = network.densities(places, None)
        return found

    def canonical_alpha(self, generator: torch.Generator) -> Tensor:
        """[EDGE_RAYS] opacity along random straight rays through the canonical volume (alpha_c of eq. 12)."""
        through = torch.rand(EDGE_RAYS, 3, generator=generator)
        directions = F.normalize(torch.randn(EDGE_RAYS, 3, generator=generator), dim=1)
        origins = through - 2 * directions
        near, far = box_span(origins, directions)
        t = stratified(near, far, EDGE_SAMPLES, generator)
        points = (origins[:, None] + t[..., None] * directions[:, None]).reshape(-1, 3)
        network: Any = self.networks[-1]
        density = network.densities(fourier(2 * points - 1, self.own.position_octaves), None).reshape(t.shape)
        return render_volume(density, torch.zeros(*t.shape, 3), t, far).alpha

    def loss(self, view: View, config: Config) -> Tensor:
        """L_p + lambda_1 L_hard + lambda_2 L_edge (eq. 10 to 13)."""
        seen = view.seen
        volumes = [v for v in (seen.coarse, seen.fine) if v is not None]
        loss = torch.stack([squared(view.over(volume), view.target) for volume in volumes]).sum()
        if config.hard_edge:
            loss = loss + config.hard_weight * bimodal(seen.fine.weights)
            loss = loss + config.edge_weight * bimodal(self.canonical_alpha(view.generator))
        if config.mask_weight:
            loss = loss + config.mask_weight * l1(seen.fine.alpha, view.matte)
        return loss
