"""A moved mesh to a frame: where each pixel comes from, and the layers over each other."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from avatarkit.heads import landmarks as marks
from avatarkit.methods.photo.mesh import Mesh
from avatarkit.ops import raster

Array = NDArray[np.float64]
Float = NDArray[np.float32]
Image = NDArray[np.uint8]

FOLD = 5.0
"""Pixels of the photo between two neighbors from which they lie on different surfaces."""
STILL, GONE = 0.5, 4.0
"""Pixels of motion up to which what the layers lose of the photo is given back, and beyond which not at all."""


class Canvas:
    """Draws the photo's mesh at new places."""

    def __init__(self, mesh: Mesh, height: int, width: int) -> None:
        """A ``mesh`` of a photo of ``height`` x ``width`` pixels; eyes and mouth are closed by triangles."""
        self.height, self.width = height, width
        triangles = np.concatenate([mesh.triangles, hole_triangles()])
        self.triangles = torch.from_numpy(np.ascontiguousarray(triangles, np.int32))
        self.rest = torch.from_numpy(np.ascontiguousarray(mesh.points - 0.5, np.float32))

    def sources(self, points: Array) -> Float:
        """[H, W, 2] place in the photo (OpenCV pixels) each pixel shows when the mesh lies at ``points`` [N, 3]."""
        vertices = torch.from_numpy(np.ascontiguousarray(points, np.float32))
        face, weights, _ = raster.rasterize(vertices, self.triangles, self.height, self.width, False)
        place: Float = raster.interpolate(self.rest, self.triangles, face, weights).numpy()
        return place


def hole_triangles() -> NDArray[np.int32]:
    """Triangles over the eyes and the mouth, between facing landmarks of their borders."""
    strips = []
    for upper, lower in (
        (marks.LID_UPPER_RIGHT, marks.LID_LOWER_RIGHT),
        (marks.LID_UPPER_LEFT, marks.LID_LOWER_LEFT),
        (marks.LIPS_UPPER_INNER, marks.LIPS_LOWER_INNER),
    ):
        for i in range(len(upper) - 1):
            quad = (upper[i], upper[i + 1], lower[i], lower[i + 1])
            strips += [(quad[0], quad[2], quad[1]), (quad[1], quad[2], quad[3])]
    return np.array([t for t in strips if len(set(t)) == 3], np.int32)


def warped(picture: Image, place: Float) -> Image:
    """``picture`` [H, W, C] at ``place`` [H, W, 2], edge pixels repeated."""
    return np.asarray(cv2.remap(picture, place, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def over(person: Image, behind: Image) -> Image:
    """[H, W, 3] ``person`` [H, W, 4] (colors times alpha) over ``behind`` [H, W, 3]."""
    b, g, r, alpha = cv2.split(person)
    clear = cv2.merge([cv2.bitwise_not(alpha)] * 3)
    return np.asarray(cv2.add(cv2.merge([b, g, r]), cv2.multiply(clear, behind, scale=1 / 255)))


def soften_folds(image: Image, place: Float) -> None:
    """Soften ``image`` [H, W, 3] in place where neighbors come from far apart: a nearer surface ends there."""
    x = cv2.extractChannel(place, 0)
    jump = np.zeros(x.shape, np.uint8)
    across, down = cv2.absdiff(x[:, 1:], x[:, :-1]) > FOLD, cv2.absdiff(x[1:], x[:-1]) > FOLD
    jump[:, 1:] |= across
    jump[:, :-1] |= across
    jump[1:] |= down
    jump[:-1] |= down
    rows, columns = np.nonzero(jump)
    if len(rows):
        image[rows, columns] = cv2.GaussianBlur(image, (3, 3), 0.8)[rows, columns]


def stillness(place: Float) -> Float:
    """[H, W] 1 where ``place`` is the pixel itself, 0 where it is ``GONE`` pixels away."""
    height, width = place.shape[:2]
    away = np.hypot(
        place[::4, ::4, 0] - np.arange(0, width, 4), place[::4, ::4, 1] - np.arange(0, height, 4)[:, None]
    )
    small = np.clip((GONE - away) / (GONE - STILL), 0, 1).astype(np.float32)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))
