"""Where the Gaussians of a person begin: on face and mouth, on the eyes, and on a card for hair, neck and shoulders."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from avatarkit.heads.model import HeadModel
from avatarkit.methods.gaussians import rig as rigs
from avatarkit.methods.gaussians.card import Card
from avatarkit.methods.gaussians.footage import Footage
from avatarkit.methods.gaussians.patch import Patch, face_normals, looked_up
from avatarkit.methods.gaussians.rig import Rig
from avatarkit.methods.registry import Drive
from avatarkit.ops.anchors import CHANNELS

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

DENSITY = {"lips": 3.0, "eyelids": 2.5, "brows": 1.6, "skin": 1.3}
CARD_DENSITY = 0.8
"""Gaussians an area, relative to each other."""
MOUTH_SHARE, WHITE_SHARE, IRIS_SHARE = 0.06, 0.02, 0.016
"""Of all Gaussians: inside the mouth; on the whites and on the irises of both eyes."""
INSIDE = {
    "teeth": (0.72, 0.66, 0.58), "gums": (0.5, 0.26, 0.25),
    "tongue": (0.56, 0.31, 0.29), "mouth": (0.2, 0.09, 0.09),
}  # fmt: skip
"""Colors of what lies in a mouth, beside skin as bright as ``SKIN``; the clip's own count as soon as it shows them."""
SKIN = 0.55
SUPPOSED = 0.3
"""Frames that such a color counts as much as."""
OPACITY = 0.8
SPREAD, FLATNESS = 0.6, 0.3
"""Deviation of a Gaussian over the distance to its neighbors, and of its thickness over that."""
LOOKS = 24
"""Frames that colors and occupancy are taken from."""


@dataclass(frozen=True)
class Planting:
    """The Gaussians before any training."""

    base: Tensor
    """[14, N], see ``ops.anchors``"""
    bone: Tensor
    """[N] int32"""
    opening: Tensor
    """[N] int8 index into ``rig.CONTOURS`` of what each is seen through; -1: nothing"""


