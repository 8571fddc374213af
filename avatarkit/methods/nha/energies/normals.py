"""E_normal: fine geometry by the image-space Laplacian of normal maps."""

from __future__ import annotations

from torch import Tensor


def laplacian(image: Tensor) -> Tensor:
    """[H - 2, W - 2, C] four-neighbor Laplacian of ``image`` [H, W, C]."""
    inner = image[1:-1, 1:-1]
    return image[:-2, 1:-1] + image[2:, 1:-1] + image[1:-1, :-2] + image[1:-1, 2:] - 4 * inner


def normal_laplacian(normals: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean over the pixels of ``mask`` of |lambda(N) - lambda(N')|_1 for maps [H, W, 3].

    ``mask`` [H, W] bool: where both maps are known; a pixel counts where it and its four neighbors are.
    """
    whole = mask[1:-1, 1:-1] & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    difference = (laplacian(normals) - laplacian(target)).abs().sum(-1)
    return (difference * whole).sum() / whole.sum().clamp_min(1)
