"""What a frame shows of a head, and the sums of energies that compare the head with it (eq. 1 to 3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatarkit.data.clip import ClipFrames
from avatarkit.data.labels import shows_ears
from avatarkit.heads.model import MESH_LANDMARKS
from avatarkit.losses.patch import PatchLoss
from avatarkit.methods.nha.energies import appearance, landmarks, normals, offsets, semantics
from avatarkit.methods.nha.figure import Figure, Shape, Surface
from avatarkit.methods.nha.template import EARS, EYES, HAIR, INSIDE, SKIN, Template

Image = NDArray[np.uint8]

MILLIMETERS = 1000.0
LAPLACIAN, CONSISTENCY, DISTRIBUTION = 0.3, 5e-4, 2e-3
"""Weights of the offsets' regularizers, whose offsets count in millimeters."""
OUTLINE, REGIONS = 1.0, 0.1
"""Weights of the head's outline and of the regions inside it: labels are less sure than mattes."""
EVERYWHERE = 0.2
"""Share of the pose consistency beyond the face: what the neck does depends on the pose."""
EARS_HELD, NECK_HELD, NAPE_HELD = 3.0, 1.0, 0.1
"""Shares of the distribution's weight beyond the face: an outline that hair should fill must not pull ears and neck
into its place, which the tracked head has right. Behind the neck there may be hair; the scalp is free."""
STIFF = 10.0
"""How much smoother the offsets of bare skin are than those of hair."""
LIDS = 0.5
"""Weight of the lids' distances beside the landmarks'."""
TILES, TILE = 4, 64
"""Squares a step, and pixels of their sides, on which the perceptual energy is measured."""
_LANDMARK_WEIGHTS = landmarks.weights()


@dataclass(frozen=True)
class Weights:
    """Of the energies."""

    landmark: float
    normal: float
    semantic: float
    offset: float
    photometric: float
    perceptual: float
    lids: bool


@dataclass(frozen=True)
class Evidence:
    """A training frame at resolution R."""

    rgb: Tensor
    """[R, R, 3]"""
    matte: Tensor
    """[R, R] of the head"""
    regions: Tensor
    """[R, R, 3 or 4] skin, eyes, hair, and ears where the label maps show them"""
    known: Tensor
    """[R, R] 1 inside the video frame"""
    points: Tensor
    """[468, 2] detected landmarks, pixels of the crop"""

    @classmethod
    def of(cls, clip: ClipFrames, position: int) -> Evidence:
        """The frame at a ``position`` of the track."""
        return cls.seen(
            clip.rgb(position),
            clip.head(position),
            clip.labels(position),
            clip.points(position),
            clip.visible,
            shows_ears(clip.track.meta),
        )

    @classmethod
    def seen(
        cls, rgb: Image, matte: Image, labels: Image, points: NDArray[np.floating], visible: tuple[int, ...],
        ears: bool = False,
    ) -> Evidence:  # fmt: skip
        """Of a crop's picture [R, R, 3], head matte and labels [R, R], landmarks [L, 2] in its pixels, and left, top,
        right, bottom of what lies inside the video frame; ``ears``: whether the labels tell them from skin."""
        left, top, right, bottom = visible
        known = torch.zeros(matte.shape)
        known[top:bottom, left:right] = 1
        alpha = torch.from_numpy(matte.astype(np.float32) / 255)
        return cls(
            rgb=torch.from_numpy(rgb.astype(np.float32) / 255),
            matte=alpha,
            regions=semantics.regions(torch.from_numpy(labels.astype(np.int64)), alpha, ears),
            known=known,
            points=torch.from_numpy(np.ascontiguousarray(points[:MESH_LANDMARKS], np.float32)),
        )


@dataclass(frozen=True)
class Regularity:
    """What the regularizers of the offsets have to know of a template."""

    curvature: Tensor
    """[V, V] sparse, see ``offsets.curvature``"""
    facial: Tensor
    """[V]"""
    held: Tensor
    """[V] how much the tracked head is trusted: 1 on the face, 0 on hair"""

    @classmethod
    def of(cls, template: Template) -> Regularity:
        """Of a person's template."""
        ears = template.group == EARS
        nape = (template.unsure > 0.5) & ~ears
        skin = (template.group == SKIN) & (template.freedom > 0)
        held = np.select([ears, nape, skin], [EARS_HELD, NAPE_HELD, NECK_HELD], 0.0)
        stiffness = np.where((skin | ears) & ~nape, STIFF, 1.0)
        facial = template.facial * (template.freedom > 0)
        return cls(
            offsets.curvature(template.triangles, template.neutral, stiffness),
            torch.from_numpy(facial),
            torch.from_numpy(np.maximum(held, facial).astype(np.float32)),
        )


