"""The network of sines: native kernel against its twin in float64, gradients, any number of threads."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from avatarkit.ops import native, reference
from avatarkit.ops.sines import SineWeights, sine_mlp
from tests.ops.cases import relative_error

pytestmark = pytest.mark.usefixtures("kernels")


def case(
    samples: int, levels: int = 12, extra: int = 16, width: int = 64
) -> tuple[Tensor, Tensor, SineWeights]:
    inputs = 4 * levels + extra
    shapes = ((inputs, width), (width,), (width, width), (width,), (width, 3), (3,))
    weights = SineWeights(*(torch.randn(shape) * (1.5 if len(shape) == 1 else 0.3) for shape in shapes))
    return torch.randn(levels, samples, 4), torch.randn(samples, extra), weights


@pytest.mark.parametrize("sizes", [(0,), (1,), (49,), (9_013,), (77, 3, 5, 24)])
def test_colors_and_gradients_agree_with_the_twin(sizes: tuple[int, ...]) -> None:
    features, extra, weights = case(*sizes)
    leaves = [t.requires_grad_() for t in (features, extra, *weights.tensors())]
    wide = [t.detach().double().requires_grad_() for t in leaves]
    ours = sine_mlp(features, extra, weights)
    truth = reference.sine_mlp(wide[0], wide[1], SineWeights(*wide[2:]))
    assert relative_error(ours, truth) < 1e-5
    gradient = torch.randn_like(ours)
    values = torch.autograd.grad(ours, leaves, gradient)
    expected = torch.autograd.grad(truth, wide, gradient.double())
    for value, other in zip(values, expected, strict=True):
        assert relative_error(value, other) < 1e-4


def test_large_phases_keep_their_sines() -> None:
    features, extra, weights = case(500)
    weights.weight0 *= 100
    truth = reference.sine_mlp(
        features.double(), extra.double(), SineWeights(*(t.double() for t in weights.tensors()))
    )
    assert relative_error(sine_mlp(features, extra, weights), truth) < 2e-2  # float32 phases of hundreds
    narrow = reference.sine_mlp(features, extra, weights)
    assert relative_error(sine_mlp(features, extra, weights), narrow) < 2e-2


def test_the_same_bits_for_any_number_of_threads() -> None:
    features, extra, weights = case(3000)
    weights.weight0.requires_grad_()
    results = []
    for threads in (1, 2):
        native.set_threads(threads)
        (value,) = torch.autograd.grad(sine_mlp(features, extra, weights).square().sum(), weights.weight0)
        results.append(value)
    assert torch.equal(*results)


def test_non_contiguous_arguments_and_wrong_shapes() -> None:
    features, extra, weights = case(30)
    again = sine_mlp(features.transpose(0, 1).contiguous().transpose(0, 1), extra.T.contiguous().T, weights)
    assert torch.equal(again, sine_mlp(features, extra, weights))
    with pytest.raises(ValueError, match="weight0"):
        sine_mlp(features[:11], extra, weights)
    with pytest.raises(ValueError, match="extra"):
        sine_mlp(features, extra[:9], weights)
