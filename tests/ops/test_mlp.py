from __future__ import annotations

import pytest
import torch

from avatarkit.ops import native, reference
from avatarkit.ops.mlp import FieldWeights, density_mlp, field_mlp
from avatarkit.ops.sh import spherical_harmonics
from tests.ops.cases import parameters, random_offsets, relative_error

pytestmark = pytest.mark.usefixtures("kernels")


@pytest.mark.parametrize("levels", [16, 12, 8, 5])
@pytest.mark.parametrize(("samples", "rays"), [(0, 3), (1, 1), (47, 60), (48, 2), (1000, 70)])
def test_outputs_and_every_gradient_agree_with_the_twin(samples: int, rays: int, levels: int) -> None:
    against_the_twin(samples, rays, levels)


def test_many_samples_agree_too() -> None:
    against_the_twin(70_001, 4096, 16)


def against_the_twin(samples: int, rays: int, levels: int) -> None:
    ray_offsets = random_offsets(rays, samples)
    features, harmonics = torch.randn(levels, samples, 4), torch.randn(rays, 16)
    drawn = FieldWeights.create(inputs=4 * levels)
    to_density, to_rgb = torch.randn(samples), torch.randn(samples, 3)
    results = []
    for function, dtype in ((field_mlp, torch.float32), (reference.field_mlp, torch.float64)):
        leaf, weights = features.to(dtype).requires_grad_(), parameters(drawn, dtype)
        density, rgb = function(leaf, harmonics.to(dtype), ray_offsets, weights)
        gradients = torch.autograd.grad(
            (density, rgb), (leaf, *weights), (to_density.to(dtype), to_rgb.to(dtype))
        )
        results.append((density, rgb, *gradients))
    for value, truth in zip(*results, strict=True):
        # A hidden unit within rounding of zero may fall on either side of its ReLU: hence not 1e-6 at the largest.
        assert relative_error(value, truth) < (1e-5 if samples < 10_000 else 2e-3)


def test_density_stays_finite_and_learns_beyond_its_bound() -> None:
    weights = parameters(FieldWeights.create(), torch.float32)
    with torch.no_grad():
        weights.density1[:, 0] = 100.0
    features = torch.randn(16, 64, 4)
    density, _ = field_mlp(features, torch.zeros(1, 16), torch.tensor([0, 64]), weights)
    assert density.max().item() == pytest.approx(3269017.4, rel=1e-5)  # e^15
    (gradient,) = torch.autograd.grad(density.sum(), weights.density1)
    assert bool(gradient.isfinite().all())
    assert float(gradient[:, 0].abs().max()) > 1e6


def test_density_alone_is_the_same_density() -> None:
    weights, features = FieldWeights.create(), torch.randn(16, 100, 4)
    density, _ = field_mlp(features, torch.randn(1, 16), torch.tensor([0, 100]), weights)
    assert relative_error(density_mlp(features, weights), density) < 1e-6


def test_without_gradients_the_outputs_are_the_same_bits() -> None:
    weights, features, harmonics = FieldWeights.create(), torch.randn(16, 500, 4), torch.randn(9, 16)
    ray_offsets = random_offsets(9, 500)
    leaf = features.clone().requires_grad_()
    with_gradients = field_mlp(leaf, harmonics, ray_offsets, weights)
    without = field_mlp(features, harmonics, ray_offsets, weights)
    for a, b in zip(with_gradients, without, strict=True):
        assert torch.equal(a, b)


def test_the_same_bits_again_and_for_any_number_of_threads() -> None:
    features, harmonics = torch.randn(16, 5000, 4), torch.randn(300, 16)
    ray_offsets, drawn = random_offsets(300, 5000), FieldWeights.create()

    def gradients() -> tuple[torch.Tensor, ...]:
        weights = parameters(drawn, torch.float32)
        density, rgb = field_mlp(features, harmonics, ray_offsets, weights)
        return torch.autograd.grad(density.sum() + rgb.square().sum(), tuple(weights))

    results = []
    for threads in (2, 2, 1, 3):
        native.set_threads(threads)
        results.append(gradients())
    for other in results[1:]:
        for first, second in zip(results[0], other, strict=True):
            assert torch.equal(first, second)


def test_wrong_shapes_are_refused() -> None:
    weights = FieldWeights.create()
    with pytest.raises(ValueError, match="levels \\* F = 64"):
        field_mlp(torch.zeros(8, 5, 4), torch.zeros(1, 16), torch.tensor([0, 5]), weights)
    with pytest.raises(ValueError, match="need 2 ray_offsets"):
        field_mlp(torch.zeros(16, 5, 4), torch.zeros(1, 16), torch.tensor([0, 2, 5]), weights)
    weights.color1 = torch.zeros(64, 4)
    with pytest.raises(ValueError, match="color1"):
        field_mlp(torch.zeros(16, 5, 4), torch.zeros(1, 16), torch.tensor([0, 5]), weights)


@pytest.mark.parametrize("count", [0, 1, 4096])
def test_spherical_harmonics_agree_with_the_twin(count: int) -> None:
    directions = torch.nn.functional.normalize(torch.randn(count, 3), dim=1)
    truth = reference.spherical_harmonics(directions.double())
    assert relative_error(spherical_harmonics(directions).double(), truth) < 1e-6
    slanted = directions.T.contiguous().T
    assert torch.equal(spherical_harmonics(slanted), spherical_harmonics(directions))


def test_spherical_harmonics_are_orthonormal() -> None:
    directions = torch.nn.functional.normalize(torch.randn(200_000, 3, dtype=torch.float64), dim=1)
    values = spherical_harmonics(directions)
    gram = values.T @ values * (4 * torch.pi / directions.shape[0])
    assert float((gram - torch.eye(16, dtype=torch.float64)).abs().max()) < 0.03  # Monte Carlo error .01
