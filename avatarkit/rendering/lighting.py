"""Studio light on a posed head: soft shadows and occlusion by depth maps, skin that lets light through.

Everything here is per vertex and in camera-aligned space (x right, y up, z towards the camera, any origin).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from avatarkit.ops import raster

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Light:
    """A distant light: ``direction`` towards it, linear ``color`` and, for its highlight, a relative ``size``."""

    direction: tuple[float, float, float]
    color: tuple[float, float, float]
    size: float = 0.3
    shadow: bool = False

    @property
    def towards(self) -> Array:
        """[3] unit vector towards the light."""
        d = np.array(self.direction, np.float32)
        return d / np.linalg.norm(d)


STUDIO = (
    Light(
        (-0.74, 0.60, 0.60), (2.05, 1.86, 1.64), 0.35, shadow=True
    ),  # key: high, from the viewer's left, warm
    Light((0.85, 0.12, 0.62), (0.40, 0.46, 0.56), 0.7),  # fill: low, from the right, cool
    Light((0.55, 0.45, -0.75), (1.05, 1.05, 1.15), 0.3),  # rim: from behind
    Light((-0.85, 0.15, -0.55), (0.45, 0.48, 0.55), 0.3),  # kicker: the other edge
)
SKY, GROUND = (0.40, 0.43, 0.48), (0.24, 0.20, 0.19)
"""Ambient light from above and below."""
_WRAP = (0.42, 0.22, 0.14)
"""How far past the terminator skin still glows: red light travels farthest under it."""


def around(count: int) -> Array:
    """``count`` directions [count, 3] spread evenly over the sphere (Fibonacci lattice)."""
    i = np.arange(count) + 0.5
    z, phi = 1 - 2 * i / count, np.pi * (1 + 5**0.5) * i
    radius = np.sqrt(1 - z * z)
    return np.stack([radius * np.cos(phi), radius * np.sin(phi), z], 1).astype(np.float32)


def visibility(
    points: Tensor, normals: Tensor, casters: Tensor, triangles: Tensor, directions: Array, size: int,
    lift: float = 0.004, soft: float = 0.003, reach: int = 0,
) -> Tensor:  # fmt: skip
    """How freely each of ``points`` [N, 3] sees the ``directions`` [D, 3]: [D, N] in [0, 1].

    ``casters`` [V, 3] with ``triangles`` [F, 3] are drawn once per direction into a ``size`` squared depth map.
    Points are tested ``lift`` meters above their surface; the test is soft over ``soft`` meters of depth and,
    with ``reach`` > 0, over a (2 reach + 1)^2 window of the map.
    """
    z = torch.from_numpy(np.ascontiguousarray(directions, np.float32))
    helper = torch.where(z[:, 1:2].abs() > 0.9, torch.tensor([[1.0, 0, 0]]), torch.tensor([[0.0, 1, 0]]))
    x = F.normalize(torch.linalg.cross(helper, z), dim=1)
    y = torch.linalg.cross(z, x)
    axes = torch.stack([x, y, z], 2)  # [D, 3, 3]: world to light is p @ axes
    center = (casters.amax(0) + casters.amin(0)) / 2
    radius = (casters - center).norm(dim=1).amax() * 1.02
    seen = (casters - center) @ axes  # [D, V, 3]
    pixels = torch.stack(
        [(seen[..., 0] / radius + 1) * (size / 2), (seen[..., 1] / radius + 1) * (size / 2), -seen[..., 2]], 2
    )
    face, _, depth = raster.rasterize(pixels, triangles, size, size, perspective=False)
    depth = torch.where(face >= 0, depth, torch.full_like(depth, 1e3))
    tested = (points + lift * normals - center) @ axes  # [D, N, 3]
    grid = (tested[..., :2] / radius)[:, :, None]
    total = torch.zeros(tested.shape[:2])
    steps = range(-reach, reach + 1)
    for i in steps:
        for j in steps:
            shift = torch.tensor([i, j], dtype=torch.float32) * (2 / size)
            sample = F.grid_sample(depth[:, None], grid + shift, align_corners=False, mode="nearest")[
                :, 0, :, 0
            ]
            total += ((sample + tested[..., 2]) / soft + 1).clamp(0, 1)
    return total / len(steps) ** 2


@dataclass(frozen=True)
class Irradiance:
    """What reaches the vertices: diffuse light [N, 3], its shadowed key share [N], and openness [N]."""

    diffuse: Array
    key: Array
    openness: Array


def illuminate(
    points: Array, normals: Array, casters: Array, triangles: Tensor, sharp: Tensor, translucent: Array,
    smoother: Any, lights: tuple[Light, ...] = STUDIO, directions: int = 20, size: int = 112,
) -> Irradiance:  # fmt: skip
    """Light on ``points`` [N, 3] with ``normals`` [N, 3], shaded by the mesh ``casters``, ``triangles``.

    Only the triangles ``sharp`` cast a shadow in the key light; all of them keep the ambient light out.
    ``smoother``, a sparse [N, N] averaging matrix, spreads both: light that went under the skin comes out nearby.
    ``translucent`` [N] in [0, 1] mixes plain Lambert with a wrapped profile per color channel, which is what
    subsurface scattering leaves of a terminator (after Penner, *Pre-Integrated Skin Shading*, 2011).
    """
    p, n, c = (torch.from_numpy(np.ascontiguousarray(a, np.float32)) for a in (points, normals, casters))
    sphere = around(directions)
    weight = (n @ torch.from_numpy(sphere.T)).clamp_min(0).T  # [D, N]
    open_to = visibility(p, n, c, triangles, sphere, size)
    openness = smoother @ ((open_to * weight).sum(0) / weight.sum(0).clamp_min(1e-6)).numpy()
    upward = (0.5 + 0.5 * normals[:, 1])[:, None]
    ambient = upward * np.array(SKY, np.float32) + (1 - upward) * np.array(GROUND, np.float32)
    # Light that skin scatters inside a hollow comes back red: occlusion bites less there.
    hollow = openness[:, None] ** np.array([0.85, 1.05, 1.15], np.float32)
    diffuse = ambient * hollow
    key = np.ones(len(points), np.float32)
    wrap = translucent[:, None] * np.array(_WRAP, np.float32)
    for light in lights:
        towards = light.towards
        lit = np.clip((normals @ towards)[:, None] + wrap, 0, None) / (1 + wrap) ** 2
        if light.shadow:
            shade = visibility(p, n, c, sharp, towards[None], 384, lift=0.006, soft=0.010, reach=3)[0].numpy()
            shade = smoother @ (smoother @ shade)
            key = shade
            lit = lit * shade[:, None] ** (
                1 - 0.20 * translucent[:, None] * np.array([1.0, 0.3, 0.0], np.float32)
            )
        else:
            lit = lit * np.clip(1.5 * openness, 0, 1)[:, None]
        diffuse = diffuse + lit * np.array(light.color, np.float32)
    return Irradiance(diffuse.astype(np.float32), key, openness)


def brightened(light: Irradiance, inner: NDArray[np.bool_], least: float = 0.22) -> Irradiance:
    """``light`` with a floor under the ``inner`` vertices [V]: what wet red walls pass on to each other in a mouth."""
    count = len(inner)
    diffuse = light.diffuse.copy()
    glow = np.array([1.0, 0.72, 0.66], np.float32) * least
    reach = np.clip(0.40 + 2.0 * light.openness[:count], 0, 1)[:, None]
    diffuse[:count] = np.where(inner[:, None], np.maximum(diffuse[:count], glow * reach), diffuse[:count])
    return Irradiance(diffuse, light.key, light.openness)