def geometry_energy(
    figure: Figure, shape: Shape, surface: Surface, detail: Tensor | None, evidence: Evidence, weights: Weights,
    regularity: Regularity | None,
) -> Tensor:  # fmt: skip
    """E_geom (eq. 2) without the prior on coefficients.

    ``detail`` [R, R, 3]: normals in camera space that the face's are compared with, 0 where there are none; None
    leaves E_normal out.
    """
    result = torch.zeros(())
    if weights.landmark and bool(torch.isfinite(evidence.points).all()):
        index = torch.from_numpy(figure.template.landmarks[:MESH_LANDMARKS]).long()
        projected = surface.pixels[index, :2]
        value = landmarks.landmarks(projected, evidence.points, _LANDMARK_WEIGHTS)
        if weights.lids:
            value = value + LIDS * landmarks.lids(projected, evidence.points)
        result = result + weights.landmark * value / evidence.matte.shape[0]
    if weights.normal and detail is not None:
        mask = (detail.square().sum(-1) > 0.5) & (surface.facial > 0.5)
        result = result + weights.normal * normals.normal_laplacian(surface.normals, detail, mask)
    if weights.semantic:
        result = result + weights.semantic * _semantic(figure, surface, evidence)
    if weights.offset and regularity is not None:
        own, moving = shape.offsets * MILLIMETERS, shape.moving * MILLIMETERS
        value = LAPLACIAN * offsets.laplacian(own, regularity.curvature)
        value = value + CONSISTENCY * offsets.consistency(moving, EVERYWHERE + regularity.facial)
        value = value + DISTRIBUTION * offsets.distribution(own, regularity.held)
        result = result + weights.offset * value
    return result


def _semantic(figure: Figure, surface: Surface, evidence: Evidence) -> Tensor:
    """The head's outline everywhere, its regions where the mesh knows which is which."""
    groups, doubt = surface.groups, surface.unsure
    skin, ears = groups[..., SKIN] + groups[..., INSIDE], groups[..., EARS]
    parts = [skin, groups[..., EYES], groups[..., HAIR]]
    if evidence.regions.shape[-1] > len(parts):
        parts, doubt = [*parts, ears], doubt * (1 - ears)
    else:
        parts[0] = skin + ears
    ours = torch.stack(parts, -1)
    blended = figure.blended(
        surface, torch.cat([ours, torch.ones_like(surface.opacity)], 2) * surface.opacity
    )
    # where the neck fades out, no shape could match the matte: it would only be pulled
    faded = ((surface.opacity[..., 0] > 0) & (surface.opacity[..., 0] < 0.99)).to(evidence.known.dtype)
    known = evidence.known * (1 - faded)
    outline = semantics.semantic(blended[..., -1:], evidence.matte[..., None], known)
    sure = known * (1 - doubt.detach())
    return OUTLINE * outline + REGIONS * semantics.semantic(blended[..., :-1], evidence.regions, sure)


def appearance_energy(
    picture: Tensor, evidence: Evidence, weights: Weights, perceptual: PatchLoss, generator: torch.Generator
) -> Tensor:
    """E_app (eq. 3) of a premultiplied ``picture`` [R, R, 4], both heads before one random plain background.

    A background that is never the same tells where the head ends; squares for the perceptual part lie on the head.
    """
    behind = torch.rand(3, generator=generator)
    ours = picture[..., :3] + (1 - picture[..., 3:]) * behind
    matte = evidence.matte[..., None]
    theirs = evidence.rgb * matte + behind * (1 - matte)
    result = weights.photometric * appearance.photometric(ours, theirs, evidence.known)
    side = min(TILE, evidence.matte.shape[0])
    inside = torch.nonzero(evidence.matte > 0.5)
    if weights.perceptual and len(inside):
        middle = inside[torch.randint(len(inside), (TILES,), generator=generator)]
        corners = (middle - side // 2).clamp(0, evidence.matte.shape[0] - side)
        cut = (appearance.tiles(image, corners, side) for image in (ours, theirs))
        result = result + weights.perceptual * perceptual(*cut)
    return result
