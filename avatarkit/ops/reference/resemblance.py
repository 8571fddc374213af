"""Plain-torch twin of ``avatarkit.ops.resemblance``."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

WINDOW, DEVIATION = 11, 1.5
C1, C2 = 0.01**2, 0.03**2


def resemblance(
    splats: Tensor,
    behind: Tensor,
    truth: Tensor,
    matte: Tensor,
    share: Tensor,
    structure: float,
    matte_weight: float,
) -> Tensor:
    """The loss of ``ops.resemblance.resemblance``, differentiable."""
    alpha = splats[..., 3]
    picture = splats[..., :3] + (1 - alpha)[..., None] * behind
    color = ((picture - truth).abs() * share[..., None]).sum() / 3
    p, t = picture.permute(2, 0, 1), truth.permute(2, 0, 1)
    mean_p, mean_t = _blurred(p), _blurred(t)
    variances = _blurred(p * p + t * t) - mean_p**2 - mean_t**2
    covariance = _blurred(p * t) - mean_p * mean_t
    index = (2 * mean_p * mean_t + C1) * (2 * covariance + C2)
    index = index / ((mean_p**2 + mean_t**2 + C1) * (variances + C2))
    similarity = (index * share).sum() / 3
    wrong = ((alpha - matte).abs() * share).sum()
    return (1 - structure) * color + structure * (1 - similarity) + matte_weight * wrong


def _blurred(image: Tensor) -> Tensor:
    """[C, H, W] under the window; zero beyond the edges."""
    x = torch.arange(WINDOW, dtype=image.dtype, device=image.device) - WINDOW // 2
    window = torch.exp(-0.5 * (x / DEVIATION) ** 2)
    window = window / window.sum()
    image = functional.conv2d(image[:, None], window.reshape(1, 1, 1, -1), padding=(0, WINDOW // 2))
    return functional.conv2d(image, window.reshape(1, 1, -1, 1), padding=(WINDOW // 2, 0))[:, 0]
