"""The geometry network G: offsets of the head mesh that depend on the joints' pose (section 3.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from avatarkit.methods.driving import soft_clamp
from avatarkit.methods.registry import Drive

Float = NDArray[np.float32]

SPAN = 0.1
"""Meters of the template that are one unit of the network's coordinates."""
REACH = 0.02
"""Meters that one unit of the network's output is worth."""
FREQUENCY = 6.0
"""Of the first layer's sines (SIREN's omega_0): higher ones let neighboring vertices go apart."""
JOINTS = 12
"""Numbers of a joint pose phi: neck, jaw, left and right eye as axis-angles."""


@dataclass(frozen=True)
class JointRange:
    """What the training frames showed of the joint pose: ``mean`` and ``scale`` [12], ``low`` and ``high`` [12]."""

    mean: Float
    scale: Float
    low: Float
    high: Float

    @classmethod
    def of(cls, joints: Float) -> JointRange:
        """Of the joint poses [N, 12] of training frames."""
        low, high = np.percentile(joints, [1, 99], axis=0).astype(np.float32)
        scale = np.maximum(joints.std(0), 0.05)
        return cls(joints.mean(0).astype(np.float32), scale.astype(np.float32), low, high)

    def normalized(self, joints: Float) -> Float:
        """[..., 12] around zero, softly kept near the training range."""
        margin = 0.15 * (self.high - self.low) + 0.02
        inside = soft_clamp(joints, self.low, self.high, margin)
        return np.asarray((inside - self.mean) / self.scale, np.float32)


def joints_of(drive: Drive) -> Float:
    """[12] phi of a drive."""
    return np.concatenate([drive.neck, drive.jaw, np.asarray(drive.eyes).reshape(-1)]).astype(np.float32)


class Sines(nn.Linear):
    """A SIREN layer sin(W x + b), initialized as in Sitzmann et al. 2020, section 3.2, their omega_0 in the weights."""

    def __init__(self, inputs: int, outputs: int, omega: float | None = None) -> None:
        super().__init__(inputs, outputs)
        bound = math.sqrt(6 / inputs) if omega is None else omega / inputs
        with torch.no_grad():
            self.weight.uniform_(-bound, bound)
            if omega is not None:
                self.bias.mul_(omega)

    def forward(self, x: Tensor) -> Tensor:
        """[N, outputs]"""
        return torch.sin(super().forward(x))


class Geometry(nn.Module):
    """G(phi): offsets [V, 3] (meters, head space before skinning) of every vertex of the template.

    A SIREN on template coordinates gives each vertex a static offset and ``bases`` offset fields; a small network on
    the normalized joint pose mixes the fields. The fields are thus worked out once for a fitted avatar, and a frame
    costs one product with them.
    """

    places: Tensor
    freedom: Tensor

    def __init__(self, neutral: Tensor, freedom: Tensor, width: int, bases: int, static: bool) -> None:
        super().__init__()
        self.static = static
        self.register_buffer("places", neutral / SPAN, persistent=False)
        self.register_buffer("freedom", freedom[:, None], persistent=False)
        self.trunk = nn.Sequential(Sines(3, width, FREQUENCY), Sines(width, width), Sines(width, width))
        self.offsets = nn.Linear(width, 3 * (1 + bases))
        self.mixing = nn.Sequential(nn.Linear(JOINTS, 16), nn.Tanh(), nn.Linear(16, bases))
        with torch.no_grad():
            self.offsets.weight.mul_(0.02)
            self.offsets.bias.zero_()

    def fields(self) -> Tensor:
        """[V, 1 + bases, 3] meters: the static offsets, then the offset fields."""
        found = self.offsets(self.trunk(self.places)) * (REACH * self.freedom)
        return found.view(len(self.places), -1, 3)

    def mixed(self, fields: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
        """Offsets [V, 3] of ``fields`` for a normalized joint pose [12], and the part of them that depends on it."""
        if self.static:
            return fields[:, 0], torch.zeros_like(fields[:, 0])
        share = self.mixing(joints)
        moving = torch.einsum("k,vkc->vc", share, fields[:, 1:])
        return fields[:, 0] + moving, moving
