"""Codes on a head's vertices, carried into the space around them by a sparse convolutional network."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avatarkit.ops.sparse import (
    TAPS,
    Rules,
    Sites,
    occupied,
    sparse_conv,
    sparse_query,
    strided_rules,
    submanifold_rules,
)

# Channels of each level as multiples of the first one's, and its submanifold convolutions; the first level is at full
# resolution and is not queried (Peng et al., "Neural Body", 2021: convolutions at 1, 1/2, 1/4, 1/8 and 1/16).
LEVELS: tuple[tuple[int, int], ...] = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))


def queried(volume: int) -> int:
    """Numbers that a query finds where the first level has ``volume`` channels: 352 for the paper's 16."""
    return volume * sum(times for times, _ in LEVELS[1:])


class SparseLayer(nn.Module):
    """A sparse convolution, normalized over the channels of each site, and a ramp.

    The papers normalize over the sites of a batch; here each site stands for itself, so that training and rendering
    compute the same.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        # A site of a surface has about nine neighbors.
        bound = math.sqrt(6 / (9 * inputs))
        self.weights = nn.Parameter((torch.rand(TAPS, inputs, outputs) * 2 - 1) * bound)
        self.norm = nn.LayerNorm(outputs)

    def forward(self, features: Tensor, rules: Rules) -> Tensor:
        """[outputs, channels] of [inputs, channels]."""
        return F.relu(self.norm(sparse_conv(features, self.weights, rules)))


@dataclass(frozen=True)
class Diffused:
    """What a diffusion leaves at the sites of each queried level, whose cells are 2, 4, 8 and 16 times as wide."""

    levels: list[tuple[Tensor, Sites]]
    cells: float
    """cells of the first level across the unit cube"""

    def at(self, points: Tensor) -> Tensor:
        """[N, queried] trilinear features of all levels at ``points`` [N, 3] of the unit cube (seed 000, eq. 7)."""
        found = []
        for i, (features, sites) in enumerate(self.levels):
            # A coarse cell's center is that of the fine cell of twice its number.
            places = (points * self.cells - 0.5) / 2 ** (i + 1) + 0.5
            found.append(sparse_query(features, sites, places))
        return torch.cat(found, 1)


class Diffusion(nn.Module):
    """The network: submanifold convolutions on five levels, strided ones between them (Graham et al. 2017)."""

    def __init__(self, inputs: int, cells: int, volume: int = 16) -> None:
        """``inputs`` numbers a vertex; ``cells`` across the unit cube; ``volume`` channels of the first level."""
        super().__init__()
        self.cells = cells
        self.down = nn.ModuleList()
        self.levels = nn.ModuleList()
        width = inputs
        for i, (times, count) in enumerate(LEVELS):
            channels = volume * times
            if i:
                self.down.append(SparseLayer(width, channels))
                width = channels
            level = nn.ModuleList()
            for _ in range(count):
                level.append(SparseLayer(width, channels))
                width = channels
            self.levels.append(level)

    def forward(self, codes: Tensor, places: Tensor) -> Diffused:
        """Of ``codes`` [V, inputs] at ``places`` [V, 3] in the unit cube; vertices of one cell take their mean."""
        sites, rows = occupied(places * self.cells, (self.cells,) * 3)
        count = torch.zeros(len(sites)).index_add(0, rows, torch.ones(len(rows)))
        features = torch.zeros(len(sites), codes.shape[1]).index_add(0, rows, codes) / count[:, None]
        kept = []
        for i, level in enumerate(self.levels):
            if i:
                sites, rules = strided_rules(sites)
                features = self.down[i - 1](features, rules)
            rules = submanifold_rules(sites)
            for own in level:  # type: ignore[attr-defined]
                features = own(features, rules)
            if i:
                kept.append((features, sites))
        return Diffused(kept, float(self.cells))
