"""Where the Gaussians of a person begin: on face and mouth, on the eyes, and on a card for hair, neck and shoulders."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from avatarkit.data.plate import pull_push
from avatarkit.heads.model import HeadModel
from avatarkit.methods.gaussians import rig as rigs
from avatarkit.methods.gaussians.footage import Footage
from avatarkit.methods.gaussians.rig import Rig
from avatarkit.methods.registry import Drive
from avatarkit.ops.anchors import CHANNELS
from avatarkit.ops.raster import rasterize

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
STEEPEST = 0.3
"""Cosine of the slope up to which Gaussians of the card grow along it."""
OCCUPIED = 0.12
"""Share of the frames in which a place must show the person to be planted."""
SURELY = 0.9
"""The same where no frame can show it, beyond the crop's edges."""
LOOKS = 24
"""Frames that colors and occupancy are taken from."""
MARGIN = 0.12
"""Share of the crop by which the card reaches beyond its edges."""
BEHIND = 0.5
"""Share of the way back to the neck at which the card lies under the chin."""
NECK = 0.5
"""Part of the face's height, below the chin, over which the head's motion passes into the torso's."""


@dataclass(frozen=True)
class Planting:
    """The Gaussians before any training."""

    base: Tensor
    """[14, N], see ``ops.anchors``"""
    bone: Tensor
    """[N] int32"""
    opening: Tensor
    """[N] int8 index into ``rig.CONTOURS`` of what each is seen through; -1: nothing"""


@dataclass(frozen=True)
class _Patch:
    """Gaussians of one origin at rest."""

    points: Float
    """[n, 3]"""
    normals: Float
    """[n, 3] of any length"""
    spacing: Float
    """[n] meters to the neighbors, or [n, 2] along the slope towards the camera and across it"""
    bone: NDArray[np.int64]
    opening: int
    supposed: Float | None = None
    """[n, 3] color where no frame shows it"""


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
    card = _Card.of(head, neutral, rig, clip, looks)
    rest = count - sum(len(patch.points) for patch in patches)
    face = round(rest * area.sum() / (area.sum() + CARD_DENSITY * card.area))
    patches.append(_surface(rig, neutral, area, face, random, -1))
    patches.append(card.planted(rest - face))
    return _gathered(patches, rig, clip, looks)


def _gathered(patches: list[_Patch], rig: Rig, clip: Footage, looks: list[tuple[int, Drive]]) -> Planting:
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


def _normals(neutral: Float, triangles: NDArray[np.int32]) -> Float:
    """[F, 3] of length twice the area."""
    a, b, c = (neutral[triangles[:, i]] for i in range(3))
    return np.cross(b - a, c - a)


def _kept(head: HeadModel) -> NDArray[np.int32]:
    """[F, 3] the rig's triangles in the head's numbering."""
    return head.triangles[head.region_mask(*rigs.FACE, *rigs.MOUTH)[head.triangles].all(1)]


def _face_area(head: HeadModel, rig: Rig, neutral: Float) -> Float:
    """[F] area of the rig's triangles weighted by density; 0 inside the mouth and where the skin faces away."""
    triangles = _kept(head)
    normal = _normals(neutral, triangles)
    true = np.linalg.norm(normal, axis=1) / 2
    facing = np.maximum(normal[:, 2] / 2, 0.35 * true) * (normal[:, 2] > 0.05 * true)
    weight = np.zeros(len(triangles))
    for name, density in DENSITY.items():
        inside = head.region_mask(name)[triangles]
        weight = np.maximum(weight, density * inside.mean(1))
    weight[head.region_mask(*rigs.MOUTH)[triangles].any(1)] = 0
    return np.asarray(weight * facing, np.float32)


def _mouth(rig: Rig, neutral: Float, head: HeadModel, count: int, random: np.random.Generator) -> _Patch:
    """Teeth, gums, tongue and the dark behind them, where they face the lips."""
    triangles = _kept(head)
    normal = _normals(neutral, triangles)
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
) -> _Patch:
    """``count`` points on the rig's triangles, by ``area`` [F]."""
    index, points, spacing = _scattered(rig.neutral, rig.triangles, area, count, random)
    normals = _normals(rig.neutral, rig.triangles)[index]
    return _Patch(points, normals, spacing, rigs.RIGID + index, opening)


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
    true = np.linalg.norm(_normals(vertices, triangles), axis=1) / 2
    per_point = steps[-1] / max(count, 1) * true[index] / np.maximum(area[index], 1e-12)
    return index, points.astype(np.float32), np.sqrt(per_point).astype(np.float32)


