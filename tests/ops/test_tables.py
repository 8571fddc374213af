from __future__ import annotations

import pytest
import torch

from avatarkit.ops import reference
from avatarkit.ops.encode import HashGrid
from avatarkit.ops.tables import AdamOptions, BlendTables, blend, pack_bases, unpack_bases
from tests.ops.cases import relative_error

pytestmark = pytest.mark.usefixtures("kernels")
GRID = HashGrid(log2_size=12)
# With the usual eps of 1e-15 an entry whose gradient cancels to rounding still takes a full step, whose sign differs
# between float32 and float64; a larger eps makes the comparison well-posed.
OPTIONS = AdamOptions(lr=1e-2, lr_bases=5e-3, eps=1e-3, l2=1e-2)


def drawn(count: int, prefix: int, size: int = GRID.size) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(size) * 0.1, torch.randn(count, prefix) * 0.1


@pytest.mark.parametrize(
    ("count", "prefix", "images"), [(1, 5, 1), (7, GRID.size, 3), (52, 12_345, 2), (4, 100, 0)]
)
def test_blend_and_its_gradients_agree_with_the_twin(count: int, prefix: int, images: int) -> None:
    base, bases = drawn(count, prefix)
    coefficients = torch.rand(images, count) * (torch.rand(images, count) < 0.6)
    leaves = [tensor.requires_grad_() for tensor in (base, bases, coefficients)]
    wide = [tensor.detach().double().requires_grad_() for tensor in leaves]
    value, truth = blend(*leaves), reference.blend(*wide)
    assert relative_error(value, truth) < 1e-6
    gradient = torch.randn_like(value)
    for a, b in zip(
        torch.autograd.grad(value, leaves, gradient),
        torch.autograd.grad(truth, wide, gradient.double()),
        strict=True,
    ):
        assert relative_error(a, b) < 1e-5


def test_packing_is_undone_exactly() -> None:
    bases = torch.randn(5, 2500)
    packed = pack_bases(bases)
    assert packed.shape == (3, 5, 1024)
    assert torch.equal(unpack_bases(packed, 2500), bases)


def test_steps_of_adam_agree_with_the_twin_and_leave_unused_bases_alone() -> None:
    base, bases = drawn(7, 12_345)
    tables = BlendTables.from_canonical(base, bases)
    truth = BlendTables.from_canonical(base.double(), bases.double())
    coefficients = torch.rand(3, 7)
    coefficients[:, 2], coefficients[1, 3] = 0.0, 0.0
    for step in range(4):
        following = torch.rand(3 - step % 2, 7)
        following[:, step] = 0.0
        gradients = torch.randn(coefficients.shape[0], GRID.size)
        unused = [k for k in range(7) if not bool(coefficients[:, k].any())]
        before = tables.bases[:, unused].clone()
        # The twin begins each step from the same moments: what 16 bits hold of them depends on the last bit.
        truth.bases_moments = tables.bases_moments.clone()
        value = tables.adam_blend(gradients, coefficients, following, OPTIONS)
        expected = truth.adam_blend(gradients.double(), coefficients.double(), following.double(), OPTIONS)
        assert unused
        assert torch.equal(tables.bases[:, unused], before)
        assert relative_error(value, expected) < 1e-5
        for name in ("base", "base_moments", "bases"):
            assert relative_error(getattr(tables, name), getattr(truth, name)) < 1e-5
        ours, theirs = tables.bases_moments.float(), truth.bases_moments.float()
        assert float((ours != theirs).float().mean()) < 1e-3  # on the edge between two roundings
        assert torch.allclose(ours, theirs, rtol=2**-7, atol=1e-7)
        coefficients = following
    assert relative_error(tables.blend(coefficients), value) < 1e-6


def test_moments_of_bases_are_rounded_to_nearest_even() -> None:
    base, bases = torch.zeros(GRID.size), torch.zeros(1, 16)
    tables = BlendTables.from_canonical(base, bases)
    gradients = torch.zeros(1, GRID.size)
    gradients[0, :4] = torch.tensor([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-12, -1 - 2**-8])
    tables.adam_blend(gradients, torch.ones(1, 1), torch.ones(1, 1), AdamOptions(betas=(0.0, 0.0)))
    assert tables.bases_moments.dtype == torch.bfloat16
    assert tables.bases_moments[0, 0, 0, :5].tolist() == [1.0, 1 + 2**-6, 1 + 2**-7, -1.0, 0.0]


def test_the_base_follows_torch_adam() -> None:
    base, bases = drawn(1, 8)
    tables = BlendTables.from_canonical(base, bases)
    parameter = base.clone().requires_grad_()
    optimizer = torch.optim.Adam([parameter], lr=1e-2, betas=(0.9, 0.99), eps=1e-8)
    nothing = torch.zeros(2, 1)
    for _ in range(3):
        gradients = torch.randn(2, GRID.size)
        parameter.grad = gradients.sum(0)
        optimizer.step()
        tables.adam_blend(gradients, nothing, nothing, AdamOptions(lr=1e-2, eps=1e-8))
    assert relative_error(tables.base, parameter) < 1e-5


def test_the_same_bits_for_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    from avatarkit.ops import native

    base, bases = drawn(6, 9000)
    gradients, coefficients = torch.randn(2, GRID.size), torch.rand(2, 6)
    results = []
    for threads in (1, 2):
        native.set_threads(threads)
        tables = BlendTables.from_canonical(base, bases)
        results.append((tables.adam_blend(gradients, coefficients, coefficients, OPTIONS), tables.bases))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_wrong_shapes_are_refused() -> None:
    base, bases = drawn(3, 100)
    with pytest.raises(ValueError, match="bases"):
        blend(base, bases, torch.zeros(1, 4))
    with pytest.raises(ValueError, match="only 50"):
        blend(base[:50], bases, torch.zeros(1, 3))
    tables = BlendTables.from_canonical(base, bases)
    with pytest.raises(ValueError, match="gradients"):
        tables.adam_blend(torch.zeros(2, GRID.size), torch.zeros(1, 3), torch.zeros(1, 3), OPTIONS)
