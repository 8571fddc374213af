"""Carried Gaussians and their training step against their twins."""

from __future__ import annotations

import pytest
import torch

from avatarkit.ops.anchors import CHANNELS, LearnOptions, carry, deform, learn, reveal, settle
from avatarkit.ops.native import module
from avatarkit.ops.reference import anchors as twin

pytestmark = pytest.mark.skipif(module() is None, reason="native kernels are not built")


def gaussians(count: int, bones: int = 5, seed: int = 0):
    random = torch.Generator().manual_seed(seed)
    values = torch.randn(CHANNELS, count, generator=random)
    maps = torch.randn(12, bones, generator=random)
    bone = torch.randint(bones, (count,), generator=random, dtype=torch.int32)
    return values, maps, bone, torch.rand(count, generator=random)


@pytest.mark.parametrize("count", [0, 1, 16, 37, 1000])
def test_carry_and_its_gradient_match_the_twin(count: int) -> None:
    values, maps, bone, visibility = gaussians(count)
    native = values.clone().requires_grad_()
    exact = values.double().requires_grad_()
    got = carry(native, maps, bone, visibility)
    want = twin.carry(exact, maps.double(), bone, visibility.double())
    random = torch.Generator().manual_seed(1)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=2e-4, atol=2e-4)
        weight = torch.randn(a.shape, generator=random)
        (a * weight).sum().backward(retain_graph=True)
        (b * weight.double()).sum().backward(retain_graph=True)
    torch.testing.assert_close(native.grad.double(), exact.grad, rtol=2e-3, atol=5e-4)


def test_carry_takes_any_stride_and_refuses_wrong_shapes() -> None:
    values, maps, bone, visibility = gaussians(40)
    got = carry(values.T.contiguous().T, maps, bone, visibility)
    for a, b in zip(got, carry(values, maps, bone, visibility), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(ValueError, match="bones"):
        carry(values, maps[:9], bone, visibility)


@pytest.mark.parametrize("listed", [0, 1, 300])
def test_reveal_matches_its_twin(listed: int) -> None:
    random = torch.Generator().manual_seed(4)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    values, bones = normal(CHANNELS, 400)[:3] * 0.2, normal(12, 5) * 0.2
    bones[11] += 2  # before the camera
    bone, behind = (torch.randint(n, (400,), generator=random, dtype=torch.int32) for n in (5, 400))
    behind = torch.randperm(400, generator=random)[:listed].int()
    hole = torch.randint(3, (listed,), generator=random, dtype=torch.int32)
    axes = torch.linalg.qr(normal(3, 2, 2))[0].reshape(3, 4)
    frames = torch.cat([0.1 * normal(3, 2), axes, torch.full((3, 1), 0.02)], 1)
    places = torch.cat([normal(3, 2, 9).sort(-1).values * 0.2, torch.zeros(3, 2, 2)], -1)
    places[..., 9:] = places[..., 8:9]  # shorter borders repeat their last point
    across = torch.stack([normal(3, 11) * 0.05 - 0.1, normal(3, 11) * 0.05 + 0.1], 1)
    across[..., 9:] = across[..., 8:9]
    borders = torch.stack([places, across], 2)
    exact = (values, bones, bone, behind, hole, frames, borders)
    want = twin.reveal(*exact)
    got = reveal(*(t.float() if t.is_floating_point() else t for t in exact))
    torch.testing.assert_close(got.double(), want, rtol=1e-3, atol=2e-4)
    assert (got == 1).sum() >= 400 - listed
    if listed == 300:
        assert (got < 0.1).any() and (got[behind.long()] > 0.9).any()
    with pytest.raises(ValueError, match="borders"):
        reveal(*(t.float() if t.is_floating_point() else t for t in (*exact[:6], borders[:2])))


def test_positions_learn_along_their_gradient() -> None:
    """A first step leads along the gradient of a position, as long as the rate; what is next to none makes none."""
    gradient = torch.zeros(CHANNELS, 2)
    gradient[:3, 0], gradient[:3, 1] = torch.tensor([3.0, 4.0, 0.001]), 1e-9
    base = torch.zeros(CHANNELS, 2)
    options = LearnOptions((0.1,) * CHANNELS, eps=(1e-4,) * CHANNELS)
    moves = torch.zeros(1, 7, 2)
    assert learn(base, torch.zeros(2, CHANNELS, 2), gradient, None, moves, torch.ones(1), 1, options) is None
    torch.testing.assert_close(base[:3, 0], torch.tensor([-0.06, -0.08, -0.00002]), rtol=1e-3, atol=1e-7)
    assert float(base[:3, 1].abs().max()) < 1e-5
    torch.testing.assert_close(moves[0, :3, 0], -base[:3, 0], rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("count", [1, 37, 700])
def test_learn_matches_its_twin(count: int) -> None:
    random = torch.Generator().manual_seed(2)
    options = LearnOptions(tuple(0.01 * (1 + c) for c in range(CHANNELS)), 0.7)
    native = [torch.randn(CHANNELS, count, generator=random), torch.zeros(2, CHANNELS, count)]
    exact = [t.double() for t in native]
    moves = torch.zeros(3, 7, count)
    same = moves.double()
    for step in (1, 2, 3):
        gradient = torch.randn(CHANNELS, count, generator=random)
        blend, weights = torch.randn(7, count, generator=random), torch.randn(step, generator=random)
        got = learn(*native, gradient, blend, moves[:step], weights, step, options)
        want = twin.learn(
            *exact, gradient.double(), blend.double(), same[:step], weights.double(), step, options
        )
        torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=1e-4)
    for a, b in zip((*native, moves), (*exact, same), strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("count", "bases"), [(1, 1), (47, 9), (1100, 3), (10, 0)])
@pytest.mark.parametrize(("steps", "frames"), [(0, 8), (8, 8), (3, 0), (2, 5)])
def test_settle_matches_its_twin(count: int, bases: int, steps: int, frames: int) -> None:
    random = torch.Generator().manual_seed(5)
    residual, moves = (
        torch.randn(bases, 7, count, generator=random),
        torch.randn(steps, 7, count, generator=random),
    )
    now, next_ = torch.randn(steps, bases, generator=random), torch.randn(frames, bases, generator=random)
    exact = residual.double()
    got = settle(residual, now, moves, next_)
    want = twin.settle(exact, now.double(), moves.double(), next_.double())
    torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(residual.double(), exact, rtol=1e-4, atol=1e-4)


def test_moves_count_before_they_are_settled() -> None:
    """What ``learn`` returns is the blend of residuals to which the moves were applied at once."""
    random = torch.Generator().manual_seed(6)
    base, residual = torch.randn(CHANNELS, 20, generator=random), torch.randn(4, 7, 20, generator=random)
    frames = torch.randn(3, 4, generator=random)
    moments, moves = torch.zeros(2, CHANNELS, 20), torch.zeros(2, 7, 20)
    blends = settle(residual, frames[:0], moves[:0], frames)
    options = LearnOptions((0.01,) * CHANNELS)
    for step in (1, 2):
        gradient = torch.randn(CHANNELS, 20, generator=random)
        weights = frames[:step] @ frames[step]
        got = learn(base, moments, gradient, blends[step], moves[:step], weights, step, options)
    settle(residual, frames[:2], moves, frames[:0])
    want = base.clone()
    want[:7] += torch.einsum("k,kcn->cn", frames[2], residual)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 50, 333])
