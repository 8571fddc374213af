"""The loss on pictures of splats against its twin."""

from __future__ import annotations

import pytest
import torch

from avatarkit.ops import set_threads
from avatarkit.ops.native import module
from avatarkit.ops.reference import resemblance as twin
from avatarkit.ops.resemblance import resemblance

pytestmark = pytest.mark.skipif(module() is None, reason="native kernels are not built")


def pictures(height: int, width: int, seed: int = 0):
    random = torch.Generator().manual_seed(seed)
    splats, behind, truth = (torch.rand(height, width, c, generator=random) for c in (4, 3, 3))
    matte, share = (torch.rand(height, width, generator=random) for _ in range(2))
    share[: height // 3] = 0
    return splats, behind, truth, matte, share / share.sum().clamp(min=1e-6)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (7, 40), (33, 18), (64, 64), (97, 113)])
@pytest.mark.parametrize("weights", [(0.2, 0.1), (0.0, 0.0), (1.0, 0.5)])
def test_value_and_gradient_match_the_twin(height: int, width: int, weights: tuple[float, float]) -> None:
    given = pictures(height, width)
    value, gradient = resemblance(*given, *weights)
    exact = [t.double() for t in given]
    exact[0].requires_grad_()
    want = twin.resemblance(*exact, *weights)
    want.backward()
    assert value == pytest.approx(float(want.detach()), abs=2e-6)
    scale = float(exact[0].grad.abs().max())
    torch.testing.assert_close(gradient.double(), exact[0].grad, rtol=1e-3, atol=1e-4 * scale + 1e-12)


def test_equal_pictures_are_at_the_minimum() -> None:
    _, behind, truth, _, share = pictures(24, 24)
    splats = torch.cat([truth, torch.ones(24, 24, 1)], -1)
    value, gradient = resemblance(splats, behind, truth, torch.ones(24, 24), share)
    assert value == pytest.approx(0, abs=1e-5)
    assert float(gradient.abs().max()) < 1e-5


def test_bytes_are_floats_over_255() -> None:
    splats, behind, truth, matte, share = pictures(40, 37)
    truth, matte = ((t * 255).to(torch.uint8) for t in (truth, matte))
    value, gradient = resemblance(splats, behind, truth, matte, share)
    same, as_floats = resemblance(splats, behind, truth / 255, matte / 255, share)
    assert value == pytest.approx(same, abs=1e-6)
    torch.testing.assert_close(gradient, as_floats, rtol=1e-3, atol=1e-6)


def test_the_same_bits_for_any_number_of_threads() -> None:
    given = pictures(61, 50)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3, 70):
            set_threads(threads)
            found.append(resemblance(*given))
    finally:
        set_threads(before)
    for value, gradient in found[1:]:
        assert value == found[0][0] and torch.equal(gradient, found[0][1])
