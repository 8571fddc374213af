"""Sparse convolution against dense convolution and its twin; queries against a loop."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from avatarkit.ops import reference
from avatarkit.ops.sparse import (
    Sites,
    occupied,
    sparse_conv,
    sparse_query,
    strided_rules,
    submanifold_rules,
)
from tests.ops.cases import relative_error

pytestmark = pytest.mark.usefixtures("kernels")
SHAPE = (9, 8, 7)


def sites_of(count: int, shape: tuple[int, int, int] = SHAPE) -> Sites:
    places = torch.rand(count, 3) * torch.tensor(shape)
    return occupied(places, shape)[0]


def dense(features: torch.Tensor, sites: Sites) -> torch.Tensor:
    """[1, C, nz, ny, nx]"""
    x, y, z = sites.shape
    volume = features.new_zeros(features.shape[1], z, y, x)
    volume[:, sites.cells[:, 2], sites.cells[:, 1], sites.cells[:, 0]] = features.T
    return volume[None]


def kernel(weights: torch.Tensor) -> torch.Tensor:
    """[to, from, 3, 3, 3] (z, y, x) of [27, from, to]."""
    return weights.permute(2, 1, 0).reshape(weights.shape[2], weights.shape[1], 3, 3, 3)


def at(volume: torch.Tensor, sites: Sites) -> torch.Tensor:
    return volume[0][:, sites.cells[:, 2], sites.cells[:, 1], sites.cells[:, 0]].T


@pytest.mark.parametrize("channels", [(16, 32), (3, 5), (48, 16)])
@pytest.mark.parametrize("count", [0, 1, 120])
def test_it_is_a_dense_convolution_at_the_active_sites(count: int, channels: tuple[int, int]) -> None:
    sites = sites_of(count)
    features = torch.randn(len(sites), channels[0])
    weights = torch.randn(27, *channels)
    truth = F.conv3d(dense(features.double(), sites), kernel(weights.double()), padding=1)
    value = sparse_conv(features, weights, submanifold_rules(sites))
    assert value.shape == (len(sites), channels[1])
    assert torch.allclose(value.double(), at(truth, sites), atol=1e-4)
    coarse, rules = strided_rules(sites)
    truth = F.conv3d(dense(features.double(), sites), kernel(weights.double()), stride=2, padding=1)
    assert tuple(truth.shape[2:]) == coarse.shape[::-1] == (4, 4, 5)
    value = sparse_conv(features, weights, rules)
    assert torch.allclose(value.double(), at(truth, coarse), atol=1e-4)
    # Whatever an active site can reach is active.
    reached = F.conv3d(
        dense(torch.ones(len(sites), 1), sites), torch.ones(1, 1, 3, 3, 3), stride=2, padding=1
    )
    assert int((reached > 0).sum()) == len(coarse)


@pytest.mark.parametrize("channels", [(16, 32), (32, 16), (64, 128), (96, 48)])
@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_agree_with_the_twin(stride: int, channels: tuple[int, int]) -> None:
    sites = sites_of(700, (14, 12, 13))
    rules = submanifold_rules(sites) if stride == 1 else strided_rules(sites)[1]
    features = torch.randn(len(sites), channels[0], requires_grad=True)
    weights = torch.randn(27, *channels, requires_grad=True)
    value = sparse_conv(features.T.contiguous().T, weights, rules)
    upstream = torch.randn_like(value)
    ours = torch.autograd.grad(value, (features, weights), upstream)
    exact = [t.detach().double().requires_grad_() for t in (features, weights)]
    truth = reference.sparse_conv(exact[0], exact[1], rules)
    theirs = torch.autograd.grad(truth, exact, upstream.double())
    assert relative_error(value.double(), truth) < 1e-5
    for a, b in zip(ours, theirs, strict=True):
        assert relative_error(a.double(), b) < 1e-5
    again = torch.autograd.grad(sparse_conv(features, weights, rules), (features, weights), upstream)
    assert all(torch.equal(a, b) for a, b in zip(ours, again, strict=True))


def test_the_twins_gradients_are_those_of_differences() -> None:
    sites = sites_of(6, (4, 4, 4))
    features = torch.randn(len(sites), 2, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(27, 2, 3, dtype=torch.float64, requires_grad=True)
    rules = submanifold_rules(sites)
    assert torch.autograd.gradcheck(lambda f, w: reference.sparse_conv(f, w, rules), (features, weights))


@pytest.mark.parametrize("count", [0, 1, 90])
def test_rules_are_those_of_the_twin_and_reverse(count: int) -> None:
    sites = sites_of(count)
    coarse, rules = strided_rules(sites)
    for ours, theirs in (
        (rules, reference.sparse_rules(sites, 2 * coarse.cells)),
        (submanifold_rules(sites), reference.sparse_rules(sites, sites.cells)),
    ):
        for a, b in zip((ours.source, ours.target, ours.begin), theirs, strict=True):
            assert torch.equal(a, b)
        for a, b in zip(
            (ours.reverse.source, ours.reverse.target), reference.sparse_reverse(ours), strict=True
        ):
            assert torch.equal(a, b)
    back = rules.reverse.reverse
    for a, b in ((rules.source, back.source), (rules.target, back.target), (rules.begin, back.begin)):
        assert torch.equal(a, b)


def test_a_query_is_trilinear_between_cell_centers() -> None:
    sites = sites_of(60)
    features = torch.randn(len(sites), 4, dtype=torch.float64, requires_grad=True)
    places = torch.rand(12, 3, dtype=torch.float64) * 14 - 2
    places[0] = sites.cells[3] + 0.5
    places[1] = torch.tensor([-1e6, 3.0, 1e6])
    value = sparse_query(features, sites, places)
    for n, place in enumerate(places):
        truth = torch.zeros(4, dtype=torch.float64)
        for cell, feature in zip(sites.cells, features, strict=True):
            truth = truth + feature * (1 - (place - cell - 0.5).abs()).clamp(min=0).prod()
        assert torch.allclose(value[n], truth, atol=1e-12)
    assert torch.equal(value[0], features[3]) and not value[1].any()
    assert torch.autograd.gradcheck(lambda f: sparse_query(f, sites, places[:7]), (features,))


def test_points_find_their_cells() -> None:
    places = torch.tensor([[0.2, 0.9, 0.0], [0.7, 0.1, 0.5], [8.9, 7.5, 6.1], [40.0, -3.0, 2.0]])
    sites, rows = occupied(places, SHAPE)
    assert sites.cells[rows].tolist() == [[0, 0, 0], [0, 0, 0], [8, 7, 6], [8, 0, 2]]
    assert len(sites) == 3 and sites.rows(torch.tensor([[0, 0, 0], [1, 0, 0], [-2, 9, 3]])).tolist() == [
        0,
        -1,
        -1,
    ]
    with pytest.raises(ValueError, match="features"):
        sparse_conv(torch.zeros(2, 16), torch.zeros(27, 16, 16), submanifold_rules(sites))
