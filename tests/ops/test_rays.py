"""Marching, compositing, whole images and the occupancy grid."""

from __future__ import annotations

import pytest
import torch

from avatarkit.ops import occupancy, reference
from avatarkit.ops.composite import composite
from avatarkit.ops.encode import HashGrid, hash_encode
from avatarkit.ops.march import march
from avatarkit.ops.mlp import FieldWeights, field_mlp
from avatarkit.ops.render import render_rays
from avatarkit.ops.sh import spherical_harmonics
from avatarkit.ops.visible import visible_samples
from tests.ops.cases import CELLS, STEP, camera_rays, opaque_weights, random_offsets, relative_error, shell

pytestmark = pytest.mark.usefixtures("kernels")
GRIDS = (HashGrid(), HashGrid(levels=8, finest=512), HashGrid(levels=10, finest=200))


@pytest.fixture(params=GRIDS, ids=lambda grid: f"{grid.levels} levels")
def grid(request: pytest.FixtureRequest) -> HashGrid:
    return request.param


@pytest.mark.parametrize("seed", [None, 0, 12345])
@pytest.mark.parametrize(("cells", "limit"), [(CELLS, 1024), (CELLS, 9), (20, 1024)])
def test_samples_agree_with_the_twin(seed: int | None, cells: int, limit: int) -> None:
    origins, directions = camera_rays(40)
    directions[:3] = torch.eye(3)  # along the axes, from within
    origins[:3] = 0.5
    bitfield = shell(cells=cells)
    value = march(origins, directions, bitfield, STEP, limit, seed)
    ray_offsets, points, t = reference.march(origins, directions, bitfield, STEP, limit, seed)
    assert int(ray_offsets[-1]) > 2000
    different = (value.ray_offsets.diff() != ray_offsets.diff()).sum()
    assert int(different) <= 2  # a sample within rounding of a cell's face
    if not different:
        assert relative_error(value.points, points) < 1e-6
        assert relative_error(value.t, t) < 1e-6


@pytest.mark.parametrize("cells", [24, 64, 136])
def test_no_sample_is_skipped_on_the_way_through_empty_space(cells: int) -> None:
    values = torch.zeros(cells**3)
    values[torch.randint(cells**3, (12,))] = 1.0  # a few lone cells
    values[[0, -1]] = 1.0
    bitfield = occupancy.pack(values, 0.5)
    aims = occupancy.cell_points(values.nonzero()[:, 0], cells).repeat(100, 1)
    origins = torch.rand(len(aims), 3) * 3 - 1
    directions = torch.nn.functional.normalize(aims - origins, dim=1)
    value = march(origins, directions, bitfield, STEP)
    ray_offsets, _, t = reference.march(origins, directions, bitfield, STEP, 1024, None)
    assert int((ray_offsets.diff() > 0).sum()) > 500
    different = value.ray_offsets.diff() != ray_offsets.diff()
    assert int(different.sum()) <= 5  # a sample within rounding of a cell's face
    if not different.any():
        assert relative_error(value.t, t) < 1e-6


