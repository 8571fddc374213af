from __future__ import annotations

import pytest
import torch

from avatarkit.ops import reference
from avatarkit.ops.encode import HashGrid, hash_encode
from tests.ops.cases import random_offsets, relative_error

pytestmark = pytest.mark.usefixtures("kernels")
GRID = HashGrid()


def test_grid_grows_geometrically_and_hashes_where_dense_does_not_fit() -> None:
    assert GRID.resolutions[0] == 16
    assert GRID.resolutions[-1] == 1024
    assert GRID.entries[:3] == (17**3, 22**3, 2**14)
    assert GRID.dense == (True, True, *[False] * 14)
    assert GRID.size == 4 * (17**3 + 22**3 + 14 * 2**14)
    assert GRID.prefix(2) == 4 * (17**3 + 22**3)
    assert HashGrid(levels=1).resolutions == (16,)


@pytest.mark.parametrize(
    ("points", "images", "grid"),
    [
        (0, 2, GRID),
        (1, 1, GRID),
        (1000, 3, GRID),
        (9_011, 2, HashGrid(log2_size=10)),
        (333, 2, HashGrid(levels=10, finest=512)),
    ],
)
def test_features_and_table_gradients_agree_with_the_twin(points: int, images: int, grid: HashGrid) -> None:
    position = torch.rand(points, 3) * 1.1 - 0.05  # some outside, which are clamped
    position[:2] = torch.tensor([[1.0, 1.0, 1.0], [0.0, 1.0, 0.5]])[: min(points, 2)]
    image_offsets = random_offsets(images, points)
    tables = torch.randn(images, grid.size, requires_grad=True)
    wide = tables.detach().double().requires_grad_()
    features = hash_encode(position, tables, image_offsets, grid)
    truth = reference.hash_encode(position.double(), wide, image_offsets, grid)
    assert features.shape == (grid.levels, points, 4)
    # The finest level multiplies a float32 coordinate by 1024: 6e-5 of a cell is its rounding.
    assert relative_error(features, truth) < 2e-4
    gradient = torch.randn_like(features)
    (value,) = torch.autograd.grad(features, tables, gradient)
    (expected,) = torch.autograd.grad(truth, wide, gradient.double())
    assert relative_error(value, expected) < 2e-4


def test_gradient_to_points_is_that_of_finite_differences() -> None:
    position = (torch.rand(50, 3, dtype=torch.float64) * 0.8 + 0.1).requires_grad_()
    grid = HashGrid(levels=4, finest=64)
    tables = torch.randn(1, grid.size, dtype=torch.float64)
    features = hash_encode(position, tables, torch.tensor([0, 50]), grid)
    (gradient,) = torch.autograd.grad(features.sum(), position)
    shift = torch.zeros_like(position)
    shift[:, 1] = 1e-7
    with torch.no_grad():
        high = reference.hash_encode(position + shift, tables, torch.tensor([0, 50]), grid)
        low = reference.hash_encode(position - shift, tables, torch.tensor([0, 50]), grid)
    assert relative_error(gradient[:, 1], (high - low).sum((0, 2)) / 2e-7) < 1e-5


@pytest.mark.parametrize(
    ("points", "images", "grid"), [(0, 1, GRID), (1, 1, GRID), (3000, 2, HashGrid(levels=8, finest=128))]
)
def test_gradient_to_points_agrees_with_the_twin(points: int, images: int, grid: HashGrid) -> None:
    """Kinks lie on the faces of cells: coordinates stay off them, where rounding would choose the side."""
    cell = torch.rand(points, 3) * 1.2 - 0.1  # some outside, which do not move
    position = (cell if grid is GRID else (cell * 128).floor() / 128 + 0.004).requires_grad_()
    image_offsets = random_offsets(images, points)
    tables = torch.randn(images, grid.size, requires_grad=True)
    features = hash_encode(position, tables, image_offsets, grid)
    gradient = torch.randn_like(features)
    wide = position.detach().double().requires_grad_()
    truth = reference.hash_encode(wide, tables.detach().double(), image_offsets, grid)
    value, to_tables = torch.autograd.grad(features, (position, tables), gradient)
    (expected,) = torch.autograd.grad(truth, wide, gradient.double())
    assert relative_error(value, expected) < 1e-3
    assert to_tables.shape == tables.shape


def test_non_contiguous_arguments_count_like_copies() -> None:
    position = torch.rand(3, 100).T
    tables = torch.randn(GRID.size, 2).T
    image_offsets = torch.tensor([0, 40, 100])
    same = hash_encode(position.contiguous(), tables.contiguous(), image_offsets, GRID)
    assert torch.equal(hash_encode(position, tables, image_offsets, GRID), same)


def test_wrong_shapes_are_refused() -> None:
    tables = torch.zeros(1, GRID.size)
    with pytest.raises(ValueError, match="points"):
        hash_encode(torch.rand(4, 2), tables, torch.tensor([0, 4]), GRID)
    with pytest.raises(ValueError, match="tables"):
        hash_encode(torch.rand(4, 3), tables[:, 1:], torch.tensor([0, 4]), GRID)
    with pytest.raises(ValueError, match="rise from 0 to 4"):
        hash_encode(torch.rand(4, 3), tables, torch.tensor([0, 5]), GRID)
    with pytest.raises(ValueError, match="hash grid"):
        HashGrid(levels=0)
