"""The radiance field's network: density and color from encoded points."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from avatarkit.ops import reference
from avatarkit.ops.checks import native_for, offsets, plain, shaped
from avatarkit.ops.encode import HashGrid
from avatarkit.ops.native import retain_memory

WIDTH, GEOMETRY, HARMONICS = 64, 16, 16


@dataclass
class FieldWeights:
    """The four weight matrices, each [inputs, outputs], without biases (Mueller et al. 2022, section 4).

    ``density0`` [I, 64], I = levels * F <= 64, and ``density1`` [64, 16] lead from the features to the log density
    (output 0) and, with it, 16 geometry features; ``color0`` [32, 64] (first 16 rows geometry, last 16 spherical
    harmonics) and ``color1`` [64, 3] lead on to the color.
    """

    density0: Tensor
    density1: Tensor
    color0: Tensor
    color1: Tensor

    @classmethod
    def create(cls, generator: torch.Generator | None = None, inputs: int = WIDTH) -> FieldWeights:
        """Weights for ``inputs`` features, drawn uniformly within +-sqrt(6 / inputs) (He et al. 2015), the outputs'
        within +-sqrt(1 / inputs).
        """

        def uniform(inputs: int, outputs: int, gain: float) -> Tensor:
            return (torch.rand(inputs, outputs, generator=generator) * 2 - 1) * math.sqrt(gain / inputs)

        return cls(
            uniform(inputs, WIDTH, 6.0),
            uniform(WIDTH, GEOMETRY, 1.0),
            uniform(GEOMETRY + HARMONICS, WIDTH, 6.0),
            uniform(WIDTH, 3, 1.0),
        )

    def __iter__(self) -> Iterator[Tensor]:
        return (getattr(self, field.name) for field in fields(self))

    def map(self, function) -> FieldWeights:  # type: ignore[no-untyped-def]
        """The weights with ``function`` applied to every matrix."""
        return FieldWeights(*(function(matrix) for matrix in self))

    def suits(self, grid: HashGrid) -> bool:
        """Whether the kernels can lead the features of ``grid`` through these matrices."""
        return grid.features == 4 and grid.levels * 4 == self.density0.shape[0] <= WIDTH

    def checked(self) -> FieldWeights:
        """The weights, contiguous; ValueError when a shape is wrong."""
        return FieldWeights(
            shaped("density0", self.density0, None, WIDTH),
            shaped("density1", self.density1, WIDTH, GEOMETRY),
            shaped("color0", self.color0, GEOMETRY + HARMONICS, WIDTH),
            shaped("color1", self.color1, WIDTH, 3),
        )


def field_mlp(
    features: Tensor, harmonics: Tensor, ray_offsets: Tensor, weights: FieldWeights
) -> tuple[Tensor, Tensor]:
    """Density and color of samples.

    Args:
        features: [levels, N, F] of ``hash_encode``, levels * F = I.
        harmonics: [R, 16] spherical harmonics of the rays' directions; no gradient flows to them.
        ray_offsets: [R + 1] int64; samples ``ray_offsets[r]`` to ``ray_offsets[r + 1]`` lie on ray r.
        weights: the network.

    Returns:
        density [N] per unit length, exp(min(output, 15)) with gradient density * g everywhere (the truncated
        exponential of Instant-NGP), and rgb [N, 3] in (0, 1).

    Gradients flow to ``features`` and ``weights``.
    """
    levels, total, width = features.shape if features.dim() == 3 else (0, 0, 0)
    inputs = weights.density0.shape[0]
    if levels * width != inputs:
        raise ValueError(
            f"features must be [levels, N, F] with levels * F = {inputs}, not {list(features.shape)}"
        )
    harmonics = shaped("harmonics", harmonics, None, HARMONICS)
    ray_offsets = offsets("ray_offsets", ray_offsets, total)
    if ray_offsets.numel() != harmonics.shape[0] + 1:
        raise ValueError(f"{harmonics.shape[0]} rays need {harmonics.shape[0] + 1} ray_offsets")
    weights = weights.checked()
    if (
        native_for(features, harmonics, *weights) is None
        or width != 4
        or inputs > WIDTH
        or harmonics.requires_grad
    ):
        return reference.field_mlp(features, harmonics, ray_offsets, weights)
    density, rgb = _FieldMlp.apply(features.contiguous(), harmonics, ray_offsets, *weights)
    return density, rgb


def density_mlp(features: Tensor, weights: FieldWeights) -> Tensor:
    """The density [N] alone, of ``features`` [levels, N, F]; differentiable in the twin only."""
    return reference.density_mlp(features, weights.checked())


class _FieldMlp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, features: Tensor, harmonics: Tensor, ray_offsets: Tensor, *weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        native = native_for(features)
        assert native is not None
        total = features.shape[1]
        density, rgb = torch.empty(total), torch.empty(total, 3)
        matrices = [plain(matrix) for matrix in weights]
        # Hidden layers are kept for backward only: computing them again costs more than reading them.
        kept = total if any(ctx.needs_input_grad) else 0  # type: ignore[attr-defined]
        if kept:
            retain_memory()
        hidden = torch.empty(kept, 2 * WIDTH + GEOMETRY)
        native.field_mlp(plain(features), plain(harmonics), ray_offsets, *matrices, density, rgb, hidden)
        ctx.save_for_backward(features, harmonics, ray_offsets, *weights, density, rgb, hidden)
        return density, rgb

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # type: ignore[attr-defined]
        features, matrices = saved[0], saved[3:7]
        native = native_for(features)
        assert native is not None
        results = [torch.empty_like(features), *(torch.empty_like(matrix) for matrix in matrices)]
        native.field_mlp_backward(
            *(plain(tensor) for tensor in saved), *(plain(gradient) for gradient in gradients), *results
        )
        return results[0], None, None, *results[1:]
