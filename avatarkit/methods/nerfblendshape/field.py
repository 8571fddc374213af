"""The radiance field: blended hash tables read by a small network (Gao et al. 2022, eq. 1 to 5)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from avatarkit.data.rays import SceneBox, image_rays
from avatarkit.methods.registry import Frame
from avatarkit.ops.composite import Composite, composite
from avatarkit.ops.encode import HashGrid, hash_encode
from avatarkit.ops.march import Samples
from avatarkit.ops.mlp import FieldWeights, field_mlp
from avatarkit.ops.occupancy import density_at
from avatarkit.ops.render import Rendered, render_rays
from avatarkit.ops.sh import spherical_harmonics
from avatarkit.ops.visible import visible_samples
from avatarkit.ops.warp import Warp, warp_points
from avatarkit.rendering.camera import Camera

# Bounds the samples of one ray: the cube's diagonal at the finest step anybody should ask for.
MAX_SAMPLES = 2048
# No ray is followed further than where this much light is left.
FAINT = 1e-3
# The same for pictures of eight bits: what lies behind such samples is less than a level of them.
UNSEEN = 1 / 255
# Pictures take samples this much farther apart than training does: an eighth of the time for .02 dB.
STRIDE = 1.25


@dataclass
class Field:
    """A network over hash tables inside a cube of head space. The tables come per image, already blended."""

    grid: HashGrid
    weights: FieldWeights
    box: SceneBox
    step: float
    """distance between samples, in sides of the box."""

    def shade(
        self,
        tables: Tensor,
        origins: Tensor,
        directions: Tensor,
        rays_per_image: tuple[int, ...],
        bitfield: Tensor,
        seed: int | None,
        stride: int = 1,
        distortion: bool = False,
        warp: Warp | None = None,
    ) -> tuple[Composite, Samples]:
        """Differentiable rendering of the rays of B images: ``tables`` [B, M], rays [R, 3] image after image.

        ``stride`` multiplies the distance between samples; ``distortion`` asks for that loss term of every ray.
        With ``warp`` (B volumes) the field is asked where the points come from; samples stay where they are seen.
        """
        step = self.step * stride
        ends = torch.tensor((0, *rays_per_image)).cumsum(0)
        # What lies behind an opaque surface gets neither color nor gradient.
        samples, points, features = visible_samples(
            origins, directions, ends, bitfield, tables, self.grid, self.weights,
            step=step, max_samples=MAX_SAMPLES, seed=seed, minimum_transmittance=FAINT, warp=warp,
        )  # fmt: skip
        features = hash_encode(points, tables, samples.ray_offsets[ends], self.grid, features)
        harmonics = spherical_harmonics(directions)
        density, rgb = field_mlp(features, harmonics, samples.ray_offsets, self.weights)
        seen = composite(
            density,
            rgb,
            samples.t,
            samples.ray_offsets,
            step,
            minimum_transmittance=FAINT,
            distortion=distortion,
        )
        return seen, samples

    def density(self, points: Tensor, table: Tensor, warp: Warp | None = None) -> Tensor:
        """[N] density of one image's field at ``points`` [N, 3] as they are seen."""
        ends = torch.tensor([0, len(points)])
        if warp is not None:
            points = warp_points(points, ends, warp)
        return density_at(points, table[None], ends, self.grid, self.weights)

    def image(
        self,
        table: Tensor,
        rotation: Tensor,
        translation: Tensor,
        camera: Camera,
        bitfield: Tensor,
        warp: Warp | None = None,
    ) -> Rendered:
        """A whole picture over black with the blended ``table`` [M]: color [H * W, 3], alpha and depth [H * W]."""
        origin, directions = image_rays(camera, rotation.numpy(), translation.numpy(), self.box)
        return render_rays(
            torch.from_numpy(origin).expand(len(directions), 3),
            torch.from_numpy(directions),
            bitfield,
            table,
            self.grid,
            self.weights,
            step=STRIDE * self.step,
            max_samples=MAX_SAMPLES,
            minimum_transmittance=UNSEEN,
            fast=True,
            warp=warp,
        )


def as_frame(rendered: Rendered, camera: Camera) -> Frame:
    """Straight color and alpha of a picture rendered over black."""
    alpha = rendered.alpha.reshape(camera.height, camera.width)
    color = rendered.color.reshape(camera.height, camera.width, 3)
    straight = (color / alpha[..., None].clamp(min=1e-4)).clamp(0, 1)
    return Frame(straight.numpy(), alpha.clamp(0, 1).numpy())
