"""What stands for hair, neck and shoulders before any training: Gaussians on a card around the face at rest."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from avatarkit.data.plate import pull_push
from avatarkit.heads.model import HeadModel
from avatarkit.methods.gaussians import rig as rigs
from avatarkit.methods.gaussians.footage import Footage
from avatarkit.methods.gaussians.patch import Patch, face_normals, looked_up
from avatarkit.methods.gaussians.rig import Rig
from avatarkit.methods.registry import Drive
from avatarkit.ops.raster import rasterize

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]

STEEPEST = 0.3
"""Cosine of the slope up to which Gaussians of the card grow along it."""
OCCUPIED = 0.12
"""Share of the frames in which a place must show the person to be planted."""
SURELY = 0.9
"""The same where no frame can show it, beyond the crop's edges."""
MARGIN = 0.12
"""Share of the crop by which the card reaches beyond its edges."""
BEHIND = 0.5
"""Share of the way back to the neck at which the card lies under the chin."""
NECK = 0.5
"""Part of the face's height, below the chin, over which the head's motion passes into the torso's."""


@dataclass(frozen=True)
class Card:
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
    ) -> Card:
        """From the head at rest and the frames of ``looks``, which tell where the person is."""
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
        facing = face_normals(neutral, skin)
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
            total += looked_up(clip.person(position)[..., None].astype(np.float32), place)[:, 0] / 255
        return (total / len(looks)).reshape(self.share.shape).astype(np.float32)

    def planted(self, count: int) -> Patch:
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
        return Patch(points, normal.astype(np.float32), np.stack([along, spacing], 1), bone, -1)


def _spread(depth: Float, there: Bool) -> Float:
    """``depth`` [H, W] where it is ``there``, spread smoothly over the rest."""
    whole = pull_push(depth[..., None], there.astype(np.float32))[..., 0]
    return np.asarray(cv2.GaussianBlur(whole, (0, 0), 0.012 * len(depth)), np.float32)


def _filled(mask: Bool) -> Bool:
    """``mask`` [H, W] without holes."""
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(np.zeros(mask.shape, np.uint8), outlines, -1, 1, cv2.FILLED) > 0)