def plant(
    head: HeadModel,
    neutral: Float,
    rig: Rig,
    clip: Footage,
    drives: list[Drive],
    positions: NDArray[np.int64],
    count: int,
    seed: int,
) -> Planting:
    """``count`` Gaussians of the person of ``neutral`` [V, 3], whom ``drives`` move in the frames ``positions``."""
    random = np.random.default_rng(seed)
    chosen = np.unique(np.linspace(0, len(positions) - 1, min(LOOKS, len(positions))).round().astype(int))
    looks = [(int(positions[i]), drives[i]) for i in chosen]
    mouth, whites, irises = (round(count * share) for share in (MOUTH_SHARE, WHITE_SHARE, IRIS_SHARE))
    patches = [_mouth(rig, neutral, head, mouth, random)]
    for side in (0, 1):
        patches += _eye(head, neutral, side, whites // 2, irises // 2, random)
    area = _face_area(head, rig, neutral)
    card = Card.of(head, neutral, rig, clip, looks)
    rest = count - sum(len(patch.points) for patch in patches)
    face = round(rest * area.sum() / (area.sum() + CARD_DENSITY * card.area))
    patches.append(_surface(rig, neutral, area, face, random, -1))
    patches.append(card.planted(rest - face))
    return _gathered(patches, rig, clip, looks)


def _gathered(patches: list[Patch], rig: Rig, clip: Footage, looks: list[tuple[int, Drive]]) -> Planting:
    points = np.concatenate([patch.points for patch in patches])
    bone = np.concatenate([patch.bone for patch in patches])
    opening = np.concatenate([np.full(len(patch.points), patch.opening) for patch in patches])
    base = np.zeros((CHANNELS, len(points)), np.float32)
    base[:3] = points.T
    base[3] = np.log(OPACITY / (1 - OPACITY))
    base[4:7] = _supposed(*_colors(points, bone, opening, rig, clip, looks), patches).T
    base[7:11] = _turned(np.concatenate([patch.normals for patch in patches])).T
    along, across = SPREAD * np.concatenate([_both(patch.spacing) for patch in patches], 1)
    base[11:14] = np.log(np.stack([along, across, FLATNESS * across]))
    return Planting(
        torch.from_numpy(base),
        torch.from_numpy(bone.astype(np.int32)),
        torch.from_numpy(opening.astype(np.int8)),
    )


def _both(spacing: Float) -> Float:
    """[2, n] spacing along and across the slope."""
    return spacing.T if spacing.ndim == 2 else np.stack([spacing, spacing])


def _turned(normals: Float) -> Float:
    """[N, 4] quaternions (w, x, y, z) that turn the z axis to ``normals``, and the x axis down their slope."""
    normal = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    forward = np.where(np.abs(normal[:, 2:]) < 0.999, [[0, 0, 1]], [[1, 0, 0]])
    slope = forward - (forward * normal).sum(1, keepdims=True) * normal
    slope /= np.linalg.norm(slope, axis=1, keepdims=True)
    frame = np.stack([slope, np.cross(normal, slope), normal], -1)
    return Rotation.from_matrix(frame).as_quat()[:, [3, 0, 1, 2]].astype(np.float32)


# The mesh ----------------------------------------------------------------------------------------------


def _kept(head: HeadModel) -> NDArray[np.int32]:
    """[F, 3] the rig's triangles in the head's numbering."""
    return head.triangles[head.region_mask(*rigs.FACE, *rigs.MOUTH)[head.triangles].all(1)]


def _face_area(head: HeadModel, rig: Rig, neutral: Float) -> Float:
    """[F] area of the rig's triangles weighted by density; 0 inside the mouth and where the skin faces away."""
    triangles = _kept(head)
    normal = face_normals(neutral, triangles)
    true = np.linalg.norm(normal, axis=1) / 2
    facing = np.maximum(normal[:, 2] / 2, 0.35 * true) * (normal[:, 2] > 0.05 * true)
    weight = np.zeros(len(triangles))
    for name, density in DENSITY.items():
        inside = head.region_mask(name)[triangles]
        weight = np.maximum(weight, density * inside.mean(1))
    weight[head.region_mask(*rigs.MOUTH)[triangles].any(1)] = 0
    return np.asarray(weight * facing, np.float32)


def _mouth(rig: Rig, neutral: Float, head: HeadModel, count: int, random: np.random.Generator) -> Patch:
    """Teeth, gums, tongue and the dark behind them, where they face the lips."""
    triangles = _kept(head)
    normal = face_normals(neutral, triangles)
    true = np.linalg.norm(normal, axis=1) / 2
    forward = normal[:, 2] / np.maximum(2 * true, 1e-12)
    weight = np.zeros(len(triangles))
    for name, density, least in (
        ("teeth", 1.0, 0.2),
        ("gums", 0.7, 0.2),
        ("tongue", 1.0, -0.3),
        ("mouth", 0.7, -0.5),
    ):
        inside = head.region_mask(name)[triangles].all(1)
        weight[inside & (forward > least)] = density
    patch = _surface(rig, neutral, np.asarray(weight * true, np.float32), count, random, 2)
    names = np.array(head.region_names)[head.region[triangles[patch.bone - rigs.RIGID]]]
    first = np.where(np.isin(names[:, 0], list(INSIDE)), names[:, 0], "mouth")
    return replace(patch, supposed=np.array([INSIDE[name] for name in first], np.float32).reshape(-1, 3))


def _surface(
    rig: Rig, neutral: Float, area: Float, count: int, random: np.random.Generator, opening: int
) -> Patch:
    """``count`` points on the rig's triangles, by ``area`` [F]."""
    index, points, spacing = _scattered(rig.neutral, rig.triangles, area, count, random)
    facing = face_normals(rig.neutral, rig.triangles)[index]
    return Patch(points, facing, spacing, rigs.RIGID + index, opening)


def _scattered(
    vertices: Float, triangles: NDArray[np.int32], area: Float, count: int, random: np.random.Generator
) -> tuple[NDArray[np.int64], Float, Float]:
    """(triangle [n], point [n, 3], spacing [n]) of points drawn by ``area`` [F], systematically."""
    steps = np.cumsum(area, dtype=np.float64)
    places = (np.arange(count) + random.random()) / max(count, 1) * steps[-1]
    index = np.minimum(np.searchsorted(steps, places), len(area) - 1)
    share = random.random((count, 2))
    share = np.where(share.sum(1, keepdims=True) > 1, 1 - share, share)
    a, b, c = (vertices[triangles[index, i]] for i in range(3))
    points = a + share[:, :1] * (b - a) + share[:, 1:] * (c - a)
    true = np.linalg.norm(face_normals(vertices, triangles), axis=1) / 2
    per_point = steps[-1] / max(count, 1) * true[index] / np.maximum(area[index], 1e-12)
    return index, points.astype(np.float32), np.sqrt(per_point).astype(np.float32)


def _eye(
    head: HeadModel, neutral: Float, side: int, whites: int, irises: int, random: np.random.Generator
) -> list[Patch]:
    """The white of one eye, which stays with the skull, and its iris, which the gaze moves."""
    own = head.skinning[:, 3 + side] > 0.5
    center = head.joints_of(neutral)[2 + side]
    patches = []
    for names, count, bone in (
        (("sclera",), whites, rigs.SKULL),
        (("iris", "pupil"), irises, (rigs.IRIS_LEFT, rigs.IRIS_RIGHT)[side]),
    ):
        triangles = head.triangles[(own & head.region_mask(*names))[head.triangles].all(1)]
        true = np.linalg.norm(face_normals(neutral, triangles), axis=1) / 2
        front = (neutral[triangles].mean(1) - center)[:, 2]
        reach = np.linalg.norm(neutral[triangles].mean(1) - center, axis=1)
        area = np.where(front > 0.35 * reach, true, 0).astype(np.float32)
        if not area.sum():
            area = true.astype(np.float32)
        _, points, spacing = _scattered(neutral, triangles, area, count, random)
        patches.append(Patch(points, points - center, spacing, np.full(count, bone), side))
    return patches


# The card ----------------------------------------------------------------------------------------------


def _colors(
    points: Float,
    bone: NDArray[np.int64],
    opening: NDArray[np.int64],
    rig: Rig,
    clip: Footage,
    looks: list[tuple[int, Drive]],
) -> tuple[Float, Float]:
    """[N, 3] mean color of the frames where each Gaussian is seen on the person, and [N, 1] in how many it is."""
    total, weight = np.zeros((len(points), 3)), np.full((len(points), 1), 1e-6)
    still = np.eye(3, 4, dtype=np.float32)
    for position, drive in looks:
        vertices = rig.posed(drive.expression)
        maps = rig.transforms(drive, vertices, still, still).reshape(3, 4, -1)[..., bone]
        moved = np.einsum("ijn,nj->in", maps[:, :3], points) + maps[:, 3]
        place = clip.camera.project(moved.T).astype(np.float32) - 0.5
        known = clip.person(position).astype(np.float32)[..., None] / 255
        picture = np.dstack([clip.rgb(position).astype(np.float32) / 255, known**4])
        values = looked_up(picture, place)
        seen = values[:, 3:] + 1e-4
        for i, hole in enumerate(map(rigs.Opening, *rig.openings(drive, vertices))):
            behind = opening == i
            seen[behind, 0] *= hole.seen(moved[:, behind]) + 1e-4
        total += seen * values[:, :3]
        weight += seen
    return (total / weight).astype(np.float32), weight.astype(np.float32)


def _supposed(color: Float, seen: Float, patches: list[Patch]) -> Float:
    """[N, 3] ``color`` of the Gaussians of ``patches``, ``seen`` [N, 1] times, mixed with what is supposed of them."""
    tone = float(np.median(color[seen[:, 0] > 1].mean(1))) if (seen > 1).any() else SKIN
    result, at = color.copy(), 0
    for patch in patches:
        part = slice(at, at + len(patch.points))
        if patch.supposed is not None:
            share = SUPPOSED / (SUPPOSED + seen[part])
            result[part] += share * (np.minimum(patch.supposed * tone / SKIN, 1) - result[part])
        at = part.stop
    return result
