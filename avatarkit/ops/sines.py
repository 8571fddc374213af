"""A network of sines: colors of surface points from encoded places and a few other numbers."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from avatarkit.ops import reference
from avatarkit.ops.checks import native_for, plain, shaped

WIDTH, LEVELS, EXTRA = 64, 12, 16
"""The sizes that the native kernel is made for; the twin takes any."""


@dataclass
class SineWeights:
    """Two hidden layers and the output's: weights [inputs, outputs], biases [outputs]."""

    weight0: Tensor
    bias0: Tensor
    weight1: Tensor
    bias1: Tensor
    weight2: Tensor
    bias2: Tensor

    def tensors(self) -> tuple[Tensor, ...]:
        """In the order of the layers."""
        return tuple(getattr(self, field.name) for field in fields(self))


def sine_mlp(features: Tensor, extra: Tensor, weights: SineWeights) -> Tensor:
    """rgb [N, 3] in (0, 1): sigmoid(sin(sin(x W0 + b0) W1 + b1) W2 + b2) (Sitzmann et al. 2020, eq. 1).

    ``features`` [levels, N, F] of ``hash_encode`` and ``extra`` [N, X] make up x, level by level, then the others.
    Gradients flow to both and to the weights. Raises ValueError for shapes that do not fit.
    """
    levels, total, width = features.shape
    extra = shaped("extra", extra, total, None)
    inputs, hidden = levels * width + extra.shape[1], weights.weight0.shape[1]
    wanted = ((inputs, hidden), (hidden,), (hidden, hidden), (hidden,), (hidden, 3), (3,))
    tensors = [
        shaped(field.name, tensor, *shape)
        for field, tensor, shape in zip(fields(weights), weights.tensors(), wanted, strict=True)
    ]
    fits = (levels, width, extra.shape[1], hidden) == (LEVELS, 4, EXTRA, WIDTH)
    if not fits or native_for(features, extra, *tensors) is None:
        return reference.sine_mlp(features, extra, SineWeights(*tensors))
    result: Tensor = _SineMlp.apply(features, extra, *tensors)
    return result


class _SineMlp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, features: Tensor, extra: Tensor, *weights: Tensor) -> Tensor:
        native = native_for(features)
        assert native is not None
        inputs = [plain(tensor) for tensor in (features, extra, *weights)]
        rgb = torch.empty(len(extra), 3)
        phases = torch.empty(len(extra) if any(ctx.needs_input_grad) else 0, 2 * WIDTH)  # type: ignore[attr-defined]
        native.sine_mlp(*inputs, rgb, phases)
        ctx.save_for_backward(*inputs, rgb, phases)
        return rgb

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # type: ignore[attr-defined]
        results = [torch.empty_like(tensor) for tensor in saved[:-2]]
        native = native_for(*saved)
        assert native is not None
        native.sine_mlp_backward(*(plain(tensor) for tensor in saved), plain(gradients[0]), *results)
        return tuple(results)
