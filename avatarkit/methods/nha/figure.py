"""The neural head: template, geometry and texture network together; posing, projecting and drawing it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from avatarkit.methods.drivers import Drivers
from avatarkit.methods.nha.geometry import Geometry, JointRange, joints_of
from avatarkit.methods.nha.template import GROUPS, Template
from avatarkit.methods.nha.texture import SPREAD, Texture
from avatarkit.methods.registry import Drive
from avatarkit.ops import raster
from avatarkit.ops.normals import Incidence, vertex_normals
from avatarkit.rendering.camera import Camera

Float = NDArray[np.float32]

CUBE = 0.55
"""Meters a side of the cube around the template in which the texture's points lie."""
MARGIN, SOFT = 0.15, 0.35
"""Cosines between view and normal: how much more squarely than it was ever seen a point still shows the network's
color, and over how much more that color fades out."""
NECK, LEFT_EYE, RIGHT_EYE = 1, 3, 4
"""Columns of the skinning."""


@dataclass(frozen=True)
class Moment:
    """What the head is told of one frame, as tensors: gradients may flow to each."""

    rotation: Tensor
    """[3, 3] head to camera"""
    translation: Tensor
    """[3] meters"""
    expression: Tensor
    """[E]"""
    neck: Tensor
    """[3] axis-angle"""
    eyes: Tensor
    """[2, 3] axis-angle"""
    joints: Tensor
    """[12] normalized joint pose, for the geometry network"""
    code: Tensor
    """[K] expression and pose, for the texture network"""


@dataclass(frozen=True)
class Shape:
    """The mesh of a moment."""

    vertices: Tensor
    """[V, 3] camera space"""
    offsets: Tensor
    """[V, 3] of the geometry network"""
    moving: Tensor
    """[V, 3] the part of them that depends on the joints"""


@dataclass(frozen=True)
class Surface:
    """What a camera sees of a shape: fragments, and values at every pixel (0 where empty)."""

    pixels: Tensor
    """[V, 3] projected vertices and their depth"""
    face: Tensor
    """[H, W] int32"""
    barycentric: Tensor
    """[H, W, 3]"""
    depth: Tensor
    """[H, W]"""
    normals: Tensor
    """[H, W, 3] unit normals, camera space"""
    values: Tensor
    """[H, W, 3 + 5] opacity, doubt between skin and hair, share of the face, and share of every group"""

    focal: float
    """pixels, of the camera"""

    @property
    def opacity(self) -> Tensor:
        """[H, W, 1]"""
        return self.values[..., :1]

    @property
    def unsure(self) -> Tensor:
        """[H, W]"""
        return self.values[..., 1]

    @property
    def facial(self) -> Tensor:
        """[H, W]"""
        return self.values[..., 2]

    @property
    def groups(self) -> Tensor:
        """[H, W, 5] of ``template.GROUPS``"""
        return self.values[..., 3:]

    @cached_property
    def visible(self) -> Tensor:
        """[N] flat indices of the pixels that show the mesh."""
        return torch.nonzero(self.face.reshape(-1) >= 0)[:, 0]


