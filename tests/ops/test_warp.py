"""The displacement volume between anchors, points taken back through it, and pictures through both."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from avatarkit.ops import reference
from avatarkit.ops.encode import HashGrid, hash_encode
from avatarkit.ops.march import march
from avatarkit.ops.render import render_rays
from avatarkit.ops.visible import visible_samples
from avatarkit.ops.warp import Warp, WarpGrid, warp_points, warp_volume
from tests.ops.cases import STEP, camera_rays, opaque_weights, random_offsets, relative_error, shell

pytestmark = pytest.mark.usefixtures("kernels")
GRID = WarpGrid((0.2, 0.25, 0.3), 0.02, (31, 24, 17))
SOFTENING, STILL = 2e-5, 1e3


def anchors(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(count, 3) * 0.5 + 0.25, torch.randn(count, 3) * 0.03


def low(dtype: torch.dtype) -> torch.Tensor:
    return torch.tensor(GRID.low, dtype=dtype)


@pytest.mark.parametrize("count", [0, 1, 7, 700])
def test_volumes_agree_with_the_twin(count: int) -> None:
    places, moves = anchors(count)
    value = warp_volume(places, moves, GRID, SOFTENING, STILL)
    truth = reference.warp_volume(
        places.double(), moves.double(), low(torch.float64), GRID.spacing, GRID.nodes, SOFTENING, STILL
    )
    assert value.shape == (17, 24, 31, 4)
    assert relative_error(value.double(), truth) < 1e-5
    assert not value[..., 3].any()


def test_an_anchor_carries_the_space_around_it_and_nothing_far_away() -> None:
    places, moves = torch.tensor([[0.4, 0.45, 0.46]]), torch.tensor([[0.01, -0.02, 0.03]])
    volume = warp_volume(places, moves, GRID, 1e-6, 1e4)
    assert torch.allclose(volume[8, 10, 10, :3], moves[0], rtol=1e-3)  # the node at the anchor
    assert volume[:, :, -1].abs().max() < 2e-3 * 0.03 * 100  # 1e4 against 1 / .4^4 = 39
    again = warp_volume(places, moves, GRID, 1e-6, 1e4)
    assert torch.equal(volume, again)


def test_points_agree_with_the_twin_and_stay_in_the_cube() -> None:
    volumes = torch.stack([warp_volume(*anchors(90), GRID, SOFTENING, STILL) for _ in range(3)])
    points = torch.rand(5000, 3)
    points[:3] = torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.2, 0.25, 0.3]])
    offsets = random_offsets(3, 5000)
    value = warp_points(points, offsets, Warp(volumes, GRID))
    truth = reference.warp_points(
        points.double(), volumes.double(), offsets, low(torch.float64), GRID.spacing
    )
    assert float((value - truth).abs().max()) < 1e-6
    assert float((value - points).abs().max()) > 0.01
    assert float(value.min()) >= 0 and float(value.max()) <= 1
    slanted = torch.rand(3, 5000).T
    assert torch.equal(
        warp_points(slanted, offsets, Warp(volumes, GRID)),
        warp_points(slanted.contiguous(), offsets, Warp(volumes, GRID)),
    )
    assert warp_points(points[:0], torch.zeros(4, dtype=torch.int64), Warp(volumes, GRID)).shape == (0, 3)


def test_a_picture_through_a_warp_agrees_with_the_twin() -> None:
    grid, weights = HashGrid(), opaque_weights()
    table = torch.randn(grid.size) * 0.3
    origins, directions = camera_rays(32)
    warp = Warp(warp_volume(*anchors(200), GRID, SOFTENING, STILL)[None], GRID)
    rays = (origins, directions, shell(), table, grid, weights)
    value = render_rays(*rays, step=STEP, warp=warp)
    truth = reference.render_rays(*rays, STEP, 1024, 1e-4, warp)
    assert relative_error(value.color, truth[0]) < 1e-4
    assert relative_error(value.alpha, truth[1]) < 1e-4
    unmoved = render_rays(*rays, step=STEP)
    assert float((value.color - unmoved.color).abs().mean()) > 1e-3


def test_what_is_visible_is_decided_behind_the_warp() -> None:
    grid, weights = HashGrid(), opaque_weights()
    origins, directions = camera_rays(32)
    tables = torch.randn(2, grid.size) * 2
    volumes = [warp_volume(*anchors(200), GRID, SOFTENING, STILL) for _ in tables]
    warp, image_rays = Warp(torch.stack(volumes), GRID), torch.tensor([0, 300, 32 * 32])
    arguments = (origins, directions, image_rays, shell(), tables, grid, weights)
    value = visible_samples(*arguments, step=STEP, minimum_transmittance=0.05, warp=warp)
    truth = reference.visible_samples(*arguments, STEP, 1024, None, 0.05, warp)
    different = value.samples.ray_offsets.diff() != truth[0].diff()
    assert int(different.sum()) <= 2  # on the bound, to rounding
    ends = value.samples.ray_offsets[image_rays]
    # The samples stay where they are seen; the field is asked where they come from.
    assert torch.equal(value.origins, warp_points(value.samples.points, ends, warp))
    assert relative_error(value.features, hash_encode(value.origins, tables, ends, grid)) < 1e-6
    assert value.samples.t.numel() < march(origins, directions, shell(), STEP).t.numel()


def test_senseless_grids_are_refused() -> None:
    for wrong in ({"spacing": 0.0}, {"nodes": (1, 5, 5)}):
        with pytest.raises(ValueError, match="not a displacement volume"):
            replace(GRID, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="positive"):
        warp_volume(*anchors(3), GRID, 0.0, STILL)
    with pytest.raises(ValueError, match="image_offsets"):
        warp_points(
            torch.rand(4, 3), torch.tensor([0, 4]), Warp(torch.zeros(2, *reversed(GRID.nodes), 4), GRID)
        )
