"""The shared parts: network, hierarchy with and without skipping, diffusion, vertices, occupancy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from avatarkit.data.rays import SceneBox
from avatarkit.files.errors import AvatarkitError
from avatarkit.files.track import Track
from avatarkit.heads.arkit import INDEX
from avatarkit.losses.photometric import bimodal
from avatarkit.methods.radiance.diffusion import Diffusion, queried
from avatarkit.methods.radiance.hierarchy import render_hierarchy
from avatarkit.methods.radiance.network import DENSITY_SCALE, RadianceNetwork
from avatarkit.methods.radiance.occupancy import CELLS, Occupancy
from avatarkit.methods.radiance.vertices import HeadVertices
from avatarkit.ops.occupancy import point_cells

DOUBLE = torch.float64
BOX = SceneBox((0.0, -0.02, -0.08), 0.4)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_the_network_is_the_one_of_the_papers() -> None:
    network = RadianceNetwork(9, 5, 4, 3, depth=8, width=12).double()
    positions, directions = torch.randn(6, 9, dtype=DOUBLE), torch.randn(6, 5, dtype=DOUBLE)
    code, late = torch.randn(4, dtype=DOUBLE), torch.randn(3, dtype=DOUBLE)
    density, rgb = network(positions, directions, code, late)
    part = dict(network.named_parameters())
    for n in range(6):
        whole = torch.cat([positions[n], code])
        x = positions[n]
        for i in range(8):
            if i == 0:
                weight = torch.cat([part["layer0.weight"], part["code0.weight"]], 1)
                x = whole
            elif i == 5:  # the input enters again
                weight = torch.cat([part["layer5.weight"], part["again.weight"], part["code1.weight"]], 1)
                x = torch.cat([x, whole])
            else:
                weight = part[f"layer{i}.weight"]
            x = (weight @ x + part[f"layer{i}.bias"]).clamp(min=0)
        raw = part["density.weight"] @ x + part["density.bias"]
        assert density[n].item() == pytest.approx(DENSITY_SCALE * F.softplus(raw.detach() - 1).item())
        geometry = part["geometry.weight"] @ x + part["geometry.bias"]
        weight = torch.cat([part["side.weight"], part["turned.weight"], part["late.weight"]], 1)
        side = (weight @ torch.cat([geometry, directions[n], late]) + part["side.bias"]).clamp(min=0)
        color = 1 / (1 + torch.exp(-(part["color.weight"] @ side + part["color.bias"])))
        assert torch.allclose(rgb[n], color)
    assert torch.equal(network.densities(positions, code), density)
    assert RadianceNetwork(63, 27, 84).operations() == pytest.approx(0.59e6, rel=0.01)

    def both(p: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found: tuple[torch.Tensor, torch.Tensor] = network(p, directions, c, late)
        return found

    assert torch.autograd.gradcheck(both, (positions.requires_grad_(), code.requires_grad_()))


def ball(points: torch.Tensor, directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Opaque, red in front."""
    inside = (points - 0.5).norm(dim=1) < 0.3
    return 400.0 * inside.float(), torch.stack([points[:, 2], 1 - points[:, 2], 0 * points[:, 2]], 1)


def test_skipping_leaves_out_what_is_empty_or_hidden_and_sees_the_same() -> None:
    side = torch.linspace(0.05, 0.95, 24)
    y, x = torch.meshgrid(side, side, indexing="ij")
    origins = torch.stack([x.reshape(-1), y.reshape(-1), torch.full((24 * 24,), 2.0)], 1)
    directions = torch.tensor([0.0, 0.0, -1.0]).expand(24 * 24, 3)
    centers = (torch.arange(CELLS) + 0.5) / CELLS
    z, yy, xx = torch.meshgrid(centers, centers, centers, indexing="ij")
    near = (torch.stack([xx, yy, z], -1).reshape(-1, 3) - 0.5).norm(dim=1) < 0.33
    everything = render_hierarchy((ball, ball), origins, directions, (64, 64), None)
    skipping = render_hierarchy((ball, ball), origins, directions, (64, 64), Occupancy(near))
    assert everything.samples == 24 * 24 * (64 + 128)
    assert skipping.samples < everything.samples / 4
    assert torch.allclose(everything.fine.color, skipping.fine.color, atol=2e-3)
    assert torch.allclose(everything.fine.alpha, skipping.fine.alpha, atol=2e-3)
    hit = (origins[:, :2] - 0.5).norm(dim=1) < 0.28
    surface = 0.5 + (0.09 - (origins[hit, :2] - 0.5).square().sum(1)).sqrt()
    assert torch.allclose(2 - everything.fine.depth[hit], surface, atol=0.02)
    alone = render_hierarchy((ball, ball), origins, directions, (64, 0), None)
    assert alone.coarse is None and alone.samples == 24 * 24 * 64
    generator = torch.Generator().manual_seed(3)
    watched = render_hierarchy((ball, ball), origins, directions, (8, 8), None, generator)
    assert len(watched.points) == len(watched.density) == 24 * 24 * 16 and not watched.density.requires_grad


