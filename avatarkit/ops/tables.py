"""Hash tables blended by expression coefficients, and their optimizer in one pass with the next blend."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from avatarkit.ops import reference
from avatarkit.ops.checks import native_for, plain, shaped

# Floats of one basis that lie together in the packed layout. One page: a pass touches a block's bases in turn
# while the batch's gradients and next tables of that block stay in the first-level cache.
BLOCK = 1024


def blend(base: Tensor, bases: Tensor, coefficients: Tensor) -> Tensor:
    """Tables h = h0 + H w of a batch (NeRFBlendShape, Gao et al. 2022, eq. 2).

    Args:
        base: [M] the mean table h0.
        bases: [K, P] with P <= M: H may cover only the first, coarse levels.
        coefficients: [B, K] w; zero coefficients cost nothing.

    Returns:
        [B, M]. Gradients flow to all three arguments.
    """
    base = shaped("base", base, None)
    coefficients = shaped("coefficients", coefficients, None, None)
    bases = shaped("bases", bases, coefficients.shape[1], None)
    if bases.shape[1] > base.shape[0]:
        raise ValueError(f"bases hold {bases.shape[1]} floats, the base only {base.shape[0]}")
    if native_for(base, bases, coefficients) is None:
        return reference.blend(base, bases, coefficients)
    result: Tensor = _Blend.apply(base, bases, coefficients)
    return result


class _Blend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, base: Tensor, bases: Tensor, coefficients: Tensor) -> Tensor:
        native = native_for(base)
        assert native is not None
        ctx.save_for_backward(bases, coefficients)
        result = torch.empty(coefficients.shape[0], base.shape[0])
        prefix = bases.shape[1]
        native.blend(plain(base), plain(bases), plain(coefficients), prefix, BLOCK, prefix, result)
        return result

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        bases, coefficients = ctx.saved_tensors  # type: ignore[attr-defined]
        gradient = gradients[0]
        within = gradient[:, : bases.shape[1]]
        need = ctx.needs_input_grad  # type: ignore[attr-defined]
        return (
            gradient.sum(0) if need[0] else None,
            coefficients.T @ within if need[1] else None,
            within @ bases.T if need[2] else None,
        )


def pack_bases(bases: Tensor) -> Tensor:
    """[ceil(P / 1024), K, 1024], padded with zeros, of ``bases`` [K, P]."""
    count, prefix = bases.shape
    blocks = -(-prefix // BLOCK)
    packed = _large(blocks, count, BLOCK, like=bases)
    for block in range(blocks):
        part = bases[:, block * BLOCK : (block + 1) * BLOCK]
        packed[block, :, : part.shape[1]] = part
    return packed


def _large(*shape: int, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Zeros of ``dtype``, or the type of ``like``, on large pages, aligned to them.

    A pass over 600 MB is a sixth quicker with fewer pages and with every block on pages of its own.
    """
    dtype = dtype or like.dtype
    count, page = math.prod(shape), (2 << 20) // dtype.itemsize
    memory = torch.empty(count + page, dtype=dtype, device=like.device)
    first = -(memory.data_ptr() // dtype.itemsize) % page
    tensor = memory[first : first + count].view(shape)
    native = native_for(like)
    if native is not None:
        native.advise_huge_pages(tensor.view(torch.uint8))
    return tensor.zero_()


def unpack_bases(packed: Tensor, prefix: int) -> Tensor:
    """[K, prefix], the inverse of ``pack_bases``."""
    return packed.permute(1, 0, 2).reshape(packed.shape[1], -1)[:, :prefix].contiguous()


@dataclass(frozen=True)
class AdamOptions:
    """Options of one ``adam_blend`` step.

    ``l2`` adds the gradient ``l2 * H`` of the penalty ``l2 / 2 * |H|^2`` on the bases that the batch uses.
    """

    lr: float = 1e-2
    lr_bases: float = 1e-2
    betas: tuple[float, float] = (0.9, 0.99)
    eps: float = 1e-15
    l2: float = 0.0


@dataclass
class BlendTables:
    """A mean table, K bases of its first ``prefix`` floats, and the moments of Adam for both.

    ``base`` [M], ``base_moments`` [2, M] (first and second), ``bases`` [blocks, K, 1024] packed,
    ``bases_moments`` [2, blocks, K, 1024] in bfloat16, ``step`` the number of steps done.

    The moments of the bases are kept in 16 bits, rounded to nearest even after every step: a step is bound by memory,
    and they are half of what it moves. Each step itself is computed from them in single precision.
    """

    base: Tensor
    base_moments: Tensor
    bases: Tensor
    bases_moments: Tensor
    prefix: int
    step: int = 0

    @classmethod
    def from_canonical(cls, base: Tensor, bases: Tensor) -> BlendTables:
        """Tables of ``base`` [M] and ``bases`` [K, P], P <= M, with empty moments."""
        base = shaped("base", base, None).detach().clone()
        packed = pack_bases(shaped("bases", bases, None, None).detach())
        if bases.shape[1] > base.shape[0]:
            raise ValueError(f"bases hold {bases.shape[1]} floats, the base only {base.shape[0]}")
        moments = _large(2, *packed.shape, like=packed, dtype=torch.bfloat16)
        return cls(base, torch.zeros(2, base.shape[0], dtype=base.dtype), packed, moments, bases.shape[1])

    def canonical(self) -> Tensor:
        """The bases as [K, prefix]."""
        return unpack_bases(self.bases, self.prefix)

    def blend(self, coefficients: Tensor) -> Tensor:
        """[B, M] tables of ``coefficients`` [B, K], without gradients (``adam_blend`` takes them instead)."""
        coefficients = shaped("coefficients", coefficients, None, self.bases.shape[1])
        native = native_for(self.base, self.bases, coefficients)
        if native is None:
            return reference.blend(self.base, self.canonical(), coefficients)
        result = torch.empty(coefficients.shape[0], self.base.shape[0])
        count = self.bases.shape[1]
        native.blend(self.base, self.bases, coefficients, BLOCK, count * BLOCK, self.prefix, result)
        return result

    def adam_blend(
        self, gradients: Tensor, coefficients: Tensor, next_coefficients: Tensor, options: AdamOptions
    ) -> Tensor:
        """One step of Adam on base and bases, and the tables of the next batch, in one pass over the memory.

        Args:
            gradients: [B, M] of the loss with respect to the blended tables of this batch.
            coefficients: [B, K] those tables' coefficients: the gradient of H_k is sum_b w_bk gradients_b.
            next_coefficients: [B', K] of the batch to come.
            options: rates and decays.

        Returns:
            [B', M] the next batch's tables. ``self`` is updated in place and ``step`` rises by one.

        Adam is lazy over bases: one whose coefficient is zero in all B images keeps its values and moments (no
        decay, no L2), as if the step had not been; bias corrections count all steps (Kingma and Ba 2015, alg. 1;
        torch.optim.SparseAdam is lazy in the same way over entries). That saves the pass over its memory.
        """
        count = self.bases.shape[1]
        coefficients = shaped("coefficients", coefficients, None, count)
        gradients = shaped("gradients", gradients, coefficients.shape[0], self.base.shape[0])
        next_coefficients = shaped("next_coefficients", next_coefficients, None, count)
        native = native_for(self.base, self.bases, gradients, coefficients, next_coefficients)
        if native is None:
            with torch.no_grad():
                return reference.adam_blend(self, gradients, coefficients, next_coefficients, options)
        self.step += 1
        result = torch.empty(next_coefficients.shape[0], self.base.shape[0])
        native.adam_blend(
            self.base, self.base_moments, self.bases, self.bases_moments.view(torch.int16), self.prefix,
            plain(gradients), plain(coefficients), plain(next_coefficients), result,
            options.lr, options.lr_bases, *options.betas, options.eps, options.l2, self.step,
        )  # fmt: skip
        return result
