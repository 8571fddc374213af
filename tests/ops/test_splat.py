"""Gaussian splats: image and gradients against the twin in float64, degenerate scenes, repeats."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from avatarkit.ops import native, set_threads
from avatarkit.ops.reference import splat as twin
from avatarkit.ops.splat import blend, splat

needs_native = pytest.mark.skipif(native.module() is None, reason="native kernels are not built")

Scene = tuple[Tensor, Tensor, Tensor, Tensor]


def scene(count: int, size: tuple[int, int], seed: int = 0) -> tuple[Scene, Tensor]:
    """A cloud of ``count`` anisotropic splats that reaches beyond the image, and intrinsics."""
    rng = torch.Generator().manual_seed(seed)
    mean = torch.randn(count, 3, generator=rng) * torch.tensor([0.1, 0.1, 0.06]) + torch.tensor([0, 0, 0.8])
    scale = torch.exp(torch.randn(count, 3, generator=rng) * 0.6) * 0.004
    turn = torch.linalg.qr(torch.randn(count, 3, 3, generator=rng))[0]
    factor = turn * scale[:, None]
    whole = factor @ factor.mT
    covariance = torch.stack([whole[:, i, j] for i in range(3) for j in range(i, 3)], 1)
    color = torch.rand(count, 3, generator=rng) * 1.4 - 0.2
    opacity = torch.rand(count, generator=rng) * 0.98 + 0.01
    height, width = size
    intrinsics = torch.tensor([[1.5 * width, 0, 0.45 * width], [0, 1.4 * width, 0.55 * height], [0, 0, 1]])
    return (mean, covariance, color, opacity), intrinsics


def leaves(splats: Scene, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    return [t.to(dtype).clone().requires_grad_() for t in splats]


@needs_native
@pytest.mark.parametrize(
    "count, size", [(1, (9, 13)), (400, (64, 64)), (2500, (100, 123)), (20000, (40, 48))]
)
def test_image_and_gradients_agree_with_the_twin(count: int, size: tuple[int, int]) -> None:
    splats, k = scene(count, size, seed=count)
    if count == 1:
        splats[0][0] = torch.tensor([0.01, 0.005, 0.8])
    ours, exact = leaves(splats), leaves(splats, torch.float64)
    image, truth = splat(*ours, k, size, 0.2), twin.splat(*exact, k.double(), size, 0.2)
    assert float(truth.detach()[..., 3].max()) > 0.003
    off = (image.detach().double() - truth.detach()).abs()
    # A contribution right at 1/255 may fall on either side of it; everything else agrees closely.
    assert float(off.median()) < 1e-6
    assert float((off > 2e-5).double().mean()) < 1e-3
    assert float(off.max()) < 1 / 255
    weight = torch.randn(*size, 4, generator=torch.Generator().manual_seed(1))
    (image * weight).sum().backward()
    (truth * weight.double()).sum().backward()
    for name, a, b in zip(("mean", "covariance", "color", "opacity"), ours, exact, strict=True):
        error = float((a.grad.double() - b.grad).norm() / b.grad.norm())
        assert error < 1e-3, (name, error)


def test_gradients_of_the_twin_match_finite_differences() -> None:
    splats, k = scene(4, (9, 9), seed=3)
    splats[0][:, :2] *= 0.6
    splats[0][0, 0] = 3.0  # beyond the margin, where the slope is held
    splats[1][0] *= 1e5
    splats[3][1] = 0.995  # counts as 0.99: no gradient
    inside = [t.double().requires_grad_() for t in splats]
    assert torch.autograd.gradcheck(
        lambda *a: twin.splat(*a, k.double(), (9, 9), 0.3), inside, eps=1e-8, atol=2e-3, rtol=1e-4
    )


@needs_native
def test_held_slope_and_full_opacity_have_the_twins_gradients() -> None:
    splats, k = scene(40, (24, 24), seed=4)
    splats[0][:, :2] *= 6
    splats[1].mul_(400)
    splats[3][::2] = 0.995
    ours, exact = leaves(splats), leaves(splats, torch.float64)
    splat(*ours, k, (24, 24)).square().sum().backward()
    twin.splat(*exact, k.double(), (24, 24), 0.3).square().sum().backward()
    assert float(exact[0].grad.norm()) > 0
    for a, b in zip(ours, exact, strict=True):
        assert float((a.grad.double() - b.grad).norm()) < 2e-3 * float(b.grad.norm())
    assert not ours[3].grad[::2].any()


def test_one_splat_is_the_formula() -> None:
    """Center, one deviation away, and the footprint's end where alpha falls below 1/255."""
    f, z, deviation = 100.0, 0.5, 0.01
    k = torch.tensor([[f, 0, 32.5], [0, f, 32.5], [0, 0, 1]])
    covariance = torch.tensor([[deviation**2, 0, 0, deviation**2, 0, 0]])
    image = splat(
        torch.tensor([[0, 0, z]]),
        covariance,
        torch.tensor([[0.2, 0.4, 0.8]]),
        torch.tensor([0.5]),
        k,
        (65, 65),
    )
    variance = (f / z * deviation) ** 2 + 0.3
    for x in range(65):
        expected = 0.5 * math.exp(-((x - 32) ** 2) / (2 * variance))
        expected = expected if expected >= 1 / 255 else 0.0
        assert float(image[32, x, 3]) == pytest.approx(expected, abs=2e-6)
    torch.testing.assert_close(image[32, 32], torch.tensor([0.1, 0.2, 0.4, 0.5]), atol=1e-5, rtol=0)


