"""Color models of one clip: how likely each Lab color is on skin, hair and clothes. Learned from its own frames."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
L_BINS, C_BINS = 32, 64
"""Bins of lightness (8 levels each) and of a and b (4 levels each, finer because skin and hair differ little)."""
BINS = L_BINS * C_BINS * C_BINS


def bins(image: NDArray[np.uint8]) -> NDArray[np.int32]:
    """[H, W] histogram bin of each pixel of an sRGB image [H, W, 3], by its Lab color."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.int32)
    return np.asarray(((lab[..., 0] >> 3) * C_BINS + (lab[..., 1] >> 2)) * C_BINS + (lab[..., 2] >> 2))


class ColorModel:
    """Smoothed color histograms of C classes: non-parametric, since clothes and lit skin have many modes."""

    def __init__(self, classes: int) -> None:
        self.counts = np.zeros((classes, BINS), np.float64)
        self.table: Float = np.full((BINS, classes), 1.0, np.float32)

    def clear(self) -> None:
        """Forget what was seen; the table stays until ``learn``."""
        self.counts[:] = 0

    def see(self, index: NDArray[np.int32], weights: Float) -> None:
        """Add pixels with bins ``index`` [...] and class weights [..., C]."""
        flat = index.ravel()
        for c in range(self.counts.shape[0]):
            self.counts[c] += np.bincount(flat, weights[..., c].ravel(), BINS)

    def learn(self) -> None:
        """Turn the counts into ``table`` [BINS, C]: densities relative to a flat one over the colors in use."""
        from scipy.ndimage import gaussian_filter

        table = []
        for counts in self.counts:
            smooth = gaussian_filter(counts.reshape(L_BINS, C_BINS, C_BINS), (1.2, 0.8, 0.8), mode="nearest")
            table.append(smooth.ravel() / max(smooth.sum(), 1e-9))
        # A color nobody has seen says nothing about the class: a common floor makes its likelihoods equal.
        floor = 0.02 / 4000
        self.table = np.ascontiguousarray((np.stack(table, 1) + floor) * 4000, np.float32)

    def likelihood(self, index: NDArray[np.int32]) -> Float:
        """[..., C] likelihood of bins ``index`` [...] under each class."""
        return np.take(self.table, index, 0)

    def spread_by_shading(self, c: int, share: float) -> None:
        """Let class ``c`` hold its own chroma in any light: shadows scale L, a and b of a surface together.

        A Gaussian is fitted to (a / L, b / L) of what the class has seen, and every color gets its value
        there, ``share`` of the class's own peak at most, as additional likelihood.
        """
        light, red, yellow = _centers()
        ratio = np.stack([red / light, yellow / light], 1)
        weight = self.counts[c] * (light > 25)
        if weight.sum() < 100:
            return
        mean = weight @ ratio / weight.sum()
        apart = ratio - mean
        covariance = (apart * weight[:, None]).T @ apart / weight.sum() + np.eye(2) * 0.02**2
        distance = np.einsum("ni,ij,nj->n", apart, np.linalg.inv(covariance), apart)
        # Very dark colors have no reliable chroma.
        reliable = np.clip((light - 10) / 30, 0, 1)
        self.table[:, c] += share * self.table[:, c].max() * reliable * np.exp(-0.5 * distance)


def _centers() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """L in (0, 255) and signed a, b of each bin's middle, [BINS] each."""
    light, red, yellow = np.unravel_index(np.arange(BINS), (L_BINS, C_BINS, C_BINS))
    return light * 8 + 4.0, red * 4 - 126.0, yellow * 4 - 126.0
