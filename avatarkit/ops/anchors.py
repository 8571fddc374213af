"""Gaussians carried by moving anchors, and one step of their training.

A Gaussian has ``CHANNELS`` numbers, stored channel by channel [14, N]: position (3, meters, at rest), logit of the
opacity, color (3), quaternion (w, x, y, z), log scale (3). The first ``BLENDED`` have residuals that are linear in
what drives the avatar.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from avatarkit.ops.checks import bare, native_for, plain, shaped
from avatarkit.ops.reference import anchors as twin

CHANNELS, BLENDED = 14, 7
TOGETHER = 8
"""Most steps whose residual moves ``settle`` applies together."""


def deform(
    vertices: Tensor,
    triangles: Tensor,
    inverse: Tensor,
    first: Tensor,
    pose: Tensor,
    bones: Tensor,
    begin: int,
) -> None:
    """Affine maps of triangles from rest to where a pose puts their posed vertices: deformation gradients.

    Edges and unit normal at rest go to edges and unit normal.

    Args:
        vertices: [V, 3] posed, head space. triangles: [F, 3] int32 of them; not checked against V.
        inverse: [3, 3, F] undoes the frame (edge, edge, unit normal) of each triangle at rest.
        first: [3, F] its first corner at rest. pose: [3, 4] head to camera.
        bones: [12, B] contiguous, the rows of 3 x 4 matrices; columns [begin, begin + F) are written.

    No gradients. Raises ValueError for shapes that do not fit.
    """
    count = triangles.shape[0]
    vertices = shaped("vertices", vertices, None, 3)
    triangles = shaped("triangles", triangles, count, 3)
    inverse = shaped("inverse", inverse, 3, 3, count)
    first = shaped("first", first, 3, count)
    pose = shaped("pose", pose, 3, 4)
    shaped("bones", bones, 12, None)
    if begin < 0 or begin + count > bones.shape[1]:
        raise ValueError(f"{bones.shape[1]} bones have no room for {count} triangles from {begin}")
    native = native_for(vertices, inverse, first, pose, bones)
    if native is None or not bones.is_contiguous():
        bones[:, begin : begin + count] = twin.deform(vertices, triangles, inverse, first, pose)
    else:
        given = (bare(part) for part in (vertices, triangles.to(torch.int32), inverse, first, pose))
        native.deform(*given, begin, bare(bones))


def carry(
    gaussians: Tensor, bones: Tensor, bone: Tensor, visibility: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gaussians at rest, carried to camera space by the affine maps of their bones.

    Args:
        gaussians: [14, N], see the module.
        bones: [12, B] affine maps rest to camera, the rows of 3 x 4 matrices one after the other.
        bone: [N] int32, which of them carries a Gaussian. Not checked against B.
        visibility: [N] factor of the opacity (what lids and lips leave to be seen).

    Returns:
        mean [N, 3], covariance [N, 6] (xx, xy, xz, yy, yz, zz) of (A R S)(A R S)', color [N, 3] and opacity [N].
        Gradients flow to the Gaussians alone. Raises ValueError for shapes that do not fit.
    """
    gaussians = shaped("gaussians", gaussians, CHANNELS, None)
    bones = shaped("bones", bones, 12, None)
    bone = shaped("bone", bone, gaussians.shape[1])
    visibility = shaped("visibility", visibility, gaussians.shape[1])
    if native_for(gaussians, bones, visibility) is None:
        return twin.carry(gaussians, bones, bone, visibility)
    result: tuple[Tensor, Tensor, Tensor, Tensor] = _Carry.apply(gaussians, bones, bone, visibility)
    return result


class _Carry(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, gaussians: Tensor, bones: Tensor, bone: Tensor, visibility: Tensor
    ) -> tuple[Tensor, ...]:
        native = native_for(gaussians)
        assert native is not None
        bone = bone.to(torch.int32)
        ctx.save_for_backward(gaussians, bones, bone, visibility)
        count = gaussians.shape[1]
        out = torch.empty(count, 3), torch.empty(count, 6), torch.empty(count, 3), torch.empty(count)
        native.carry(plain(gaussians), plain(bones), bone, plain(visibility), *out)
        return out

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gaussians, bones, bone, visibility = ctx.saved_tensors  # type: ignore[attr-defined]
        native = native_for(gaussians)
        assert native is not None
        out = torch.empty_like(gaussians)
        given = (plain(gradient) for gradient in gradients)
        native.carry_backward(plain(gaussians), plain(bones), bone, plain(visibility), *given, out)
        return out, None, None, None


def reveal(
    positions: Tensor,
    bones: Tensor,
    bone: Tensor,
    behind: Tensor,
    hole: Tensor,
    frames: Tensor,
    borders: Tensor,
) -> Tensor:
    """How much of each Gaussian the holes of a face (open lids, parted lips) leave to be seen: [N], 1 for most.

    A hole is an upper and a lower border in the plane z = 1, in coordinates along a line and across it. With d the
    distance inside from the nearer border at a point's place along, less how far the place lies beyond the
    upper border's ends, in units of the hole's softness, 1 / (1 + exp(-2 d)) of the point is seen.

    Args:
        positions: [3, N] at rest. bones: [12, B], bone: [N] int32, see ``carry``.
        behind: [M] int32 the Gaussians that lie behind a hole, hole: [M] int32 which. Not checked against N and H.
        frames: [H, 7] origin (2), the unit vectors along (2) and across (2), and the softness of each hole.
        borders: [H, 2, 2, K] upper and lower border; per border K places along, rising, and across.

    No gradients. Raises ValueError for shapes that do not fit.
    """
    positions = shaped("positions", positions, 3, None)
    bones = shaped("bones", bones, 12, None)
    bone = shaped("bone", bone, positions.shape[1])
    hole = shaped("hole", hole, len(behind))
    frames = shaped("frames", frames, None, 7)
    borders = shaped("borders", borders, len(frames), 2, 2, None)
    native = native_for(positions, bones, frames, borders)
    if native is None:
        return twin.reveal(positions, bones, bone, behind, hole, frames, borders)
    out = torch.empty(positions.shape[1])
    given = (positions, bones, bone, behind.contiguous(), hole, frames, borders)
    native.reveal(*map(bare, given), bare(out))
    return out


