"""Vertex normals: native kernel against its twin, gradients in float64, corner cases."""

from __future__ import annotations

import pytest
import torch

from avatarkit.ops import native, reference
from avatarkit.ops.normals import Incidence, vertex_normals
from tests.ops.cases import relative_error

pytestmark = pytest.mark.usefixtures("kernels")


def soup(vertices: int, faces: int, seed: int = 0) -> tuple[torch.Tensor, Incidence]:
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(vertices, 3, generator=generator)
    triangles = torch.randint(vertices, (faces, 3), generator=generator, dtype=torch.int32)
    return points, Incidence.of(triangles, vertices)


@pytest.mark.parametrize(("vertices", "faces"), [(1, 0), (3, 1), (50, 120), (18_000, 36_000)])
def test_normals_and_gradients_agree_with_the_twin(vertices: int, faces: int) -> None:
    points, around = soup(vertices, faces)
    points.requires_grad_()
    wide = points.detach().double().requires_grad_()
    ours, truth = vertex_normals(points, around), reference.vertex_normals(wide, around)
    assert relative_error(ours, truth) < 1e-5
    gradient = torch.randn_like(ours)
    (value,) = torch.autograd.grad(ours, points, gradient)
    (expected,) = torch.autograd.grad(truth, wide, gradient.double())
    assert relative_error(value, expected) < 1e-3  # a sliver's normal turns fast


def test_gradient_is_that_of_finite_differences() -> None:
    points, around = soup(12, 20)
    wide = points.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: reference.vertex_normals(p, around), wide)


def test_a_corner_of_a_cube_looks_along_its_diagonal() -> None:
    points = torch.tensor([[0.0, 0, 0], [-1, 0, 0], [0, -1, 0], [0, 0, -1]])
    around = Incidence.of(torch.tensor([[0, 1, 2], [0, 2, 3], [0, 3, 1]]), 5)
    normals = vertex_normals(torch.cat([points, torch.ones(1, 3)]), around)
    torch.testing.assert_close(normals[0], torch.full((3,), 3**-0.5))
    assert torch.equal(normals[4], torch.zeros(3))  # no triangle has it


@pytest.mark.skipif(native.module() is None, reason="native kernels are not built")
def test_the_same_bits_for_any_number_of_threads() -> None:
    points, around = soup(5000, 10_000)
    results = []
    for threads in (1, 2):
        native.set_threads(threads)
        mine = points.clone().requires_grad_()
        vertex_normals(mine, around).pow(2).mul(torch.arange(3.0)).sum().backward()
        results.append(mine.grad)
    assert results[0] is not None and results[1] is not None and torch.equal(*results)


def test_what_does_not_fit_is_refused() -> None:
    points, around = soup(10, 20)
    with pytest.raises(ValueError, match="vertices"):
        vertex_normals(points[:5], around)
    with pytest.raises(ValueError, match="outside"):
        Incidence.of(torch.tensor([[0, 1, 7]]), 7)
