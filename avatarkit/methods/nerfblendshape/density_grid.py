"""The expression-aware density grid (Gao et al. 2022, section 3.3.3) and what it leaves of a ray to sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from avatarkit.methods.nerfblendshape.field import Field
from avatarkit.ops.march import Samples
from avatarkit.ops.occupancy import (
    cell_points,
    dilate,
    pack,
    raise_at_points,
    raise_cells,
    unpack,
)
from avatarkit.ops.tables import BlendTables
from avatarkit.ops.warp import Warp

CELLS = 128
UPDATE_EVERY = 16
# A cell is empty when a step through it absorbs less than this.
EMPTY = 0.01
# A cell is hidden when no ray of late gave it more than this share.
HIDDEN = 0.01
DENSITY_DECAY, VISIBLE_DECAY = 0.9, 0.9
# What cells start with: enough to be sampled for the first two hundred steps.
UNSEEN = 0.02
# Training steps before surfaces have formed, and the stride of rays through what may be hollow or hidden.
FOG_STEPS, FOG_STRIDE = 256, 3
# Steps after which the whole grid is evaluated anew.
SWEEPS = (64, 128, 256, 512, 1024)
# Cells looked at in one update.
PROBED = 1 << 16


@dataclass
class DensityGrid:
    """Which cells of the unit cube can hold anything, for any expression, and which of them are ever seen.

    Eq. 9 takes the maximum over the fields h0 + max(w_i) h_i of all bases. Evaluating them all at once costs
    more than the training itself, so every update looks at one of the ``probes`` in turn, at a random part of
    the ``allowed`` cells; the maximum forgets slowly. ``final`` evaluates the definition as it stands.

    Inside the head nothing is ever seen, but no gradient clears it either. ``visible`` keeps the largest
    share that a cell's samples had in any recent ray; cells that are dense but hidden are left out of training
    rays, except in every ``UPDATE_EVERY``-th step, so that they can come back.
    """

    allowed: Tensor
    """[A] int64 flat cells of the visual hull: nothing outside it is ever occupied."""
    density: Tensor
    """[CELLS^3] running maximum."""
    visible: Tensor
    """[CELLS^3] running maximum of rendered weights."""
    threshold: float
    dense: Tensor
    """[CELLS^3 / 8] bits of the dense cells."""
    sampled: Tensor
    """[CELLS^3 / 8] bits of the cells that are dense and not hidden."""

    @classmethod
    def create(cls, hull: Tensor, step: float) -> DensityGrid:
        """A grid that is occupied all over the visual ``hull`` [CELLS^3] bool; ``step`` is the field's."""
        threshold = EMPTY / step
        density = torch.where(hull, 2 * threshold, 0.0)
        visible = hull.float() * UNSEEN
        bits = pack(density, threshold)
        return cls(hull.nonzero()[:, 0], density, visible, threshold, bits, bits)

    def marching(self, step: int) -> tuple[Tensor, int]:
        """The bits that the rays of a training step are marched through, and how many field steps at a time.

        Fog is smooth and many steps deep: coarse steps do for it, at the start as well as when hidden cells
        get their turn.
        """
        if step % UPDATE_EVERY == 0:
            return self.dense, FOG_STRIDE
        return self.sampled, FOG_STRIDE if step < FOG_STEPS else 1

    def note(self, samples: Samples, weights: Tensor) -> None:
        """Remembers which cells the ``weights`` [N] of rendered samples show."""
        raise_at_points(self.visible, samples.points, weights, HIDDEN)

    def update(self, step: int, seed: int, field: Field, table: Tensor, warp: Warp | None = None) -> None:
        """Looks at the field of one blended ``table`` [M], the next of the probes, and forgets a little."""
        generator = torch.Generator().manual_seed((seed * 2654435761 + step) % 2**63)
        few = min(PROBED, len(self.allowed))
        cells = self.allowed[torch.randint(max(len(self.allowed), 1), (few,), generator=generator)]
        density = field.density(cell_points(cells, CELLS, generator), table, warp)
        self.density[cells] = self.density[cells] * DENSITY_DECAY
        raise_cells(self.density, cells, density)
        self.visible *= VISIBLE_DECAY
        self._pack()

    def sweep(self, step: int, seed: int, field: Field, tables: Tensor, warps: Sequence[Warp | None]) -> None:
        """Looks at all allowed cells, for every one of the blended ``tables`` [P, M], and forgets everything before.

        While surfaces form the field changes too fast for a running maximum.
        """
        generator = torch.Generator().manual_seed((seed * 2654435761 + step) % 2**63)
        found = torch.zeros(len(self.allowed))
        for table, warp in zip(tables, warps, strict=True):
            points = cell_points(self.allowed, CELLS, generator)
            torch.maximum(found, field.density(points, table, warp), out=found)
        self.density[self.allowed] = found
        self._pack()

    def _pack(self) -> None:
        self.dense = pack(self.density, self.threshold)
        self.sampled = self.dense & dilate(pack(self.visible, HIDDEN))

    def final(self, field: Field, tables: BlendTables, probes: Probes) -> Tensor:
        """[CELLS^3 / 8] bits of eq. 9 over ``probes``, widened by a cell for poses that training never saw.

        Only cells in and around those found dense during training are evaluated, and only until one probe
        finds them dense, since nothing but that bit is kept of the maximum.
        """
        allowed = torch.zeros(CELLS**3, dtype=torch.bool)
        allowed[self.allowed] = True
        cells = (unpack(dilate(self.dense)) & allowed).nonzero()[:, 0]
        dense = torch.zeros(CELLS**3)
        for weights, warp in (probes[index] for index in range(len(probes))):
            found = (
                field.density(cell_points(cells, CELLS), tables.blend(weights[None])[0], warp)
                > self.threshold
            )
            dense[cells[found]] = 1.0
            cells = cells[~found]
        return dilate(pack(dense, 0.5))

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        return {
            "allowed": self.allowed, "density": self.density, "visible": self.visible,
            "dense": self.dense, "sampled": self.sampled,
        }  # fmt: skip

    @classmethod
    def from_state(cls, tensors: dict[str, Tensor], step: float) -> DensityGrid:
        """The inverse of ``state``."""
        names = ("allowed", "density", "visible", "dense", "sampled")
        allowed, density, visible, dense, sampled = (tensors[name] for name in names)
        return cls(allowed, density, visible, EMPTY / step, dense, sampled)


