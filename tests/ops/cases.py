"""Cases shared by the tests of the radiance field's operations."""

from __future__ import annotations

import torch
from torch import Tensor

from avatarkit.ops import occupancy
from avatarkit.ops.encode import HashGrid
from avatarkit.ops.mlp import FieldWeights

STEP = 3**0.5 / 512
CELLS = 128


def relative_error(value: Tensor, truth: Tensor) -> float:
    """Largest absolute error over the largest truth; shapes must agree."""
    assert value.shape == truth.shape
    if not truth.numel():
        return 0.0
    scale = float(truth.detach().abs().max())
    return float((value.detach() - truth.detach()).abs().max()) / max(scale, 1e-12)


def random_offsets(parts: int, total: int) -> Tensor:
    """[parts + 1] int64 rising from 0 to total at random, some parts empty."""
    inner = torch.randint(0, total + 1, (parts - 1,)).sort().values
    return torch.cat([torch.zeros(1, dtype=torch.int64), inner, torch.tensor([total])])


def shell(inner: float = 0.2, outer: float = 0.3, cells: int = CELLS) -> Tensor:
    """Bitfield of a hollow ball about the cube's center."""
    centers = occupancy.cell_points(torch.arange(cells**3), cells)
    radius = (centers - 0.5).norm(dim=1)
    return occupancy.pack(((radius > inner) & (radius < outer)).float(), 0.5)


def camera_rays(size: int) -> tuple[Tensor, Tensor]:
    """Origins and unit directions [size^2, 3] of a camera that looks at the cube along z."""
    v, u = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    directions = torch.nn.functional.normalize(
        torch.stack([0.35 * u, 0.35 * v, torch.ones_like(u)], -1), dim=-1
    )
    directions = directions.reshape(-1, 3).contiguous()
    return torch.tensor([0.5, 0.5, -1.2]).expand_as(directions).contiguous(), directions


def opaque_weights(grid: HashGrid | None = None) -> FieldWeights:
    """A network whose densities spread over the scale that rays end in, unlike a freshly drawn one."""
    levels = (grid or HashGrid()).levels
    weights = FieldWeights.create(torch.Generator().manual_seed(5), 4 * levels)
    weights.density1[:, 0] *= 4.0
    return weights


def parameters(weights: FieldWeights, dtype: torch.dtype) -> FieldWeights:
    """The weights as leaves of autograd."""
    return weights.map(lambda matrix: matrix.detach().to(dtype).requires_grad_())