def test_nearer_splats_cover_farther_ones() -> None:
    k = torch.tensor([[50.0, 0, 8], [0, 50, 8], [0, 0, 1]])
    mean = torch.tensor([[0, 0, 0.6], [0, 0, 0.5], [0, 0, 0.5]])
    covariance = torch.tensor([[1.0, 0, 0, 1, 0, 1e-6]]).repeat(3, 1)
    image = splat(mean, covariance, torch.eye(3), torch.tensor([0.5, 0.5, 0.5]), k, (16, 16))
    # Green (first of the two nearer ones), then blue, then red.
    torch.testing.assert_close(image[8, 8], torch.tensor([0.125, 0.5, 0.25, 0.875]), atol=1e-3, rtol=0)


def test_nothing_is_drawn_behind_an_opaque_stack() -> None:
    k = torch.tensor([[50.0, 0, 8], [0, 50, 8], [0, 0, 1]])
    mean = torch.tensor([[0, 0, 0.4 + 0.01 * i] for i in range(6)])
    covariance = torch.tensor([[1.0, 0, 0, 1, 0, 1e-6]]).repeat(6, 1)
    color = torch.zeros(6, 3)
    color[4:, 0] = 1e6  # in front of these no more than 0.01^3 passes
    image = splat(mean, covariance, color, torch.full((6,), 0.99), k, (16, 16))
    assert float(image[8, 8, 0]) == 0


@pytest.mark.parametrize(
    "change", ["empty", "behind", "near", "aside", "invisible", "nan", "infinite", "flat"]
)
def test_what_is_not_drawn(change: str) -> None:
    (mean, covariance, color, opacity), k = scene(7, (20, 20))
    if change == "empty":
        mean, covariance, color, opacity = mean[:0], covariance[:0], color[:0], opacity[:0]
    elif change == "behind":
        mean[:, 2] *= -1
    elif change == "near":
        mean[:, 2] = 0.009
    elif change == "aside":
        mean[:, 0] = torch.linspace(5, 1e30, 7)
    elif change == "invisible":
        opacity[:] = 0.003
    elif change == "nan":
        mean[:, 1] = math.nan
    elif change == "infinite":
        covariance[:, 0] = math.inf
    else:
        covariance[:] = -1.0
    splats = leaves((mean, covariance, color, opacity))
    image = splat(*splats, k, (20, 20))
    assert not image.any()
    image.sum().backward()
    assert all(not t.grad.any() for t in splats)


def test_size_zero_and_wrong_shapes() -> None:
    splats, k = scene(5, (16, 16))
    assert splat(*splats, k, (0, 16)).shape == (0, 16, 4)
    assert splat(*splats, k, (16, 0)).shape == (16, 0, 4)
    with pytest.raises(ValueError, match="covariance"):
        splat(splats[0], splats[1][:, :5], *splats[2:], k, (16, 16))
    with pytest.raises(ValueError, match="opacity"):
        splat(*splats[:3], splats[3][:4], k, (16, 16))
    with pytest.raises(ValueError, match="negative"):
        splat(*splats, k, (-1, 16))