@dataclass(frozen=True)
class Probes:
    """Where the grid looks: weights of the bases and, with a mesh, the warp that goes with them."""

    weights: Tensor
    """[P, K]"""
    warp: Callable[[int], Warp | None]
    """of the p-th probe"""

    def __len__(self) -> int:
        return len(self.weights)

    def __getitem__(self, index: int) -> tuple[Tensor, Warp | None]:
        return self.weights[index], self.warp(index)


def telling_frames(weights: Tensor) -> Tensor:
    """Rows of the training frames' ``weights`` [T, K] in which a basis is at its largest or lowest, and some between.

    What a mesh moves depends on all coefficients together: whole frames take the place of single bases.
    """
    every = torch.linspace(0, len(weights) - 1, min(16, len(weights))).long()
    return torch.cat([weights.argmax(0), weights.argmin(0), every]).unique()


def single_bases(weights: Tensor) -> Tensor:
    """[P, K] coefficients at which the grid looks, of the training frames' ``weights`` [T, K].

    The mean alone; every basis alone at its largest coefficient (eq. 9), and at its lowest where that is
    negative; and a few frames as they are, because bases together reach further than each alone.
    """
    count = weights.shape[1]
    rows = [torch.zeros(1, count)]
    for extreme in (weights.amax(0), weights.amin(0)):
        single = torch.diag(extreme)
        rows.append(single[extreme.abs() > 1e-3] if (extreme != 0).any() else single[:0])
    every = torch.linspace(0, len(weights) - 1, min(16, len(weights))).long()
    return torch.cat([*rows, weights[every]])