def test_deform_matches_its_twin_and_carries_corners(count: int) -> None:
    random = torch.Generator().manual_seed(3)
    rest, posed = torch.randn(2, 40, 3, generator=random, dtype=torch.float64)
    triangles = torch.stack(
        [torch.randperm(40, generator=random)[:3] for _ in range(count)] or [torch.zeros(3)]
    )
    triangles = triangles[:count].int()
    a, b, c = (rest[triangles[:, i].long()].T for i in range(3))
    normal = torch.linalg.cross(b - a, c - a, dim=0)
    frame = torch.stack([b - a, c - a, normal / normal.norm(dim=0)], 1)
    inverse = torch.linalg.inv(frame.permute(2, 0, 1)).permute(1, 2, 0)
    pose = torch.randn(3, 4, generator=random, dtype=torch.float64)
    want = twin.deform(posed, triangles, inverse, a, pose)
    bones = torch.full((12, count + 5), 7.0)
    deform(posed.float(), triangles, inverse.float().contiguous(), a.float(), pose.float(), bones, 3)
    scale = want.abs().amax(0, keepdim=True) if count else 1.0
    torch.testing.assert_close(bones[:, 3 : count + 3].double() / scale, want / scale, rtol=1e-3, atol=1e-4)
    assert (bones[:, :3] == 7).all() and (bones[:, count + 3 :] == 7).all()
    maps = want.reshape(3, 4, -1)
    for corner in range(3):
        moved = torch.einsum("ijf,jf->if", maps[:, :3], rest[triangles[:, corner].long()].T) + maps[:, 3]
        where = posed[triangles[:, corner].long()] @ pose[:, :3].T + pose[:, 3]
        torch.testing.assert_close(moved.T, where)