def test_non_contiguous_input() -> None:
    splats, k = scene(300, (40, 40))
    spread = [t.mT.contiguous().mT if t.ndim == 2 else torch.stack([t, t], 1)[:, 0] for t in splats]
    assert not spread[0].is_contiguous()
    assert torch.equal(splat(*splats, k, (40, 40)), splat(*spread, k, (40, 40)))


@needs_native
def test_repeats_give_the_same_bits() -> None:
    splats, k = scene(3000, (90, 70))
    weight = torch.randn(90, 70, 4, generator=torch.Generator().manual_seed(0))
    before = torch.get_num_threads()
    images = []
    try:
        for threads in (1, 2, 3):
            set_threads(threads)
            runs = []
            for _ in range(2):
                inputs = leaves(splats)
                image = splat(*inputs, k, (90, 70))
                (image * weight).sum().backward()
                runs.append([image.detach(), *(t.grad for t in inputs)])
            assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))
            images.append(runs[0])
    finally:
        set_threads(before)
    for other in images[1:]:
        assert torch.equal(images[0][0], other[0])  # the image does not depend on the number of threads
        for a, b in zip(images[0][1:], other[1:], strict=True):
            assert float((a - b).norm()) < 1e-5 * float(a.norm())


def test_images_that_wait_for_their_gradients_do_not_disturb_each_other() -> None:
    first, k = scene(200, (32, 32), seed=1)
    second, _ = scene(300, (32, 32), seed=2)
    alone = leaves(first)
    splat(*alone, k, (32, 32)).square().sum().backward()
    a, b = leaves(first), leaves(second)
    (splat(*a, k, (32, 32)).square().sum() + splat(*b, k, (32, 32)).square().sum()).backward()
    assert all(torch.equal(x.grad, y.grad) for x, y in zip(alone, a, strict=True))


def residuals(kind: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    rng = torch.Generator().manual_seed(5)
    base, coefficients = torch.randn(5, 2101, generator=rng), torch.randn(4, generator=rng)
    coefficients[2] = 0
    shapes = torch.randn(4, 3, 2101, generator=rng)
    if kind == torch.int8:
        return (
            base,
            (shapes * 40).clamp(-127, 127).to(kind),
            coefficients,
            torch.rand(4, 3, generator=rng) / 40,
        )
    return base, shapes.to(kind), coefficients, None


@needs_native
@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.int8])
def test_blend_agrees_with_the_twin(kind: torch.dtype) -> None:
    base, shapes, coefficients, scale = residuals(kind)
    leaf = kind == torch.float32
    ours = [base.clone().requires_grad_(), shapes.clone(), coefficients.clone().requires_grad_()]
    exact = [
        base.double().requires_grad_(),
        shapes.double() if leaf else shapes,
        coefficients.double().requires_grad_(),
    ]
    if leaf:
        ours[1].requires_grad_(), exact[1].requires_grad_()
    got = blend(*ours, scale)
    want = twin.blend(*exact, None if scale is None else scale.double())
    torch.testing.assert_close(got.double(), want, atol=1e-5, rtol=1e-5)
    assert torch.equal(got[3:], base[3:])
    weight = torch.randn(5, 2101, generator=torch.Generator().manual_seed(6))
    (got * weight).sum().backward()
    (want * weight.double()).sum().backward()
    for a, b in zip(ours, exact, strict=True):
        if a.requires_grad:
            torch.testing.assert_close(a.grad.double(), b.grad, atol=1e-3, rtol=1e-5)


def test_blend_refuses_what_does_not_fit() -> None:
    base, shapes, coefficients, _ = residuals(torch.int8)
    with pytest.raises(ValueError, match="scale"):
        blend(base, shapes, coefficients)
    with pytest.raises(ValueError, match="channels"):
        blend(base[:2], shapes.float(), coefficients)
    with pytest.raises(ValueError, match="residual"):
        blend(base, shapes[:3].float(), coefficients)
