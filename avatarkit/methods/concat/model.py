"""The field: what one hash grid holds at a point, beside what the expression is mapped to, through a deep network."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avatarkit.data.rays import SceneBox
from avatarkit.losses.photometric import l1
from avatarkit.methods.concat.config import Config
from avatarkit.methods.drivers import Drivers
from avatarkit.methods.radiance.marching import FOG_STRIDE, render_marched
from avatarkit.methods.radiance.model import Moment, RayModel, Seen, View
from avatarkit.methods.radiance.network import layer
from avatarkit.methods.radiance.occupancy import Occupancy
from avatarkit.ops.encode import HashGrid, hash_encode
from avatarkit.ops.sh import spherical_harmonics

LEVELS, FEATURES, HARMONICS = 16, 4, 16
# Uniform distribution of the table at the start (Gao et al. 2022, table 1).
INITIAL = 1e-4
# Log density at the start, per side of the box: fog that light comes through.
FOG = 2.0


@dataclass(frozen=True)
class Sizes:
    """What decides the shape of the model."""

    coarsest: int = 16
    finest: int = 512
    log2_size: int = 14
    embedding: int = 32
    depth: int = 7
    width: int = 128
    coarse: int = 128
    sampling: str = "skip"


class Concat(RayModel):
    """(eta(x; h), E(w), gamma(d)) -> (density, rgb) (Gao et al. 2022, fig. 5)."""

    def __init__(self, box: SceneBox, drivers: Drivers, occupancy: Occupancy, sizes: Sizes) -> None:
        super().__init__(box, drivers, occupancy, sizes)
        self.grid = HashGrid(LEVELS, sizes.log2_size, FEATURES, sizes.coarsest, sizes.finest)
        self.table = nn.Parameter((torch.rand(self.grid.size) * 2 - 1) * INITIAL)
        drive = max(len(drivers), 1)  # a clip in which nothing moves has no drivers
        self.embed = nn.Sequential(
            layer(drive, sizes.embedding), nn.ReLU(), nn.Linear(sizes.embedding, sizes.embedding)
        )
        widths = [LEVELS * FEATURES + sizes.embedding, *([sizes.width] * sizes.depth)]
        self.layers = nn.ModuleList(layer(a, b) for a, b in pairwise(widths))
        with torch.no_grad():
            self.layers[-1].bias[:1] += FOG  # type: ignore[index,operator]
        self.color = nn.Linear(sizes.width + HARMONICS, 3)

    def begin(self, moment: Moment) -> Tensor:
        """[embedding] of the expression."""
        code: Tensor = self.embed(moment.weights) if len(moment.weights) else torch.zeros(self.own.embedding)
        return code

    def trunk(self, points: Tensor, code: Tensor) -> Tensor:
        """[N, width]: the density network's last layer, whose first number is the log density."""
        features = hash_encode(points, self.table[None], torch.tensor([0, len(points)]), self.grid)
        x = features.permute(1, 0, 2).reshape(len(points), LEVELS * FEATURES)
        for i, own in enumerate(self.layers):
            if (
                i == 0
            ):  # the same code for all samples of an image: its part of the product is worked out once
                weight: Tensor = own.weight  # type: ignore[assignment]
                x = torch.addmm(own.bias + weight[:, x.shape[1] :] @ code, x, weight[:, : x.shape[1]].t())  # type: ignore[operator]
            else:
                x = own(F.relu(x, inplace=True))
        return x

    def density(self, begun: Tensor, points: Tensor) -> Tensor:
        """See the base class: the exponential of the trunk's first number, at most e^15."""
        return self.trunk(points, begun)[:, 0].clamp(max=15).exp()

    def render(
        self,
        begun: Tensor,
        origins: Tensor,
        directions: Tensor,
        generator: torch.Generator | None = None,
        everywhere: bool = False,
    ) -> Seen:
        """See the base class."""
        harmonics = spherical_harmonics(directions)

        def field(points: Tensor, ray: Tensor) -> tuple[Tensor, Tensor]:
            trunk = self.trunk(points, begun)
            side = torch.cat([F.relu(trunk), harmonics[ray]], 1)
            return trunk[:, 0].clamp(max=15).exp(), torch.sigmoid(self.color(side))

        stride = FOG_STRIDE if everywhere and generator is not None else 1
        return render_marched(
            field,
            lambda points: self.density(begun, points),
            origins,
            directions,
            None if self.own.sampling == "paper" else self.occupancy,
            stride / self.own.coarse,
            generator,
            everywhere,
        )

    def loss(self, view: View, config: Config) -> Tensor:
        """Color and mask (eq. 6 and 7), with the weights of NeRFBlendShape's schedule, and thin surfaces."""
        seen = view.seen
        mask = config.mask_weight if view.share < config.mask_until else config.mask_weight_later
        loss = l1(view.over(seen.fine), view.target)
        if mask:
            loss = loss + mask * l1(seen.fine.alpha, view.matte)
        if config.distortion_weight and seen.distortion is not None:
            loss = loss + config.distortion_weight * seen.distortion.mean()
        return loss

    def groups(self, config: Config) -> list[dict[str, Any]]:
        """See the base class: the table learns faster than the deep network can."""
        network = [p for p in self.parameters() if p is not self.table]
        return [
            {"params": [self.table], "lr": config.learning_rate},
            {"params": network, "lr": config.learning_rate_network},
        ]
