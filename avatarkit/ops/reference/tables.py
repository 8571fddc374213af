"""Twins of the blended tables: blending and the optimizer fused with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from avatarkit.ops.tables import AdamOptions, BlendTables


def blend(base: Tensor, bases: Tensor, coefficients: Tensor) -> Tensor:
    """See ``avatarkit.ops.tables.blend``."""
    added = coefficients @ bases
    rest = base[added.shape[1] :].expand(added.shape[0], -1)
    return torch.cat([base[: added.shape[1]] + added, rest], 1)


def adam_blend(
    tables: BlendTables,
    gradients: Tensor,
    coefficients: Tensor,
    next_coefficients: Tensor,
    options: AdamOptions,
) -> Tensor:
    """See ``avatarkit.ops.tables.BlendTables.adam_blend``."""
    beta1, beta2 = options.betas
    tables.step += 1
    correction1, correction2 = 1 - beta1**tables.step, 1 - beta2**tables.step

    def update(values: Tensor, moments: Tensor, gradient: Tensor, rate: float) -> None:
        moments[0] += (1 - beta1) * (gradient - moments[0])
        moments[1] += (1 - beta2) * (gradient * gradient - moments[1])
        values -= rate / correction1 * moments[0] / ((moments[1] / correction2).sqrt() + options.eps)

    update(tables.base, tables.base_moments, gradients.sum(0), options.lr)
    blocks, _, length = tables.bases.shape
    padded = torch.zeros(gradients.shape[0], blocks * length, dtype=gradients.dtype, device=gradients.device)
    padded[:, : tables.prefix] = gradients[:, : tables.prefix]
    padded = padded.reshape(-1, blocks, length)
    for k in coefficients.any(0).nonzero()[:, 0].tolist():
        gradient = torch.einsum("b,bnf->nf", coefficients[:, k], padded) + options.l2 * tables.bases[:, k]
        # Kept in 16 bits between the steps; assigning rounds them to nearest even.
        moments = tables.bases_moments[:, :, k].to(tables.bases.dtype)
        values = tables.bases[:, k].clone()
        update(values, moments, gradient, options.lr_bases)
        tables.bases[:, k], tables.bases_moments[:, :, k] = values, moments
    return blend(tables.base, tables.canonical(), next_coefficients)
