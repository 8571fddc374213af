"""Rigged Gaussians before a camera against their twin in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from avatarkit.ops import native, set_threads
from avatarkit.ops.anchors import CHANNELS, carry
from avatarkit.ops.figure import Figure
from avatarkit.ops.reference import figure as twin
from avatarkit.ops.splat import splat

pytestmark = pytest.mark.skipif(native.module() is None, reason="native kernels are not built")


def figure(count: int, seed: int = 0) -> Figure:
    """Small Gaussians of all colors around a point before the camera, on five bones that hardly differ."""
    random = torch.Generator().manual_seed(seed)
    values = torch.randn(CHANNELS, count, generator=random)
    values[:3] *= 0.1
    values[11:] = 0.5 * values[11:] - 5
    bones = torch.eye(3, 4).reshape(12, 1) + 0.05 * torch.randn(12, 5, generator=random)
    bones[11] += 0.8
    bone = torch.randint(5, (count,), generator=random, dtype=torch.int32)
    return Figure(values, bones, bone, torch.rand(count, generator=random))


def pinhole(size: tuple[int, int]) -> tuple[float, float, float, float]:
    return 1.5 * size[1], 1.4 * size[1], 0.45 * size[1], 0.55 * size[0]


def exact(f: Figure) -> Figure:
    return Figure(f.gaussians.double(), f.bones.double(), f.bone, f.visibility.double())


@pytest.mark.parametrize(("count", "size"), [(1, (9, 13)), (37, (24, 24)), (2500, (100, 123))])
def test_picture_and_gradients_agree_with_the_twin(count: int, size: tuple[int, int]) -> None:
    ours = figure(count)
    truth = exact(ours)
    if count == 1:
        ours.gaussians[:3] = 0
        ours.gaussians[3], ours.visibility[:] = 2, 1
        truth = exact(ours)
    exposure = ours.exposed(pinhole(size), size, 0.2)
    want = twin.image(truth, pinhole(size), size, 0.2)
    assert float(want[..., 3].max()) > 0.1
    off = (exposure.image.double() - want).abs()
    assert float(off.median()) < 1e-6
    assert float((off > 2e-5).double().mean()) < 1e-3
    slope = torch.randn(*size, 4, generator=torch.Generator().manual_seed(1))
    share = torch.rand(2, count, generator=torch.Generator().manual_seed(2))
    gradient, wrench = exposure.gradients(slope, share)
    by_gaussians, by_bodies = twin.gradients(truth, pinhole(size), 0.2, slope.double(), share.double())
    for channels in (slice(0, 3), slice(3, 4), slice(4, 7), slice(7, 11), slice(11, 14)):
        a, b = gradient[channels].double(), by_gaussians[channels]
        assert float((a - b).norm()) < 2e-3 * float(b.norm()), channels
    assert float((wrench.double() - by_bodies).norm()) < 2e-3 * float(by_bodies.norm())


def test_it_is_splat_after_carry() -> None:
    f, size = figure(700), (60, 51)
    fx, fy, cx, cy = pinhole(size)
    k = torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    mean, covariance, color, opacity = carry(f.gaussians, f.bones, f.bone, f.visibility)
    want = splat(mean, covariance, color.clamp(0, 1), opacity, k, size)
    torch.testing.assert_close(f.exposed(pinhole(size), size).image, want, atol=2e-5, rtol=0)
    behind = (torch.rand(*size, 3, generator=torch.Generator().manual_seed(0)) * 255).to(torch.uint8)
    off = f.over(behind, pinhole(size)).int() - twin.over(exact(f), behind, pinhole(size), 0.3).int()
    assert int(off.abs().max()) <= 1


def test_nothing_to_draw_has_no_gradient() -> None:
    f = figure(20)
    f.gaussians[3] = -30
    f.gaussians[:3, 0] = torch.nan
    exposure = f.exposed(pinhole((16, 16)), (16, 16))
    gradient, wrench = exposure.gradients(torch.ones(16, 16, 4), torch.ones(2, 20))
    assert not exposure.image.any() and not gradient[:, 1:].any() and not wrench.any()
    assert figure(0).exposed(pinhole((16, 16)), (16, 16)).image.shape == (16, 16, 4)


def test_repeats_give_the_same_bits() -> None:
    f, size = figure(3000), (90, 70)
    slope = torch.randn(90, 70, 4, generator=torch.Generator().manual_seed(0))
    before, found = torch.get_num_threads(), list[tuple[Tensor, ...]]()
    try:
        for threads in (1, 1, 2, 2):
            set_threads(threads)
            exposure = f.exposed(pinhole(size), size)
            found.append((exposure.image, *exposure.gradients(slope, torch.ones(1, 3000))))
    finally:
        set_threads(before)
    for i in (0, 2):
        assert all(torch.equal(a, b) for a, b in zip(found[i], found[i + 1], strict=True))
    assert torch.equal(found[0][0], found[2][0])
    assert float((found[0][1] - found[2][1]).norm()) < 1e-5 * float(found[0][1].norm())


def test_refuses_what_does_not_fit() -> None:
    f = figure(10)
    with pytest.raises(ValueError, match="visibility"):
        Figure(f.gaussians, f.bones, f.bone, f.visibility[:9])
    exposure = f.exposed(pinhole((8, 8)), (8, 8))
    with pytest.raises(ValueError, match="slope"):
        exposure.gradients(torch.zeros(8, 9, 4), torch.ones(1, 10))
    with pytest.raises(ValueError, match="share"):
        exposure.gradients(torch.zeros(8, 8, 4), torch.ones(1, 9))
