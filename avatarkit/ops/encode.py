"""Multi-resolution hash encoding of points, with one blended table per image of the batch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from avatarkit.ops import reference
from avatarkit.ops.checks import native_for, offsets, plain, shaped


@dataclass(frozen=True)
class HashGrid:
    """Geometry of a multi-resolution hash table (Mueller et al. 2022, section 3).

    Level ``l`` is a grid of ``floor(coarsest * growth**l)`` cells a side over the unit cube, with features at
    its vertices. A level whose vertices fit into ``2**log2_size`` entries is stored densely, x fastest; the
    others are hashed. The levels follow one another, coarse to fine, so that the first levels are a prefix.
    """

    levels: int = 16
    log2_size: int = 14
    features: int = 4
    coarsest: int = 16
    finest: int = 1024

    def __post_init__(self) -> None:
        if self.levels < 1 or self.features < 1 or not 1 <= self.coarsest <= self.finest:
            raise ValueError(f"not a hash grid: {self}")
        if not 4 <= self.log2_size <= 24:
            raise ValueError(f"log2_size must lie between 4 and 24, not {self.log2_size}")

    @cached_property
    def resolutions(self) -> tuple[int, ...]:
        """Cells a side of every level."""
        rate = math.log(self.finest / self.coarsest) / max(self.levels - 1, 1)
        # The small addition keeps the finest level from losing a cell to rounding.
        return tuple(int(self.coarsest * math.exp(rate * level) + 1e-6) for level in range(self.levels))

    @cached_property
    def entries(self) -> tuple[int, ...]:
        """Feature vectors of every level."""
        return tuple(min((cells + 1) ** 3, 2**self.log2_size) for cells in self.resolutions)

    @cached_property
    def dense(self) -> tuple[bool, ...]:
        """Whether a level is stored without hashing."""
        return tuple((cells + 1) ** 3 <= 2**self.log2_size for cells in self.resolutions)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Where every level begins in the table, in floats; one more entry for the end."""
        starts = [0]
        for count in self.entries:
            starts.append(starts[-1] + count * self.features)
        return tuple(starts)

    @property
    def size(self) -> int:
        """Floats of a whole table (M)."""
        return self.offsets[-1]

    def prefix(self, levels: int) -> int:
        """Floats of the coarsest ``levels`` levels."""
        return self.offsets[levels]

    @cached_property
    def layout(self) -> Tensor:
        """[levels, 3] int32 for the kernels: offset in entries, cells a side, 1 where dense."""
        rows = [
            [start // self.features, cells, int(dense)]
            for start, cells, dense in zip(self.offsets, self.resolutions, self.dense, strict=False)
        ]
        return torch.tensor(rows, dtype=torch.int32)


def hash_encode(
    points: Tensor, tables: Tensor, image_offsets: Tensor, grid: HashGrid, known: Tensor | None = None
) -> Tensor:
    """Features of points, interpolated trilinearly at every level.

    Args:
        points: [N, 3] in the unit cube; coordinates outside are clamped to it.
        tables: [B, M] one table per image, M = ``grid.size``.
        image_offsets: [B + 1] int64; points ``image_offsets[b]`` to ``image_offsets[b + 1]`` read table b.
        grid: the tables' geometry.
        known: the result, where ``visible_samples`` has worked it out: all that is left is the way of the gradients.

    Returns:
        [levels, N, features]: level-major, because a level's table fits the second-level cache and all of an
        image's points pass through it before the next. ``field_mlp`` takes this layout.

    Gradients flow to ``tables``, and to ``points`` when they require it.

    Source: Mueller et al., "Instant Neural Graphics Primitives", 2022, eq. 1-4.
    """
    points = shaped("points", points, None, 3)
    tables = shaped("tables", tables, None, grid.size)
    image_offsets = offsets("image_offsets", image_offsets, points.shape[0])
    if image_offsets.numel() != tables.shape[0] + 1:
        raise ValueError(f"{tables.shape[0]} tables need {tables.shape[0] + 1} image_offsets")
    native = native_for(points, tables)
    if native is None or grid.features != 4:
        return reference.hash_encode(points, tables, image_offsets, grid)
    if known is not None:
        shaped("known", known, grid.levels, points.shape[0], grid.features)
    result: Tensor = _HashEncode.apply(points, tables, image_offsets, grid, known)
    return result


class _HashEncode(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        points: Tensor,
        tables: Tensor,
        image_offsets: Tensor,
        grid: HashGrid,
        known: Tensor | None,
    ) -> Tensor:
        native = native_for(points)
        assert native is not None
        if known is None:
            features = torch.empty(grid.levels, points.shape[0], 4)
            native.hash_encode(
                plain(points), plain(tables), image_offsets, grid.layout, grid.log2_size, features
            )
        else:
            features = known.view_as(known)
        ctx.save_for_backward(points, image_offsets, tables)
        ctx.grid, ctx.images = grid, tables.shape[0]  # type: ignore[attr-defined]
        return features

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        points, image_offsets, tables = ctx.saved_tensors  # type: ignore[attr-defined]
        grid, images = ctx.grid, ctx.images  # type: ignore[attr-defined]
        native = native_for(points)
        assert native is not None
        gradient, place = plain(gradients[0]), plain(points)
        to_tables = to_points = None
        if ctx.needs_input_grad[0]:  # type: ignore[attr-defined]
            to_points = torch.empty(points.shape)
            native.hash_encode_slopes(
                place, plain(tables), gradient, image_offsets, grid.layout, grid.log2_size, to_points
            )
        if ctx.needs_input_grad[1]:  # type: ignore[attr-defined]
            to_tables = torch.empty(images, grid.size)
            native.hash_encode_backward(
                place, gradient, image_offsets, grid.layout, grid.log2_size, to_tables
            )
        return to_points, to_tables, None, None, None