class Figure(nn.Module):
    """A person's neural head."""

    def __init__(
        self, template: Template, drivers: Drivers, joints: JointRange, width: int, bases: int, focal: float, *,
        static_geometry: bool = False, static_texture: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.template, self.drivers, self.joints, self.focal = template, drivers, joints, focal
        neutral = torch.from_numpy(template.neutral)
        self.neutral = neutral
        self.rasterize: raster.Rasterizer = raster.rasterize
        self.geometry = Geometry(neutral, torch.from_numpy(template.freedom), width, bases, static_geometry)
        self.texture = Texture(len(drivers), width, static_texture)
        self.triangles = torch.from_numpy(template.triangles)
        self.around = Incidence.of(template.triangles, len(template))
        self.opposite = raster.edge_opposites(template.triangles)
        center = (template.neutral.min(0) + template.neutral.max(0)) / 2
        self.places = (neutral - torch.from_numpy(center)) / CUBE + 0.5
        self.coverage: Tensor | None = None
        """[V, 4] plain colors and how squarely a vertex was seen; None during the fit"""
        skinning = torch.from_numpy(template.skinning)
        self._weights = skinning[:, [NECK, LEFT_EYE, RIGHT_EYE]].t().contiguous()
        self._hinges = torch.from_numpy(template.joints[[0, 2, 3]])
        groups = torch.nn.functional.one_hot(torch.from_numpy(template.group).long(), len(GROUPS)).float()
        self._values = torch.cat(
            [
                *(
                    torch.from_numpy(part)[:, None]
                    for part in (template.opacity, template.unsure, template.facial)
                ),
                groups,
            ],
            1,
        )

    @cached_property
    def shapes(self) -> Tensor:
        """[E, 3V] meters."""
        flat = torch.from_numpy(self.template.shapes).float().flatten(1)
        return flat * torch.from_numpy(self.template.unit)[:, None]

    def moment(self, drive: Drive) -> Moment:
        """What a drive tells the head."""
        parts = (
            drive.rotation, drive.translation, drive.expression, drive.neck, drive.eyes,
            self.joints.normalized(joints_of(drive)), self.drivers.of_drive(drive)[0],
        )  # fmt: skip
        rotation, translation, expression, neck, eyes, joints, code = (
            torch.from_numpy(np.ascontiguousarray(part, np.float32)) for part in parts
        )
        return Moment(rotation, translation, expression, neck, eyes, joints, code)

    def shape(self, moment: Moment, fields: Tensor) -> Shape:
        """The mesh of ``moment``; ``fields`` [V, 1 + K, 3] of the geometry network."""
        offsets, moving = self.geometry.mixed(fields, moment.joints)
        head = self.posed(moment, offsets)
        return Shape(head @ moment.rotation.t() + moment.translation, offsets, moving)

    def tracked(self, moment: Moment) -> Tensor:
        """[V, 3] camera space: the tracked head of ``moment``, without offsets."""
        return self.posed(moment, None) @ moment.rotation.t() + moment.translation

    def posed(self, moment: Moment, offsets: Tensor | None) -> Tensor:
        """[V, 3] head space: expressions and offsets, then linear blend skinning by neck and eyes."""
        points = self.neutral + (moment.expression @ self.shapes).view(-1, 3)
        if offsets is not None:
            points = points + offsets
        turns = turning(torch.stack([-moment.neck, moment.eyes[0], moment.eyes[1]]))
        moved = points
        for weight, hinge, turn in zip(self._weights, self._hinges, turns, strict=True):
            arm = (points - hinge) @ (turn.t() - torch.eye(3))
            moved = moved + weight[:, None] * arm
        return moved

    def surface(self, vertices: Tensor, camera: Camera) -> Surface:
        """What ``camera`` sees of ``vertices`` [V, 3] in camera space."""
        k = torch.from_numpy(np.asarray(camera.intrinsics, np.float32))
        depth = vertices[:, 2:]
        flat = vertices[:, :2] / depth * torch.stack([k[0, 0], k[1, 1]]) + k[:2, 2]
        pixels = torch.cat([flat, depth], 1)
        face, barycentric, z = self.rasterize(pixels, self.triangles, camera.height, camera.width)
        normals = vertex_normals(vertices, self.around)
        attributes = torch.cat([normals, self._values], 1)
        seen = raster.interpolate(attributes, self.triangles, face, barycentric)
        length = seen[..., :3].square().sum(-1, keepdim=True).clamp_min(1e-12).rsqrt()
        return Surface(
            pixels,
            face,
            barycentric,
            z,
            seen[..., :3] * length,
            seen[..., 3:],
            float(camera.intrinsics[0, 0]),
        )

    def colors(self, surface: Surface, moment: Moment) -> Tensor:
        """[N, 3] of the visible pixels."""
        spread = max(round(SPREAD * surface.focal / self.focal), 1)
        face = surface.face.reshape(-1)[surface.visible]
        share = surface.barycentric.reshape(-1, 3)[surface.visible]
        places = self._at(self.places, face, share)
        patches = self.texture.patches(surface.normals, surface.visible, spread)
        color: Tensor = self.texture(places, patches, moment.code)
        if self.coverage is None:
            return color
        now = -surface.normals.reshape(-1, 3)[:, 2].index_select(0, surface.visible)
        certain = trust(self._at(self.coverage[:, 3:].contiguous(), face, share)[:, 0], now)
        doubted = torch.nonzero(certain < 1)[:, 0]
        plain = self._at(self.coverage[:, :3].contiguous(), face[doubted], share[doubted])
        mixed = torch.lerp(plain, color[doubted], certain[doubted, None])
        return color.index_copy(0, doubted, mixed)

    def _at(self, attributes: Tensor, face: Tensor, share: Tensor) -> Tensor:
        """[N, C] of ``attributes`` [V, C] on faces [N] at barycentric shares [N, 3]."""
        return raster.interpolate(attributes, self.triangles, face[None, None], share[None, None])[0, 0]

    def blended(self, surface: Surface, values: Tensor) -> Tensor:
        """[H, W, C] of ``values`` [H, W, C], anti-aliased along the outlines: vertices get their gradients here."""
        return raster.antialias(
            values, surface.pixels, self.triangles, self.opposite, surface.face, surface.depth
        )

    def picture(self, surface: Surface, moment: Moment) -> Tensor:
        """[H, W, 4] premultiplied color and alpha."""
        height, width = surface.face.shape
        color = self.colors(surface, moment)
        whole = color.new_zeros(height * width, 3).index_copy(0, surface.visible, color)
        values = torch.cat([whole.view(height, width, 3) * surface.opacity, surface.opacity], 2)
        return self.blended(surface, values)

    def draw(self, drive: Drive, camera: Camera, fields: Tensor) -> Tensor:
        """[H, W, 4] premultiplied picture of a drive, without gradients."""
        with torch.no_grad():
            moment = self.moment(drive)
            return self.picture(self.surface(self.shape(moment, fields).vertices, camera), moment)


def trust(seen: Tensor, now: Tensor) -> Tensor:
    """[N] share of the network's color at points that show the cosine ``now`` between normal and view.

    ``seen`` [N] is the cosine at which training frames showed them best: 1 up to ``MARGIN`` beyond it, falling to 0.
    """
    share = ((seen - now + (MARGIN + SOFT)) / SOFT).clamp(0, 1)
    return share * share * (3 - 2 * share)


def turning(vectors: Tensor) -> Tensor:
    """[N, 3, 3] rotations of axis-angles [N, 3] (Rodrigues), differentiable at zero."""
    angle = vectors.square().sum(1).clamp_min(1e-16).sqrt()[:, None, None]
    zero = torch.zeros_like(vectors[:, 0])
    x, y, z = vectors.unbind(1)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).view(-1, 3, 3)
    sine, cosine = torch.sin(angle) / angle, (1 - torch.cos(angle)) / angle.square()
    return torch.eye(3, dtype=vectors.dtype) + sine * cross + cosine * (cross @ cross)
