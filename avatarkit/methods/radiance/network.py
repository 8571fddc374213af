"""The network of the original radiance fields: wide layers with a skip, density before the direction, color after."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# What the network's unit of density is worth per side of the unit cube: a surface must be able to form within a sample.
DENSITY_SCALE = 32.0


def layer(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    """A linear layer before a ramp: weights within +-sqrt(6 / inputs) (He et al. 2015)."""
    made = nn.Linear(inputs, outputs, bias)
    bound = math.sqrt(6 / max(inputs, 1))
    with torch.no_grad():
        made.weight.uniform_(-bound, bound)
        if bias:
            made.bias.zero_()
    return made


class RadianceNetwork(nn.Module):
    """F: (position features, directions, code of the moment) -> (density, rgb) (Mildenhall et al. 2020, fig. 7).

    ``depth`` layers of ``width``; the input enters again at layer ``skip``. The code of a moment (expression, latent
    codes) stands beside the position features and so enters twice, too; because it is the same for all samples of an
    image its part of the product is worked out once. ``late`` is a code that only colors see.
    """

    def __init__(
        self, positions: int, directions: int, code: int, late: int = 0, *, depth: int = 8, width: int = 256
    ) -> None:
        super().__init__()
        self.skip = depth // 2 + 1 if depth > 4 else depth
        sizes = [positions, *([width] * (depth - 1))]
        for i in range(depth):
            self.add_module(f"layer{i}", layer(sizes[i], width))
        self.depth = depth
        self.again = nn.Linear(positions, width, bias=False) if self.skip < depth else None
        self.code0 = nn.Linear(code, width, bias=False) if code else None
        self.code1 = nn.Linear(code, width, bias=False) if code and self.again is not None else None
        self.density = nn.Linear(width, 1)
        self.geometry = nn.Linear(width, width)
        self.side = layer(width, width // 2)
        self.turned = nn.Linear(directions, width // 2, bias=False)
        self.late = nn.Linear(late, width // 2, bias=False) if late else None
        self.color = nn.Linear(width // 2, 3)

    def trunk(self, positions: Tensor, code: Tensor | None) -> Tensor:
        """[N, width] of position features [N, P] and the image's ``code`` [C]."""
        x = positions
        for i in range(self.depth):
            own: nn.Linear = getattr(self, f"layer{i}")
            bias = own.bias
            inner = self.code0 if i == 0 else self.code1 if i == self.skip else None
            if inner is not None and code is not None:
                bias = bias + inner(code)
            y = torch.addmm(bias, x, own.weight.t())
            if i == self.skip and self.again is not None:
                y = y.addmm(positions, self.again.weight.t())
            x = F.relu(y, inplace=True)
        return x

    def densities(self, positions: Tensor, code: Tensor | None) -> Tensor:
        """[N] density per side of the unit cube: softplus(x - 1), which no step can kill (Barron et al. 2021)."""
        return self._density(self.trunk(positions, code))

    def _density(self, trunk: Tensor) -> Tensor:
        return DENSITY_SCALE * F.softplus(self.density(trunk)[:, 0] - 1)

    def forward(
        self, positions: Tensor, directions: Tensor, code: Tensor | None, late: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Density [N] per side of the unit cube and rgb [N, 3] of features [N, P] and [N, D], codes [C] and [A]."""
        x = self.trunk(positions, code)
        # No ramp lies between these two layers: their product is one, a ninth of a whole pass less.
        bias = self.side(self.geometry.bias)
        if self.late is not None and late is not None:
            bias = bias + self.late(late)
        y = torch.addmm(bias, x, (self.side.weight @ self.geometry.weight).t())
        y = F.relu(y.addmm(directions, self.turned.weight.t()), inplace=True)
        return self._density(x), torch.sigmoid(self.color(y))

    def operations(self) -> int:
        """Multiply-adds of one sample, codes left out: they cost once an image."""
        apart = {"code0", "code1", "late"}
        layers = [m for name, m in self.named_children() if isinstance(m, nn.Linear) and name not in apart]
        return sum(m.weight.numel() for m in layers)