def test_rays_that_meet_nothing_have_no_samples() -> None:
    origins, directions = camera_rays(8)
    for rays in ((origins, -directions), (origins[:0], directions[:0])):
        samples = march(*rays, shell(), STEP)
        assert samples.points.shape == (0, 3)
        assert int(samples.ray_offsets.abs().sum()) == 0
    empty = torch.zeros(CELLS**3 // 8, dtype=torch.uint8)
    assert march(origins, directions, empty, STEP).t.numel() == 0


def test_senseless_rays_come_to_an_end() -> None:
    origins = torch.full((4, 3), 0.5)
    directions = torch.tensor(
        [[0.0, 0.0, 0.0], [torch.nan, 0.0, 1.0], [0.0, torch.inf, 0.0], [0.0, 1e-12, 0.0]]
    )
    everywhere = torch.full((CELLS**3 // 8,), 255, dtype=torch.uint8)
    value = march(origins, directions, everywhere, STEP)
    truth = reference.march(origins, directions, everywhere, STEP, 1024, None)
    assert value.ray_offsets.diff().tolist() == truth[0].diff().tolist() == [512, 0, 0, 512]


@pytest.mark.parametrize("distortion", [False, True])
@pytest.mark.parametrize(("samples", "rays"), [(0, 4), (1, 1), (3000, 200), (70_001, 4096)])
def test_composites_and_gradients_agree_with_the_twin(samples: int, rays: int, distortion: bool) -> None:
    ray_offsets = random_offsets(rays, samples)
    density, rgb = torch.rand(samples) * 80.0, torch.rand(samples, 3)
    starts = torch.repeat_interleave(ray_offsets[:-1], ray_offsets.diff())
    t = 1.0 + (torch.arange(samples) - starts) * STEP
    density.requires_grad_()
    rgb.requires_grad_()
    wide = (density.detach().double().requires_grad_(), rgb.detach().double().requires_grad_())
    value = composite(density, rgb, t, ray_offsets, STEP, distortion=distortion)
    truth = reference.composite(wide[0], wide[1], t.double(), ray_offsets, STEP, 1e-4, distortion)
    for a, b in zip(value, truth, strict=True):
        assert relative_error(a, b) < 2e-4  # a ray may end one sample apart, where 1e-4 passes
    outputs, expected = [[*some[:3], *([some[4]] if distortion else [])] for some in (value, truth)]
    gradients = [torch.randn_like(output) for output in outputs]
    if samples:
        first = torch.autograd.grad(outputs, (density, rgb), gradients)
        second = torch.autograd.grad(expected, wide, [gradient.double() for gradient in gradients])
        for a, b in zip(first, second, strict=True):
            assert relative_error(a, b) < 5e-4


@pytest.mark.parametrize("size", [1, 40])
def test_visible_samples_are_those_the_composite_counts(size: int, grid: HashGrid) -> None:
    origins, directions = camera_rays(size)
    samples = march(origins, directions, shell(), STEP, seed=2)
    tables, weights = torch.randn(2, grid.size) * 2, opaque_weights(grid)
    image_rays = torch.tensor([0, size * size // 2, size * size])
    image_offsets = samples.ray_offsets[image_rays]
    features = hash_encode(samples.points, tables, image_offsets, grid)
    harmonics = spherical_harmonics(directions)
    density, rgb = field_mlp(features, harmonics, samples.ray_offsets, weights)
    whole = composite(density, rgb, samples.t, samples.ray_offsets, STEP, minimum_transmittance=0.05)
    arguments = (origins, directions, image_rays, shell(), tables, grid, weights)
    short, asked, read = visible_samples(*arguments, step=STEP, seed=2, minimum_transmittance=0.05)
    counted = torch.zeros(size * size, dtype=torch.int64)
    rays = torch.repeat_interleave(torch.arange(size * size), samples.ray_offsets.diff())
    counted.index_add_(0, rays, (whole.weights > 0).long())
    assert int((short.ray_offsets.diff() - counted).abs().sum()) <= 2  # on the bound, to rounding
    twin = reference.visible_samples(*arguments, STEP, 1024, 2, 0.05, None)
    assert int((short.ray_offsets.diff() - twin[0].diff()).abs().sum()) <= 2
    if size > 1:
        assert 0.3 < short.t.numel() / samples.t.numel() < 0.95
    places = torch.cat(
        [
            torch.arange(a, a + n)
            for a, n in zip(samples.ray_offsets[:-1], short.ray_offsets.diff(), strict=True)
        ]
    )
    assert torch.equal(short.points, samples.points[places])
    assert torch.equal(short.t, samples.t[places])
    assert torch.equal(asked, short.points)
    assert relative_error(read, features[:, places]) < 1e-6


def test_no_rays_have_no_visible_samples(grid: HashGrid) -> None:
    nothing, tables = torch.zeros(0, 3), torch.zeros(1, grid.size)
    arguments = (shell(), tables, grid, opaque_weights(grid))
    found = visible_samples(nothing, nothing, torch.tensor([0, 0]), *arguments, step=STEP)
    assert found.samples.ray_offsets.tolist() == [0]
    assert found.features.shape == (grid.levels, 0, 4)
    with pytest.raises(ValueError, match="image_rays"):
        visible_samples(nothing, nothing, torch.tensor([0, 0, 0]), *arguments, step=STEP)


def test_samples_behind_an_opaque_one_get_nothing() -> None:
    density = torch.tensor([5.0, 1e5, 5.0], requires_grad=True)
    result = composite(density, torch.ones(3, 3), torch.tensor([1.0, 1.1, 1.2]), torch.tensor([0, 3]), 0.1)
    assert float(result.weights[2]) == 0.0
    assert result.alpha.item() == pytest.approx(1.0, abs=1e-6)
    assert float(torch.autograd.grad(result.alpha.sum(), density)[0][2]) == 0.0


def test_distortion_is_the_double_sum() -> None:
    density, t = torch.rand(6) * 30, torch.linspace(1, 1.5, 6)
    result = composite(density, torch.rand(6, 3), t, torch.tensor([0, 6]), 0.1, distortion=True)
    w = result.weights
    expected = (w[:, None] * w[None] * (t[:, None] - t[None]).abs()).sum() + 0.1 / 3 * (w * w).sum()
    assert result.distortion.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("size", [1, 40])
def test_images_agree_with_the_twin(size: int, grid: HashGrid) -> None:
    origins, directions = camera_rays(size)
    table, weights = torch.randn(grid.size), opaque_weights(grid)
    value = render_rays(origins, directions, shell(), table, grid, weights, step=STEP)
    truth = reference.render_rays(origins, directions, shell(), table, grid, weights, STEP, 1024, 1e-4)
    for a, b in zip(value, truth, strict=True):
        assert relative_error(a, b) < 2e-4
    assert size == 1 or float(value.alpha.max()) > 0.3


@pytest.mark.parametrize("outlier", [0.0, 20.0])
def test_fast_images_differ_little(outlier: float, grid: HashGrid) -> None:
    origins, directions = camera_rays(40)
    table, weights = torch.randn(grid.size), opaque_weights(grid)
    table[::4099] += outlier
    exact = render_rays(origins, directions, shell(), table, grid, weights, step=STEP)
    fast = render_rays(origins, directions, shell(), table, grid, weights, step=STEP, fast=True)
    for a, b in zip(exact, fast, strict=True):
        assert float((a - b).square().mean()) < 1e-5  # 50 dB
        assert float((a - b).abs().max()) < 0.02


def test_fast_images_of_extreme_fields_are_finite(grid: HashGrid) -> None:
    origins, directions = camera_rays(12)
    weights = FieldWeights.create(torch.Generator().manual_seed(3), 4 * grid.levels)
    for scale in (0.0, 1e-6, 1e4):
        table = torch.randn(grid.size) * scale
        exact = render_rays(origins, directions, shell(), table, grid, weights, step=STEP)
        fast = render_rays(origins, directions, shell(), table, grid, weights, step=STEP, fast=True)
        assert bool(fast.color.isfinite().all())
        assert float((exact.alpha - fast.alpha).abs().max()) < 0.02


def test_no_rays_render_to_nothing(grid: HashGrid) -> None:
    nothing = torch.zeros(0, 3)
    result = render_rays(
        nothing,
        nothing,
        shell(),
        torch.zeros(grid.size),
        grid,
        FieldWeights.create(inputs=4 * grid.levels),
        step=STEP,
    )
    assert result.color.shape == (0, 3)


def test_density_at_points_agrees_with_the_twin(grid: HashGrid) -> None:
    points, image_offsets = torch.rand(5000, 3), torch.tensor([0, 0, 3000, 5000])
    tables, weights = torch.randn(3, grid.size), opaque_weights(grid)
    value = occupancy.density_at(points, tables, image_offsets, grid, weights)
    wide = weights.map(torch.Tensor.double)
    features = reference.hash_encode(points.double(), tables.double(), image_offsets, grid)
    assert relative_error(value, reference.density_mlp(features, wide)) < 2e-3


def test_cells_pack_raise_and_dilate() -> None:
    cells = 16
    values = torch.zeros(cells**3)
    indices = torch.tensor([0, 5, 5, 16 * 16 * 15 + 16 * 15 + 15])
    occupancy.raise_cells(values, indices, torch.tensor([1.0, 0.2, 3.0, 0.7]))
    assert values[5] == 3.0
    bitfield = occupancy.pack(values, 0.5)
    bits = occupancy.unpack(bitfield)
    assert bits.nonzero()[:, 0].tolist() == [0, 5, cells**3 - 1]
    assert int(occupancy.unpack(occupancy.dilate(bitfield)).sum()) == 8 + 12 + 8
    points = occupancy.cell_points(indices, cells, torch.Generator().manual_seed(1))
    assert torch.equal(occupancy.point_cells(points, cells), indices)


@pytest.mark.parametrize("cells", [8, 40, 128])
def test_bits_agree_with_the_twin(cells: int) -> None:
    values = torch.rand(cells**3)
    values[: cells**3 // 2] *= 0.99
    bitfield = occupancy.pack(values, 0.98)
    assert torch.equal(bitfield, reference.occupancy.pack(values, 0.98))
    assert torch.equal(occupancy.dilate(bitfield), reference.occupancy.dilate(bitfield, cells))
    points, weights = torch.rand(5000, 3), torch.rand(5000)
    points[:2] = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    twin = values.clone()
    occupancy.raise_at_points(values, points, weights, 0.5)
    reference.occupancy.raise_at_points(twin, points, weights, cells, 0.5)
    assert torch.equal(values, twin)
    assert bool((values > 0.99).any())


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="not a cube"):
        occupancy.raise_at_points(torch.zeros(100), torch.rand(3, 3), torch.rand(3), 0.0)
    with pytest.raises(ValueError, match="in place"):
        occupancy.raise_at_points(torch.zeros(512, 2)[:, 0], torch.rand(3, 3), torch.rand(3), 0.0)
    origins, directions = camera_rays(2)
    with pytest.raises(ValueError, match="not a cube"):
        march(origins, directions, torch.zeros(100, dtype=torch.uint8), STEP)
    with pytest.raises(ValueError, match="step"):
        march(origins, directions, shell(), 0.0)
    with pytest.raises(ValueError, match="rgb"):
        composite(torch.zeros(3), torch.zeros(2, 3), torch.zeros(3), torch.tensor([0, 3]), STEP)
