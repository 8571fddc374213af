from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from avatarkit.files.errors import AvatarkitError
from avatarkit.losses.patch import _ssim, as_patches, structure
from avatarkit.losses.perceptual import patch_loss
from avatarkit.losses.photometric import binary_entropy, l1


def test_l1_is_a_mean() -> None:
    assert float(l1(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 0.0]]))) == pytest.approx(0.75)


def test_entropy_is_largest_for_a_half_and_finite_at_the_ends() -> None:
    alpha = torch.tensor([0.0, 1.0], requires_grad=True)
    value = binary_entropy(alpha)
    value.backward()
    assert value.item() < 2e-4
    assert alpha.grad is not None and bool(torch.isfinite(alpha.grad).all())
    assert float(binary_entropy(torch.tensor([0.5]))) == pytest.approx(math.log(2))
    expected = -(0.3 * math.log(0.3) + 0.7 * math.log(0.7))
    assert float(binary_entropy(torch.tensor([0.3, 0.7]))) == pytest.approx(expected, rel=1e-5)


def test_ssim_agrees_with_scikit_image() -> None:
    random = np.random.default_rng(0)
    a = random.random((32, 32)).astype(np.float32)
    b = np.clip(a + 0.1 * random.standard_normal((32, 32)), 0, 1).astype(np.float32)
    theirs = structural_similarity(a, b, win_size=5, data_range=1.0, use_sample_covariance=False)
    ours = _ssim(torch.from_numpy(a)[None, None], torch.from_numpy(b)[None, None])
    assert float(ours) == pytest.approx(theirs, abs=2e-4)


def test_structure_tells_blur_from_the_same_and_has_a_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(2, 3, 32, 32, generator=generator)
    blurred = torch.nn.functional.avg_pool2d(truth, 3, 1, 1).requires_grad_()
    assert float(structure(truth, truth)) == pytest.approx(0, abs=1e-6)
    value = structure(blurred, truth)
    value.backward()
    assert 0.1 < value.item() < 1
    assert blurred.grad is not None and float(blurred.grad.abs().sum()) > 0
    # A step against the gradient helps.
    better = blurred.detach() - 0.05 * blurred.grad / blurred.grad.abs().max()
    assert float(structure(better, truth)) < value.item()


def test_patches_keep_rows_and_channels() -> None:
    rays = torch.arange(2 * 9 * 3.0).reshape(18, 3)
    patches = as_patches(rays, 2, 3)
    assert patches.shape == (2, 3, 3, 3)
    assert patches[1, 2, 0].tolist() == [29.0, 32.0, 35.0]


def test_the_loss_in_use_is_named() -> None:
    assert patch_loss("structure")[1] == "structure"
    assert patch_loss("auto")[1] == "structure"  # the tests' home holds no weights
    with pytest.raises(AvatarkitError, match="AVATARKIT_HOME"):
        patch_loss("lpips")
