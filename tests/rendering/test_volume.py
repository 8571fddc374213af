"""Fourier features, samples along rays and volume rendering against straightforward loops in float64."""

from __future__ import annotations

import math

import pytest
import torch

from avatarkit.rendering.fourier import fourier, fourier_width
from avatarkit.rendering.volume import box_span, importance, render_volume, stratified

DOUBLE = torch.float64


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_fourier_features_are_those_of_the_formula() -> None:
    values = torch.rand(5, 2, dtype=DOUBLE) * 2 - 1
    found = fourier(values, 3)
    assert found.shape == (5, fourier_width(2, 3)) and fourier_width(3, 10) == 63
    for row, (a, b) in zip(found, values.tolist(), strict=True):
        wanted = [a, b]
        for k in range(3):
            turn = 2**k * math.pi
            wanted += [math.sin(turn * a), math.sin(turn * b), math.cos(turn * a), math.cos(turn * b)]
        assert torch.allclose(row, torch.tensor(wanted, dtype=DOUBLE), atol=1e-12)
    assert torch.autograd.gradcheck(lambda v: fourier(v, 2), (values.requires_grad_(),))


def test_a_ray_is_the_sum_of_its_samples() -> None:
    density, rgb = torch.rand(4, 6, dtype=DOUBLE) * 9, torch.rand(4, 6, 3, dtype=DOUBLE)
    density[1, 2] = 0.0
    t, far = torch.rand(4, 6, dtype=DOUBLE).sort(1).values, torch.full((4,), 1.2, dtype=DOUBLE)
    seen = render_volume(density, rgb, t, far)
    for r in range(4):
        light, color, alpha, depth = 1.0, torch.zeros(3, dtype=DOUBLE), 0.0, 0.0
        for k in range(6):
            delta = float((t[r, k + 1] if k < 5 else far[r]) - t[r, k])
            weight = light * (1 - math.exp(-float(density[r, k]) * delta))
            light *= math.exp(-float(density[r, k]) * delta)
            color, alpha, depth = color + weight * rgb[r, k], alpha + weight, depth + weight * float(t[r, k])
            assert float(seen.weights[r, k]) == pytest.approx(weight, abs=1e-12)
        assert torch.allclose(seen.color[r], color, atol=1e-12)
        assert float(seen.alpha[r]) == pytest.approx(alpha) and float(seen.depth[r]) == pytest.approx(depth)
    density.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda s, c: tuple(render_volume(s, c, t, far)), (density, rgb.requires_grad_())
    )


def test_rays_enter_and_leave_the_cube() -> None:
    origins = torch.tensor([[0.5, 0.5, 3.0], [0.5, 0.5, 0.5], [2.0, 2.0, 3.0], [0.5, -1.0, 0.25]])
    directions = torch.tensor([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    near, far = box_span(origins, directions)
    assert torch.allclose(near[[0, 1, 3]], torch.tensor([2.0, 0.0, 1.0]))
    assert torch.allclose(far[[0, 1, 3]], torch.tensor([3.0, 0.5, 2.0]))
    assert far[2] == near[2]


def test_stratified_samples_lie_in_their_parts() -> None:
    near, far = torch.tensor([0.0, 1.0]), torch.tensor([2.0, 5.0])
    assert torch.allclose(stratified(near, far, 4)[1], torch.tensor([1.5, 2.5, 3.5, 4.5]))
    drawn = stratified(near, far, 8, torch.Generator().manual_seed(1))
    part = ((drawn - near[:, None]) / (far - near)[:, None] * 8).floor()
    assert torch.equal(part, torch.arange(8.0).expand(2, 8))


def test_importance_follows_the_weights() -> None:
    near, far = torch.zeros(3), torch.ones(3)
    t = stratified(near, far, 10)
    weights = torch.zeros(3, 10)
    weights[0, 3], weights[1, 2:4] = 1.0, torch.tensor([0.25, 0.75])  # the third ray sees nothing
    found = importance(t, weights, near, far, 400, torch.Generator().manual_seed(0))
    assert bool((found.diff(dim=1) >= 0).all())
    assert float(((found[0] >= 0.3) & (found[0] <= 0.4)).float().mean()) > 0.99
    assert float(((found[1] >= 0.3) & (found[1] <= 0.4)).float().mean()) == pytest.approx(0.75, abs=0.01)
    assert torch.allclose(found[2], torch.linspace(0, 1, 400), atol=0.01)
    # The inverse of the cumulative distribution, by a loop.
    even = stratified(near.double(), far.double(), 10)
    middles = importance(even, weights.double() + 0.1, near.double(), far.double(), 7)
    edges = torch.linspace(0, 1, 11, dtype=DOUBLE)
    for ray in range(3):
        shares = weights[ray].double() + 0.1 + 1e-6
        shares = shares / shares.sum()
        for i, found_t in enumerate(middles[ray].tolist()):
            left = (i + 0.5) / 7
            for k in range(10):
                if left <= float(shares[k]):
                    break
                left -= float(shares[k])
            assert found_t == pytest.approx(float(edges[k]) + 0.1 * left / float(shares[k]), abs=1e-9)
