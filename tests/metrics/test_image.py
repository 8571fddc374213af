"""Image metrics against their reference libraries and hand-computed values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from avatarkit.metrics import image as metrics


def pair(height: int = 190, width: int = 210, noise: float = 0.08) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    smooth = torch.nn.functional.avg_pool2d(torch.rand(2, 3, height, width, generator=generator), 7, 1, 3)
    truth = ((smooth - 0.4) * 4).clamp(0, 1)
    pred = (truth + noise * torch.randn(truth.shape, generator=generator)).clamp(0, 1)
    return pred, truth


def hwc(image: torch.Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).numpy()


def test_known_values() -> None:
    truth = torch.zeros(1, 3, 20, 20)
    pred = torch.full_like(truth, 0.1)
    assert metrics.mse(pred, truth).item() == pytest.approx(0.01, rel=1e-6)
    assert metrics.l1(pred, truth).item() == pytest.approx(0.1, rel=1e-6)
    assert metrics.psnr(pred, truth).item() == pytest.approx(20.0, abs=1e-4)
    assert math.isinf(metrics.psnr(truth, truth).item())


def test_psnr_agrees_with_skimage_to_1e4_db() -> None:
    pred, truth = pair()
    for i in range(2):
        reference = peak_signal_noise_ratio(hwc(truth[i]), hwc(pred[i]), data_range=1.0)
        assert metrics.psnr(pred, truth)[i].item() == pytest.approx(reference, abs=1e-4)


def test_ssim_agrees_with_skimage_to_1e5() -> None:
    pred, truth = pair()
    for i in range(2):
        reference = structural_similarity(
            hwc(truth[i]), hwc(pred[i]), gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
            data_range=1.0, channel_axis=2,
        )  # fmt: skip
        assert metrics.ssim(pred, truth)[i].item() == pytest.approx(reference, abs=1e-5)


def test_ms_ssim_agrees_with_torchmetrics_to_1e3() -> None:
    pred, truth = pair(noise=0.2)
    reference = multiscale_structural_similarity_index_measure(pred, truth, data_range=1.0, reduction="none")
    torch.testing.assert_close(metrics.ms_ssim(pred, truth), reference, atol=1e-3, rtol=0)


def test_a_mask_restricts_every_metric_to_its_region() -> None:
    pred, truth = pair()
    mask = torch.zeros(2, 1, *pred.shape[-2:])
    mask[..., :, 100:] = 1
    clean = pred.clone()
    clean[..., :, 100:] = truth[..., :, 100:]
    assert metrics.mse(clean, truth, mask).max().item() == 0.0
    assert metrics.mse(clean, truth, 1 - mask)[0].item() == pytest.approx(
        ((pred - truth)[0, :, :, :100] ** 2).mean().item(), rel=1e-4
    )
    assert (
        metrics.ssim(clean, truth, mask).min().item()
        > metrics.ssim(clean, truth, 1 - mask).max().item() + 0.2
    )
    for metric in (metrics.mse, metrics.l1, metrics.ssim, metrics.ms_ssim):
        torch.testing.assert_close(
            metric(pred, truth, torch.ones_like(mask)), metric(pred, truth), atol=1e-5, rtol=1e-5
        )


def test_an_empty_mask_gives_nan_and_small_images_are_refused() -> None:
    pred, truth = pair(40, 40)
    assert torch.isnan(metrics.mse(pred, truth, torch.zeros(2, 1, 40, 40))).all()
    assert torch.isnan(metrics.ms_ssim(pred, truth)).all()
    with pytest.raises(ValueError, match="11 x 11"):
        metrics.ssim(pred[..., :10, :10], truth[..., :10, :10])


def test_metrics_are_differentiable() -> None:
    pred, truth = pair()
    pred.requires_grad_()
    (metrics.ssim(pred, truth).sum() + metrics.ms_ssim(pred, truth).sum()).backward()
    assert pred.grad is not None and torch.isfinite(pred.grad).all() and pred.grad.abs().max() > 0
