"""Convolution over the active sites of a sparse 3-D grid, and what such a grid holds at points between its sites."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx

from avatarkit.ops import reference
from avatarkit.ops.checks import native_for, plain, shaped
from avatarkit.ops.native import module

TAPS = 27


@dataclass(frozen=True)
class Sites:
    """The active sites of a grid: ``cells`` [N, 3] int64 (x, y, z), each once, inside ``shape`` (cells an axis)."""

    cells: Tensor
    shape: tuple[int, int, int]

    def __len__(self) -> int:
        return len(self.cells)

    @cached_property
    def table(self) -> Tensor:
        """[nz + 4, ny + 4, nx + 4] int32: the row of every cell, -1 where none is, with a border of two cells."""
        x, y, z = self.shape
        rows = torch.full((z + 4, y + 4, x + 4), -1, dtype=torch.int32)
        at = self.cells + 2
        rows[at[:, 2], at[:, 1], at[:, 0]] = torch.arange(len(self.cells), dtype=torch.int32)
        return rows

    def rows(self, cells: Tensor) -> Tensor:
        """[M] rows of ``cells`` [M, 3], which reach at most two beyond the shape; -1 where a cell is not active."""
        x, y, z = (cells + 2).unbind(1)
        _, height, width = self.table.shape
        return self.table.view(-1)[(z * height + y) * width + x]


def occupied(places: Tensor, shape: tuple[int, int, int]) -> tuple[Sites, Tensor]:
    """The sites that points lie in, and which of them each lies in.

    Args:
        places: [N, 3] in cells: a point lies in the cell of its floor; those outside ``shape`` count as at its edge.
        shape: cells along x, y and z.

    Returns:
        the sites, and [N] int64 rows of them.
    """
    limits = torch.tensor(shape)
    cells = places.floor().long().clamp(min=torch.zeros(3, dtype=torch.int64), max=limits - 1)
    active = torch.zeros(shape[::-1], dtype=torch.bool)
    active[cells[:, 2], cells[:, 1], cells[:, 0]] = True
    sites = _sites(active)
    return sites, sites.rows(cells).long()


def _sites(active: Tensor) -> Sites:
    """Those of a grid [nz, ny, nx] of bool, x fastest."""
    z, y, x = active.shape
    return Sites(active.nonzero().flip(1), (x, y, z))


@dataclass(frozen=True)
class Rules:
    """Which input row each of the 27 taps carries to which output row (Graham et al. 2017, the "rule book").

    ``source`` and ``target`` [P] int32, tap after tap as ``begin`` [28] int64 says; within a tap targets rise.
    """

    source: Tensor
    target: Tensor
    begin: Tensor
    inputs: int
    outputs: int
    mirrored: bool = False
    """Whether the pairs of tap k, sources and targets exchanged, are those of tap 26 - k."""

    @cached_property
    def reverse(self) -> Rules:
        """The same pairs with sources and targets exchanged: what gradients go through."""
        native = module()
        if native is None:
            source, target = reference.sparse_reverse(self)
        else:
            source, target = torch.empty_like(self.source), torch.empty_like(self.target)
            native.sparse_reverse(self.source, self.target, self.begin, self.inputs, source, target)
        return Rules(source, target, self.begin, self.outputs, self.inputs)


def _rules(inputs: Sites, outputs: Sites, stride: int) -> Rules:
    centers = outputs.cells * stride
    native = module()
    if native is None:
        source, target, begin = reference.sparse_rules(inputs, centers)
    else:
        source, target = (torch.empty(TAPS * len(outputs), dtype=torch.int32) for _ in range(2))
        begin = torch.empty(TAPS + 1, dtype=torch.int64)
        native.sparse_rules(inputs.table, (centers + 2).int(), source, target, begin)
        source, target = source[: begin[-1]], target[: begin[-1]]
    return Rules(source, target, begin, len(inputs), len(outputs), mirrored=inputs is outputs)


def submanifold_rules(sites: Sites) -> Rules:
    """Rules of a 3 x 3 x 3 convolution whose outputs are active where its inputs are (Graham et al. 2017).

    Tap 9 (dz + 1) + 3 (dy + 1) + dx + 1 reads the neighbor at (dx, dy, dz).
    """
    return _rules(sites, sites, 1)


def strided_rules(sites: Sites) -> tuple[Sites, Rules]:
    """The sites at half the resolution and the rules that lead there: 3 x 3 x 3, stride 2, padding 1.

    Output o reads the inputs around 2 o; it is active where one of them is.
    """
    x, y, z = ((size + 1) // 2 for size in sites.shape)
    # With room for the right neighbors of the last cells, which nothing of the result reads.
    active = torch.zeros(z + 1, y + 1, x + 1, dtype=torch.bool)
    # An even coordinate c is read by c / 2 alone, an odd one by both its neighbors.
    low = sites.cells >> 1
    high = low + (sites.cells & 1)
    for corner in range(8):
        at = [(high if corner >> axis & 1 else low)[:, axis] for axis in range(3)]
        active[at[2], at[1], at[0]] = True
    coarse = _sites(active[:z, :y, :x])
    return coarse, _rules(sites, coarse, 2)


def sparse_conv(features: Tensor, weights: Tensor, rules: Rules) -> Tensor:
    """[outputs, to]: every tap's ``weights`` [27, from, to] times the ``features`` [inputs, from] it reads, summed.

    Gradients flow to features and weights. The kernel works on multiples of 16 channels; others are padded.

    Source: Graham et al., "3D Semantic Segmentation with Submanifold Sparse Convolutional Networks", 2017.
    """
    features = shaped("features", features, rules.inputs, None)
    weights = shaped("weights", weights, TAPS, features.shape[1], None)
    if native_for(features, weights) is None:
        return reference.sparse_conv(features, weights, rules)
    _, inputs, outputs = weights.shape
    more = (-inputs % 16, -outputs % 16)
    if any(more):
        features, weights = F.pad(features, (0, more[0])), F.pad(weights, (0, more[1], 0, more[0]))
    result: Tensor = _SparseConv.apply(features, weights, rules)
    return result[:, :outputs] if more[1] else result


class _SparseConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, features: Tensor, weights: Tensor, rules: Rules) -> Tensor:
        native = native_for(features)
        assert native is not None
        out = torch.empty(rules.outputs, weights.shape[2])
        native.sparse_conv(rules.source, rules.target, rules.begin, plain(features), plain(weights), out)
        ctx.save_for_backward(features, weights)
        ctx.rules = rules  # type: ignore[attr-defined]
        return out

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        features, weights = ctx.saved_tensors  # type: ignore[attr-defined]
        rules: Rules = ctx.rules  # type: ignore[attr-defined]
        native = native_for(features)
        assert native is not None
        gradient = plain(gradients[0])
        to_features, to_weights = None, None
        if ctx.needs_input_grad[0]:  # type: ignore[attr-defined]
            back = rules if rules.mirrored else rules.reverse
            to_features = torch.empty_like(features)
            native.sparse_conv_inputs(
                back.source, back.target, back.begin, gradient, plain(weights), rules.mirrored, to_features
            )
        if ctx.needs_input_grad[1]:  # type: ignore[attr-defined]
            to_weights = torch.empty_like(weights)
            native.sparse_conv_weights(
                rules.source, rules.target, rules.begin, plain(features), gradient, to_weights
            )
        return to_features, to_weights, None


def sparse_query(features: Tensor, sites: Sites, places: Tensor) -> Tensor:
    """[N, C] trilinear interpolation of ``features`` [sites, C] at ``places`` [N, 3] in cells; empty cells are zero.

    A site's value lies at the center of its cell, (x + 0.5, y + 0.5, z + 0.5). Beyond the shape everything is zero.
    Gradients flow to the features (MA-NeRF, seed 000, eq. 7; Peng et al., "Neural Body", 2021).
    """
    features = shaped("features", features, len(sites), None)
    places = shaped("places", places, None, 3)
    size = torch.tensor(sites.shape, dtype=places.dtype)
    # Half a cell beyond the outermost centers nothing is left; clamping keeps far points inside the table's border.
    at = (places - 0.5).clamp(min=-1.0).minimum(size)
    low = at.floor()
    share = at - low
    corners, weights = [], []
    for corner in range(8):
        bits = torch.tensor([corner & 1, corner >> 1 & 1, corner >> 2 & 1])
        corners.append(sites.rows(low.long() + bits))
        weights.append(torch.where(bits.bool(), share, 1 - share).prod(1))
    rows, weight = torch.stack(corners, 1), torch.stack(weights, 1)
    weight = weight * (rows >= 0)
    # The row of an empty cell is that of a cell that weighs nothing.
    table = features if len(sites) else features.new_zeros(1, features.shape[1])
    result: Tensor = F.embedding_bag(rows.clamp(min=0), table, per_sample_weights=weight, mode="sum")
    return result