def _eye(
    head: HeadModel, neutral: Float, side: int, whites: int, irises: int, random: np.random.Generator
) -> list[_Patch]:
    """The white of one eye, which stays with the skull, and its iris, which the gaze moves."""
    own = head.skinning[:, 3 + side] > 0.5
    center = head.joints_of(neutral)[2 + side]
    patches = []
    for names, count, bone in (
        (("sclera",), whites, rigs.SKULL),
        (("iris", "pupil"), irises, (rigs.IRIS_LEFT, rigs.IRIS_RIGHT)[side]),
    ):
        triangles = head.triangles[(own & head.region_mask(*names))[head.triangles].all(1)]
        true = np.linalg.norm(_normals(neutral, triangles), axis=1) / 2
        front = (neutral[triangles].mean(1) - center)[:, 2]
        reach = np.linalg.norm(neutral[triangles].mean(1) - center, axis=1)
        area = np.where(front > 0.35 * reach, true, 0).astype(np.float32)
        if not area.sum():
            area = true.astype(np.float32)
        _, points, spacing = _scattered(neutral, triangles, area, count, random)
        patches.append(_Patch(points, points - center, spacing, np.full(count, bone), side))
    return patches


# The card ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Card:
    """What of the person lies around the face at rest, a place for every pixel of an enlarged crop."""

    points: Float
    """[H, W, 3] head space"""
    share: Float
    """[H, W] of the torso in its motion"""
    free: Bool
    """[H, W] to be planted"""
    pixel: Float
    """[H, W] meters that a pixel measures"""

    @property
    def area(self) -> float:
        """Square meters."""
        return float(np.square(self.pixel)[self.free].sum())

    @classmethod
    def of(
        cls, head: HeadModel, neutral: Float, rig: Rig, clip: Footage, looks: list[tuple[int, Drive]]
    ) -> _Card:
        side = clip.resolution
        border = round(MARGIN * side)
        size = side + 2 * border
        k = np.array(clip.camera.intrinsics, np.float64)
        k[:2, 2] += border
        focal = (k[0, 0] + k[1, 1]) / 2
        seen = neutral @ rig.rotation.T + rig.translation
        pixels = np.column_stack([seen[:, :2] / seen[:, 2:] * (k[0, 0], k[1, 1]) + k[:2, 2], seen[:, 2]])
        solid = head.triangles
        skin = head.triangles[head.region_mask(*rigs.FACE)[head.triangles].all(1)]
        facing = _normals(neutral, skin)
        skin = skin[facing[:, 2] > 0.05 * np.linalg.norm(facing, axis=1)]
        _, _, depth = rasterize(
            torch.from_numpy(pixels.astype(np.float32)),
            torch.from_numpy(np.ascontiguousarray(solid)),
            size,
            size,
        )
        face, _, _ = rasterize(
            torch.from_numpy(pixels.astype(np.float32)),
            torch.from_numpy(np.ascontiguousarray(skin)),
            size,
            size,
        )
        # eyes and mouth are holes of the skin, but no place for the card
        covered = _filled(face.numpy() >= 0)
        # hair lies on the skull or, beyond it, about as deep as its outline
        known = depth.numpy()
        z = _spread(known, known > 0)
        # under the jaw it lies halfway to the neck: before it stays a chin that comes down, and one that goes up bares
        # no gap
        lip, chin = (seen[head.landmarks[mark]] for mark in (14, 152))
        low, high = (float(p[1] / p[2] * k[1, 1] + k[1, 2]) for p in (lip, chin))
        fall = np.clip((np.arange(size) + 0.5 - low) / max(high - low, 1.0), 0, 1)[:, None]
        z += BEHIND * fall * np.maximum(_spread(known, (known > 0) & ~covered) - z, 0)
        x, y = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
        rays = np.stack([(x - k[0, 2]) / k[0, 0], (y - k[1, 2]) / k[1, 1], np.ones_like(x)], -1)
        points = ((rays * z[..., None] - rig.translation) @ rig.rotation).astype(np.float32)
        top, chin = neutral[head.landmarks[10]], neutral[head.landmarks[152]]
        fall = np.clip((chin[1] - points[..., 1]) / (NECK * np.linalg.norm(top - chin)), 0, 1)
        share = (fall * fall * (3 - 2 * fall)).astype(np.float32)
        margin = max(1, round(0.012 * side))
        under = cv2.erode(covered.astype(np.uint8), np.ones((2 * margin + 1, 2 * margin + 1))) > 0
        card = cls(points, share, ~under, (z / focal).astype(np.float32))
        left, top, right, bottom = (edge + border for edge in clip.visible)
        needed = np.full((size, size), SURELY, np.float32)
        needed[top:bottom, left:right] = OCCUPIED
        return cls(points, share, ~under & (card._occupancy(rig, clip, looks) > needed), card.pixel)

    def _occupancy(self, rig: Rig, clip: Footage, looks: list[tuple[int, Drive]]) -> Float:
        """[H, W] share of the frames in which the person is there."""
        flat = self.points.reshape(-1, 3).astype(np.float64)
        share = self.share.reshape(-1, 1)
        resting = flat @ rig.rotation.T + rig.translation
        total = np.zeros(len(flat))
        for position, drive in looks:
            moved = flat @ np.asarray(drive.rotation).T + np.asarray(drive.translation)
            place = clip.camera.project(moved + share * (resting - moved)).astype(np.float32) - 0.5
            # beyond the edges the person goes on as at them
            total += _looked_up(clip.person(position)[..., None].astype(np.float32), place)[:, 0] / 255
        return (total / len(looks)).reshape(self.share.shape).astype(np.float32)

    def planted(self, count: int) -> _Patch:
        """``count`` points, evenly spread over what is free."""
        height, width = self.free.shape
        free = int(self.free.sum())
        apart = np.sqrt(free / max(count, 1))
        # R2 sequence (Roberts 2018): evenly spread without a pattern, however many are taken
        golden = 1.32471795724474602596
        trials = np.arange(1, max(64, int(4 * count * height * width / max(free, 1))))
        u = np.stack([(0.5 + trials / golden) % 1 * width, (0.5 + trials / golden**2) % 1 * height], 1)
        column, row = u.astype(int).T
        inside = np.flatnonzero(self.free[row, column])[:count]
        column, row = column[inside], row[inside]
        if len(inside) < count:
            repeat = np.resize(np.arange(len(inside)), count)
            column, row = column[repeat], row[repeat]
        across = np.gradient(self.points, axis=1)
        normal = np.cross(np.gradient(self.points, axis=0), across)[row, column]
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        points = self.points[row, column]
        bone = np.rint(self.share[row, column] * (rigs.NECK_STEPS - 1)).astype(np.int64)
        spacing = self.pixel[row, column] * apart
        # what slopes away has fewer points to the area: they are longer
        along = spacing / np.maximum(np.abs(normal[:, 2]), STEEPEST)
        return _Patch(points, normal.astype(np.float32), np.stack([along, spacing], 1), bone, -1)


