"""Full-reference image metrics on sRGB values, each over a whole image or weighted by a mask.

Images are [N, C, H, W] float tensors in [0, 1]; ``mask`` is [N, 1, H, W] with weights in [0, 1] (None: all ones).
Every metric returns [N] values of ``pred``'s type, NaN where a mask is empty.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW, SIGMA = 11, 1.5
K1, K2 = 0.01, 0.03
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def _mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of ``values`` [N, C, H, W] under ``mask``: [N]."""
    if mask is None:
        return values.mean((1, 2, 3))
    weight = mask.to(values.dtype)
    return (values * weight).sum((1, 2, 3)) / (weight.sum((1, 2, 3)) * values.shape[1])


def mse(pred: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean squared error."""
    return _mean((pred - truth).square(), mask)


def l1(pred: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute error."""
    return _mean((pred - truth).abs(), mask)


def psnr(pred: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio in dB for a peak of 1; infinite for equal images."""
    return -10.0 * torch.log10(mse(pred, truth, mask))


def _band(size: int, like: Tensor) -> Tensor:
    """[size, size - 10] matrix whose columns hold the window at each place where it fits."""
    x = torch.arange(WINDOW, dtype=like.dtype, device=like.device) - (WINDOW - 1) / 2
    window = torch.exp(-0.5 * (x / SIGMA) ** 2)
    columns = size - WINDOW + 1
    band = like.new_zeros(size, columns)
    place = torch.arange(columns, device=like.device)
    for i, weight in enumerate(window / window.sum()):
        band[place + i, place] = weight
    return band


def _blur(image: Tensor) -> Tensor:
    """Gaussian-weighted local mean of [N, C, H, W], only where the window lies wholly inside.

    Two products with band matrices: on a CPU several times faster than a convolution of single channels.
    """
    height, width = image.shape[-2:]
    return _band(height, image).T @ (image @ _band(width, image))


def ssim_maps(pred: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """The SSIM map and its contrast-structure factor, both [N, C, H - 10, W - 10].

    Wang et al. 2004, eq. 12 and 13, with their 11 x 11 Gaussian window of deviation 1.5 and population
    (not sample) variances, evaluated where the window fits. Raises ValueError for images below 11 pixels.
    """
    if min(pred.shape[-2:]) < WINDOW:
        raise ValueError(f"SSIM needs images of at least {WINDOW} x {WINDOW} pixels")
    n = pred.shape[0]
    moments = _blur(torch.cat([pred, truth, pred * pred, truth * truth, pred * truth]))
    mean_p, mean_t, square_p, square_t, product = moments.split(n)
    c1, c2 = K1**2, K2**2
    variance_p, variance_t = (square_p - mean_p**2).clamp_min(0), (square_t - mean_t**2).clamp_min(0)
    contrast = (2 * (product - mean_p * mean_t) + c2) / (variance_p + variance_t + c2)
    luminance = (2 * mean_p * mean_t + c1) / (mean_p**2 + mean_t**2 + c1)
    return luminance * contrast, contrast


class SsimPyramid:
    """The SSIM maps of a pair of images at five scales, computed once and averaged under any number of masks."""

    def __init__(self, pred: Tensor, truth: Tensor) -> None:
        self.maps: list[tuple[Tensor, Tensor]] = []
        while len(self.maps) < len(SCALE_WEIGHTS) and min(pred.shape[-2:]) >= WINDOW:
            self.maps.append(ssim_maps(pred, truth))
            pred, truth = F.avg_pool2d(pred, 2), F.avg_pool2d(truth, 2)

    def ssim(self, mask: Tensor | None = None) -> Tensor:
        """SSIM [N]; NaN for images smaller than the window. See ``ssim``."""
        if not self.maps:
            return torch.full((1,), float("nan"))
        return _mean(self.maps[0][0], _inner(mask))

    def ms_ssim(self, mask: Tensor | None = None) -> Tensor:
        """MS-SSIM [N]; NaN for images too small for five scales. See ``ms_ssim``."""
        if len(self.maps) < len(SCALE_WEIGHTS):
            return torch.full((1,), float("nan"))
        result = torch.ones(())
        for scale, (weight, (full, contrast)) in enumerate(zip(SCALE_WEIGHTS, self.maps, strict=True)):
            last = scale == len(SCALE_WEIGHTS) - 1
            result = result * _mean(full if last else contrast, _inner(mask)).clamp_min(0) ** weight
            if mask is not None and not last:
                mask = F.avg_pool2d(mask.to(full.dtype), 2)
        return result


def _inner(mask: Tensor | None) -> Tensor | None:
    """The mask at the centers of the windows."""
    edge = WINDOW // 2
    return None if mask is None else mask[..., edge:-edge, edge:-edge]


def ssim(pred: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """Structural similarity (Wang et al. 2004): mean of the map, under a mask the weighted mean of its centers."""
    return _mean(ssim_maps(pred, truth)[0], _inner(mask))


def ms_ssim(pred: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """Multi-scale SSIM (Wang et al. 2003) over five scales, negative contrast terms clipped to zero.

    NaN where the shorter side is below 176 pixels, since the fifth scale would be smaller than the window.
    Under a mask each scale's mean is taken under the mask reduced with it.
    """
    return SsimPyramid(pred, truth).ms_ssim(mask)
