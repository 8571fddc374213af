"""The texture network T: the color of a visible point (section 3.1)."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from avatarkit.ops.encode import HashGrid, hash_encode
from avatarkit.ops.sines import EXTRA, LEVELS, SineWeights, sine_mlp

GRID = HashGrid(levels=LEVELS, log2_size=14, coarsest=16, finest=512)
PATCH, SPREAD = 3, 2
"""Normals a side of the patch, and pixels between two of them at the resolution of the fit."""
LAYERS = 2


class Texture(nn.Module):
    """T(p, psi, phi, N): colors [N, 3] in [0, 1] of surface points.

    ``p`` is the point on the template, encoded by a hash grid (Mueller et al. 2022), which a laptop can afford where
    a deep SIREN on bare coordinates is out of reach; two layers of sines follow whose frequencies and phases a
    mapping network derives from expression and pose (FiLM conditioning as in pi-GAN, Chan et al. 2021). The patch of
    rendered normals around the pixel enters through a linear map, which over a picture is a convolution.
    """

    def __init__(self, codes: int, width: int, static: bool) -> None:
        super().__init__()
        self.static, self.width = static, width
        self.table = nn.Parameter(torch.empty(1, GRID.size).uniform_(-1e-2, 1e-2))
        self.patch = nn.Conv2d(3, EXTRA, PATCH, bias=False)
        sizes = (GRID.levels * GRID.features + EXTRA, *[width] * LAYERS, 3)
        for i, (inputs, outputs) in enumerate(pairwise(sizes)):
            bound = math.sqrt(6 / inputs) if i < LAYERS else math.sqrt(1 / inputs)
            self.register_parameter(
                f"weight{i}", nn.Parameter(torch.empty(inputs, outputs).uniform_(-bound, bound))
            )
            self.register_parameter(f"bias{i}", nn.Parameter(torch.zeros(outputs)))
        last = nn.Linear(width, 2 * LAYERS * width)
        self.mapping = nn.Sequential(nn.Linear(max(codes, 1), width), nn.LeakyReLU(0.2), last)
        with torch.no_grad():
            self.patch.weight.mul_(0.3)
            last.weight.mul_(0.1)
            last.bias.zero_()

    def patches(self, normals: Tensor, pixels: Tensor, spread: int = SPREAD) -> Tensor:
        """[N, EXTRA] around flat ``pixels`` [N] of a normal map [H, W, 3] (camera space, 0 where empty).

        ``spread`` pixels lie between the normals of a patch: more in a larger picture of the same head.
        """
        if self.static:
            return normals.new_zeros(len(pixels), EXTRA)
        whole = normals.permute(2, 0, 1)[None]
        found = functional.conv2d(whole, self.patch.weight, padding=spread, dilation=spread)
        return found[0].flatten(1).index_select(1, pixels).t()

    def even_patches(self, normals: Tensor) -> Tensor:
        """[N, EXTRA] of patches that show one normal [N, 3] everywhere."""
        if self.static:
            return normals.new_zeros(len(normals), EXTRA)
        return normals @ self.patch.weight.sum((2, 3)).t()

    def forward(self, places: Tensor, patches: Tensor, code: Tensor) -> Tensor:
        """Colors [N, 3].

        ``places`` [N, 3] in the unit cube; ``patches`` [N, EXTRA] of ``patches``; ``code`` [codes] of expression
        and pose.
        """
        features = hash_encode(places, self.table, torch.tensor([0, len(places)]), GRID)
        modulation = self.mapping(torch.zeros_like(code) if self.static else code).view(LAYERS, 2, self.width)
        layers: list[Tensor] = []
        for i, (scale, shift) in enumerate(modulation):
            # frequency and phase act on the layer's own weights, not on every point
            weight, bias = self.get_parameter(f"weight{i}"), self.get_parameter(f"bias{i}")
            layers += [weight * (1 + scale), bias * (1 + scale) + shift]
        layers += [self.get_parameter(f"weight{LAYERS}"), self.get_parameter(f"bias{LAYERS}")]
        return sine_mlp(features, patches, SineWeights(*layers))