def _spread(depth: Float, there: Bool) -> Float:
    """``depth`` [H, W] where it is ``there``, spread smoothly over the rest."""
    whole = pull_push(depth[..., None], there.astype(np.float32))[..., 0]
    return np.asarray(cv2.GaussianBlur(whole, (0, 0), 0.012 * len(depth)), np.float32)


def _filled(mask: Bool) -> Bool:
    """``mask`` [H, W] without holes."""
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(np.zeros(mask.shape, np.uint8), outlines, -1, 1, cv2.FILLED) > 0)


def _looked_up(image: Float, place: Float) -> Float:
    """[N, C] bilinear values of ``image`` [H, W, C] at pixel indices ``place`` [N, 2], edges replicated."""
    rows = -(-len(place) // 1024)  # cv2 takes no map of more than 32767 rows
    padded = np.zeros((rows * 1024, 2), np.float32)
    padded[: len(place)] = place
    x, y = np.ascontiguousarray(padded.T.reshape(2, rows, 1024))
    found = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found.reshape(rows * 1024, -1)[: len(place)], np.float32)


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
        values = _looked_up(picture, place)
        seen = values[:, 3:] + 1e-4
        for i, hole in enumerate(map(rigs.Opening, *rig.openings(drive, vertices))):
            behind = opening == i
            seen[behind, 0] *= hole.seen(moved[:, behind]) + 1e-4
        total += seen * values[:, :3]
        weight += seen
    return (total / weight).astype(np.float32), weight.astype(np.float32)


def _supposed(color: Float, seen: Float, patches: list[_Patch]) -> Float:
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
