"""Perceptual loss of image patches: LPIPS where its weights can be had, else structure at several scales."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

PatchLoss = Callable[[Tensor, Tensor], Tensor]
"""Takes predicted and true patches [B, 3, P, P] in [0, 1], gives a scalar."""


def structure(predicted: Tensor, target: Tensor, scales: int = 3) -> Tensor:
    """Multi-scale dissimilarity of patches [B, 3, P, P]: gradients in L1, and 1 - SSIM, averaged over scales.

    The image pyramid halves by averaging. SSIM (Wang et al. 2004) uses a uniform 5 x 5 window, unpadded, with
    the usual constants. Zero for equal patches; about 0.5 for unrelated ones, on LPIPS's order of magnitude.
    """
    total = predicted.new_zeros(())
    for _ in range(scales):
        total = total + _gradients(predicted, target) + 0.5 * (1 - _ssim(predicted, target))
        predicted, target = functional.avg_pool2d(predicted, 2), functional.avg_pool2d(target, 2)
    return total / scales


def _gradients(predicted: Tensor, target: Tensor) -> Tensor:
    difference = predicted - target
    across = (difference[..., :, 1:] - difference[..., :, :-1]).abs().mean()
    down = (difference[..., 1:, :] - difference[..., :-1, :]).abs().mean()
    return across + down


def _ssim(predicted: Tensor, target: Tensor, window: int = 5) -> Tensor:
    def mean(image: Tensor) -> Tensor:
        return functional.avg_pool2d(image, window, stride=1)

    mu_p, mu_t = mean(predicted), mean(target)
    var_p = mean(predicted * predicted) - mu_p * mu_p
    var_t = mean(target * target) - mu_t * mu_t
    both = mean(predicted * target) - mu_p * mu_t
    c1, c2 = 0.01**2, 0.03**2
    index = (2 * mu_p * mu_t + c1) * (2 * both + c2)
    return (index / ((mu_p * mu_p + mu_t * mu_t + c1) * (var_p + var_t + c2))).mean()


def as_patches(rays: Tensor, count: int, size: int) -> Tensor:
    """[count, C, size, size] of ``rays`` [count * size^2, C], each patch row by row."""
    return rays.reshape(count, size, size, -1).permute(0, 3, 1, 2)
