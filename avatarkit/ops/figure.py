"""Rigged Gaussians before a camera: ``anchors.carry`` and ``splat.splat`` in one, without autograd.

What a training step and a frame of an avatar need of both goes through the native kernels once: nothing is stored in
camera space. Float32 tensors on the CPU run natively; everything else goes to :mod:`avatarkit.ops.reference.figure`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from avatarkit.ops.anchors import CHANNELS
from avatarkit.ops.checks import bare, native_for, shaped
from avatarkit.ops.reference import figure as twin

Pinhole = tuple[float, float, float, float]
"""fx, fy, cx, cy: pixels, pixel centers at integer + 0.5."""


@dataclass(frozen=True, eq=False)
class Figure:
    """Gaussians at rest and what carries them to camera space; see ``anchors.carry``.

    Raises ValueError for shapes that do not fit.
    """

    gaussians: Tensor
    """[14, N]; colors count as kept within [0, 1]"""
    bones: Tensor
    """[12, B]"""
    bone: Tensor
    """[N] int32, not checked against B"""
    visibility: Tensor
    """[N]"""

    def __post_init__(self) -> None:
        count = shaped("gaussians", self.gaussians, CHANNELS, None).shape[1]
        shaped("bones", self.bones, 12, None)
        shaped("bone", self.bone, count)
        shaped("visibility", self.visibility, count)

    def _plain(self) -> tuple[NDArray[Any], ...]:
        parts = self.gaussians, self.bones, self.bone.to(torch.int32), self.visibility
        return tuple(bare(part.contiguous()) for part in parts)

    def _native(self) -> Any:
        return native_for(self.gaussians, self.bones, self.visibility)

    def exposed(self, pinhole: Pinhole, size: tuple[int, int], dilation: float = 0.3) -> Exposure:
        """The picture that ``splat`` makes of what ``carry`` carries, and what it takes to differentiate it."""
        native = self._native()
        if native is None:
            return Exposure(self, pinhole, dilation, twin.image(self, pinhole, size, dilation), None)
        frame, image = native.SplatFrame(), torch.empty(*size, 4)
        native.figure_image(frame, *self._plain(), pinhole, dilation, bare(image))
        return Exposure(self, pinhole, dilation, image, frame)

    def over(self, background: Tensor, pinhole: Pinhole, dilation: float = 0.3) -> Tensor:
        """[H, W, 3] uint8: the picture over ``background`` [H, W, 3] uint8, for display.

        What lies behind a transmittance below 1/512 is skipped: half a level of the result at most.
        """
        background = shaped("background", background, None, None, 3)
        native = self._native()
        if native is None:
            return twin.over(self, background, pinhole, dilation)
        pixels = torch.empty_like(background)
        given = *self._plain(), pinhole, dilation, bare(background), bare(pixels)
        native.figure_compose(native.SplatFrame(), *given)
        return pixels


@dataclass(frozen=True, eq=False)
class Exposure:
    """A picture of a figure."""

    figure: Figure
    pinhole: Pinhole
    dilation: float
    image: Tensor
    """[H, W, 4] color premultiplied by the alpha of the last channel"""
    frame: Any

    def gradients(self, slope: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """From the gradient ``slope`` [H, W, 4] of the picture to that of the Gaussians, and the pull at bodies.

        Args:
            share: [S, N] how much of each Gaussian belongs to each of S bodies.

        Returns:
            [14, N], and [S, 6]: with g the gradient by a mean m in camera space, a body's sums of share g and of
            share m x g (force and torque about the camera).
        """
        slope = shaped("slope", slope, *self.image.shape)
        share = shaped("share", share, None, self.figure.gaussians.shape[1])
        if self.frame is None:
            return twin.gradients(self.figure, self.pinhole, self.dilation, slope, share)
        native = self.figure._native()
        gradient, wrench = torch.empty_like(self.figure.gaussians), torch.empty(len(share), 6)
        native.figure_backward(
            self.frame, *self.figure._plain(), self.pinhole, self.dilation, bare(self.image), bare(slope),
            bare(share), bare(gradient), bare(wrench),
        )  # fmt: skip
        return gradient, wrench
