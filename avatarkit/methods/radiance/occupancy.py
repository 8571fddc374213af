"""Which cells of the unit cube are worth a look: those the mattes allow and the fit has not found empty."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avatarkit.ops.occupancy import dilate, pack, point_cells, raise_cells, unpack

CELLS = 64
# A cell is empty when crossing it absorbs less than this.
EMPTY = 0.02
# What is left of a cell's density after a step that did not look at it.
DECAY = 0.95
# Steps before anything is taken for empty, and how often afterwards every allowed cell gets its turn again.
FOG_STEPS, EVERY = 64, 8


class Occupancy(nn.Module):
    """Densities that were found of late in CELLS^3 cells (x fastest), inside a visual hull.

    The samples of training fill it for nothing; a cell that was given up comes back when one of the steps
    that look everywhere finds it dense.
    """

    allowed: Tensor
    density: Tensor
    bits: Tensor

    def __init__(self, allowed: Tensor) -> None:
        """``allowed`` [CELLS^3] bool: the cells that can hold anything at all."""
        super().__init__()
        self.register_buffer("allowed", allowed.clone())
        self.register_buffer("density", torch.zeros(CELLS**3))
        self.register_buffer("bits", allowed.clone())

    @classmethod
    def empty(cls) -> Occupancy:
        """One to be filled by ``load_state_dict``."""
        return cls(torch.zeros(CELLS**3, dtype=torch.bool))

    def inside(self, points: Tensor, everywhere: bool = False) -> Tensor:
        """[N] bool, whether points [N, 3] lie in cells that are allowed and, unless ``everywhere``, not empty."""
        return (self.allowed if everywhere else self.bits)[point_cells(points, CELLS)]

    def note(self, points: Tensor, density: Tensor) -> None:
        """Remembers the ``density`` [N] that a training step found at ``points`` [N, 3], and forgets a little."""
        self.density *= DECAY
        raise_cells(self.density, point_cells(points, CELLS), density)

    def settle(self, step: int) -> None:
        """Decides after training step ``step`` which cells are empty."""
        if step >= FOG_STEPS:
            self.bits.copy_(self._dense(self.density))

    def final(self, densities: Tensor) -> None:
        """Replaces what was found by ``densities`` [A] of the allowed cells, in their order."""
        found = torch.zeros(CELLS**3)
        found[self.allowed] = densities
        self.bits.copy_(self._dense(found))

    def everywhere(self, step: int) -> bool:
        """Whether training step ``step`` looks at all allowed cells."""
        return step < FOG_STEPS or step % EVERY == 0

    def _dense(self, density: Tensor) -> Tensor:
        return unpack(dilate(pack(density, EMPTY * CELLS))) & self.allowed