def test_cells_are_given_up_and_come_back() -> None:
    allowed = torch.zeros(CELLS**3, dtype=torch.bool)
    points = torch.tensor([[0.3, 0.4, 0.5], [0.8, 0.4, 0.5]])
    allowed[point_cells(points, CELLS)] = True
    grid = Occupancy(allowed)
    assert grid.inside(points).all() and not grid.inside(1 - points).any()
    assert grid.everywhere(3) and grid.everywhere(200) and not grid.everywhere(201)
    for step in range(200):
        grid.note(points, torch.tensor([100.0, 0.0]))
        grid.settle(step)
    assert grid.inside(points).tolist() == [True, False] and grid.inside(points, everywhere=True).all()
    grid.note(points, torch.tensor([0.0, 100.0]))
    grid.settle(201)
    assert grid.inside(points).all()
    grid.final(torch.tensor([0.0, 50.0]))
    assert grid.inside(points).tolist() == [False, True]


def test_vertices_move_as_the_shapes_say(person: tuple[Track, Path]) -> None:
    track = person[0]
    vertices = HeadVertices.of(track, BOX)
    inside = ((BOX.to_unit(track.neutral) > 0) & (BOX.to_unit(track.neutral) < 1)).all(1)
    assert len(vertices) == inside.sum()
    expression = np.zeros(52, np.float32)
    expression[INDEX["jawOpen"]] = 0.5
    moved = vertices.neutral + vertices.moves(torch.from_numpy(expression))
    truth = BOX.to_unit(track.neutral[inside] + 0.5 * track.shapes[INDEX["jawOpen"]][inside])
    assert np.abs(moved.numpy() - truth).max() < 1e-4
    assert not vertices.moves(torch.zeros(52)).any()
    for broken in (replace(track, shapes=None), replace(track, neutral=np.zeros((468, 3), np.float32))):
        with pytest.raises(AvatarkitError, match="no head mesh"):
            HeadVertices.of(broken, BOX)


def test_codes_spread_through_the_volume() -> None:
    network = Diffusion(5, 24, volume=4)
    places, codes = torch.rand(300, 3) * 0.3 + 0.3, torch.randn(300, 5, requires_grad=True)
    found = network(codes, places)
    assert [features.shape[1] for features, _ in found.levels] == [8, 16, 32, 32]
    near, far = found.at(places + 0.01), found.at(torch.tensor([[0.99, 0.99, 0.99]]))
    assert near.shape == (300, queried(4)) and queried(16) == 352 and not far[:, :24].any()
    near.square().sum().backward()
    assert codes.grad is not None and bool((codes.grad != 0).any(1).all())
    # Every vertex of a cell counts the same, whatever their order.
    order = torch.randperm(300)
    again = network(codes[order], places[order])
    assert torch.allclose(again.at(places + 0.01), near, atol=1e-4)


def test_bimodal_is_lowest_at_zero_and_one() -> None:
    w = torch.tensor([0.0, 0.3, 1.0], dtype=DOUBLE, requires_grad=True)
    wanted = [-np.log(np.exp(-abs(v)) + np.exp(-abs(1 - v))) for v in (0.0, 0.3, 1.0)]
    assert bimodal(w).item() == pytest.approx(np.mean(wanted))
    assert wanted[0] == wanted[2] < wanted[1]
    assert torch.autograd.gradcheck(bimodal, (torch.rand(5, dtype=DOUBLE, requires_grad=True),))
