"""How much a rendered person before a background resembles a picture: a loss with its gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from avatarkit.ops.checks import bare, native_for, shaped
from avatarkit.ops.reference import resemblance as twin


def resemblance(
    splats: Tensor,
    behind: Tensor,
    truth: Tensor,
    matte: Tensor,
    share: Tensor,
    structure: float = 0.2,
    matte_weight: float = 0.1,
) -> tuple[float, Tensor]:
    """Loss of a rendered person, and its gradient.

    Args:
        splats: [H, W, 4] color premultiplied by the alpha of the last channel.
        behind: [H, W, 3] background; I = color + (1 - alpha) behind is what is compared.
        truth: [H, W, 3]. matte: [H, W] of the person. Both in [0, 1], or bytes up to 255.
        share: [H, W] weight of each pixel; their sum should be 1.
        structure: s. matte_weight: m.

    Returns:
        (1 - s) mean |I - truth| + s (1 - mean SSIM) + m mean |alpha - matte|, and its gradient [H, W, 4] with
        respect to ``splats``. SSIM (Wang et al. 2004) has an 11 x 11 Gaussian window of deviation 1.5, beyond the
        edges everything is zero. Written out rather than differentiated: a training step of splats on the CPU
        would spend most of its time here otherwise. Raises ValueError for shapes that do not fit.
    """
    height, width = splats.shape[:2]
    splats = shaped("splats", splats, height, width, 4)
    behind = shaped("behind", behind, height, width, 3)
    truth = shaped("truth", truth, height, width, 3)
    matte = shaped("matte", matte, height, width)
    share = shaped("share", share, height, width)
    native = native_for(splats, behind, share, *(t for t in (truth, matte) if t.dtype != torch.uint8))
    if native is None:
        truth, matte = (t / 255 if t.dtype == torch.uint8 else t for t in (truth, matte))
        with torch.enable_grad():
            variable = splats.detach().requires_grad_()
            value = twin.resemblance(variable, behind, truth, matte, share, structure, matte_weight)
            (slope,) = torch.autograd.grad(value, variable)
        return float(value.detach()), slope
    gradient = torch.empty(height, width, 4)
    given = (bare(t.contiguous()) for t in (splats, behind, truth, matte, share))
    return native.resemblance(*given, structure, matte_weight, bare(gradient)), gradient