@dataclass(frozen=True)
class LearnOptions:
    """Of one step of ``learn``: a rate a channel, and the residuals' rate in units of their channel's."""

    rates: tuple[float, ...]
    residual_rate: float = 1.0
    betas: tuple[float, float] = (0.9, 0.99)
    eps: tuple[float, ...] = (1e-15,) * CHANNELS
    """a channel: Gaussians whose gradients are smaller hardly move"""


def learn(
    base: Tensor,
    moments: Tensor,
    gradient: Tensor,
    blend: Tensor | None,
    moves: Tensor,
    weights: Tensor,
    step: int,
    options: LearnOptions,
) -> Tensor | None:
    """One step of Adam on the Gaussians, the move of their residuals, and the next frame's blend.

    The three coordinates of a position share one second moment, that of the gradient's length (VectorAdam, Ling et al.
    2022): Adam's own makes as large steps where a gradient is next to nothing, and what no camera sees, the depth of
    a Gaussian in a frontal clip, would wander off.

    Residuals have no moments of their own: those of frame coefficients c_k move by minus c_k times
    rate * residual_rate * g / (sqrt(v) + eps), v being Adam's second moment of the base. As that is an outer product,
    a few steps' moves are kept and counted in while the residuals rest; ``settle`` applies them together, which reads
    and writes the largest array once for all of them.

    Args:
        base: [14, N], updated in place. moments: [2, 14, N], first and second, in place.
        gradient: [14, N] of the loss with respect to the blended Gaussians of this frame.
        blend: [7, N] sum_k c'_k residual_k of the next frame, as the residuals rest; None if there is none yet.
        moves: [J, 7, N] of the steps since, the last of which is this one's and is written.
        weights: [J] products c' . c_j of the next frame's coefficients with those steps'.
        step: how many steps there have been, this one counted.

    Returns:
        [14, N] the Gaussians of the next frame, base + blend - sum_j weights_j moves_j in the first 7 channels; None
        without ``blend``. Raises ValueError for shapes that do not fit.
    """
    count = shaped("base", base, CHANNELS, None).shape[1]
    shaped("moments", moments, 2, CHANNELS, count)
    gradient = shaped("gradient", gradient, CHANNELS, count)
    shaped("moves", moves, len(weights), BLENDED, count)
    weights = shaped("weights", weights, None)
    blend = None if blend is None else shaped("blend", blend, BLENDED, count)
    if not len(weights):
        raise ValueError("moves need room for this step's")
    if not len(options.rates) == len(options.eps) == CHANNELS:
        raise ValueError(
            f"{CHANNELS} rates and epsilons are needed, not {len(options.rates)}, {len(options.eps)}"
        )
    native = native_for(base, moments, gradient, moves, weights, *(() if blend is None else (blend,)))
    with torch.no_grad():
        if native is None:
            return twin.learn(base, moments, gradient, blend, moves, weights, step, options)
        if not (base.is_contiguous() and moments.is_contiguous() and moves.is_contiguous()):
            raise ValueError("base, moments and moves are updated in place and must be contiguous")
        out = base if blend is None else torch.empty_like(base)
        native.learn(
            bare(base), bare(moments), bare(gradient), np.array([options.rates, options.eps], np.float32),
            None if blend is None else bare(blend), bare(moves), bare(weights),
            *options.betas, options.residual_rate, step, bare(out),
        )  # fmt: skip
        return None if blend is None else out


def settle(residual: Tensor, coefficients: Tensor, moves: Tensor, following: Tensor) -> Tensor:
    """Residuals after the moves of several steps, in place, and what they add in the frames to come.

    Args:
        residual: [K, 7, N], becomes residual_k - sum_j coefficients_jk moves_j.
        coefficients: [J, K] of the steps' frames. moves: [J, 7, N], see ``learn``. J and M are at most ``TOGETHER``.
        following: [M, K] coefficients of the frames to come.

    Returns:
        [M, 7, N] sum_k following_mk residual_k. Raises ValueError for shapes that do not fit.
    """
    bases, count = residual.shape[0], residual.shape[-1]
    shaped("residual", residual, bases, BLENDED, count)
    coefficients = shaped("coefficients", coefficients, None, bases)
    moves = shaped("moves", moves, len(coefficients), BLENDED, count)
    following = shaped("following", following, None, bases)
    if max(len(coefficients), len(following)) > TOGETHER:
        raise ValueError(f"at most {TOGETHER} steps are settled together")
    native = native_for(residual, coefficients, moves, following)
    with torch.no_grad():
        if native is None:
            return twin.settle(residual, coefficients, moves, following)
        if not residual.is_contiguous():
            raise ValueError("residual is updated in place and must be contiguous")
        blends = torch.empty(len(following), BLENDED, count)
        native.settle(*map(bare, (residual, coefficients, moves, following, blends)))
        return blends
