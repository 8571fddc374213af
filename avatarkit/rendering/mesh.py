"""Meshes drawn over images: a wireframe or a shaded, translucent surface, for overlays and inspection."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from avatarkit.ops import raster

Image = NDArray[np.uint8]
Array = NDArray[np.floating]


def draw_mesh(
    image: Image,
    vertices: Array,
    triangles: NDArray[np.integer],
    color: tuple[int, int, int] = (120, 220, 255),
    opacity: float = 0.5,
    style: str = "wireframe",
) -> Image:
    """Draw a mesh over ``image`` [H, W, 3] uint8 and return the new image.

    ``vertices`` [V, 2 or 3] are pixels (centers at integer + 0.5) and, where given, depth (smaller is nearer, any
    unit); ``triangles`` [F, 3]. ``style`` ``wireframe`` draws the edges of the triangles that wind like the
    majority seen from the front (counter-clockwise outside, y down: negative area); ``shaded`` fills them, lit
    from the viewer, hidden parts removed, edges anti-aliased. Triangles with vertices that are not finite are left
    out. Raises ValueError for another style.
    """
    if style not in ("wireframe", "shaded"):
        raise ValueError(f"style must be wireframe or shaded, not {style!r}")
    points = np.asarray(vertices, np.float32)
    depth = points[:, 2] if points.shape[1] > 2 else np.zeros(len(points), np.float32)
    points = np.stack([points[:, 0], points[:, 1], depth], 1)
    faces = np.asarray(triangles, np.int64).reshape(-1, 3)
    faces = faces[np.isfinite(points[faces]).all((1, 2))]
    points = np.nan_to_num(points)
    if style == "wireframe":
        return _wireframe(image, points, faces, color, opacity)
    return _shaded(image, points, faces, color, opacity)


def _wireframe(
    image: Image, points: Array, faces: NDArray[np.int64], color: tuple[int, int, int], opacity: float
) -> Image:
    front = faces[_area(points, faces) < 0]
    edges = np.sort(np.concatenate([front[:, [0, 1]], front[:, [1, 2]], front[:, [2, 0]]]), axis=1)
    edges = np.unique(edges, axis=0)
    # OpenCV puts pixel centers on integers, and four fraction bits hold any reasonable image
    fixed = np.round((points[:, :2] - 0.5).clip(-1e4, 1e5) * 16).astype(np.int32)
    layer = image.copy()
    lines = [fixed[edge] for edge in edges]
    cv2.polylines(layer, lines, False, color, 1, cv2.LINE_AA, 4)
    blended: Image = cv2.addWeighted(layer, opacity, image, 1 - opacity, 0)
    return blended


def _shaded(
    image: Image, points: Array, faces: NDArray[np.int64], color: tuple[int, int, int], opacity: float
) -> Image:
    height, width = image.shape[:2]
    vertices = torch.from_numpy(np.ascontiguousarray(points, np.float32))
    triangles = torch.from_numpy(faces.astype(np.int32))
    face, weights, depth = raster.rasterize(vertices, triangles, height, width, perspective=False)
    # Depth is relative: scale it to the mesh's extent before asking for slopes.
    extent = np.ptp(points[:, :2], axis=0).max() if len(points) else 1.0
    span = max(float(np.ptp(points[:, 2])) if len(points) else 0.0, 1e-9)
    solid = points * np.array([1, 1, min(0.6 * extent / span, 1e6)], np.float32)
    normals = _normals(solid, faces)
    shade = np.abs(normals[:, 2]) * 0.8 + 0.2 * np.clip(-normals[:, 1], 0, 1)
    lit = (0.15 + 0.85 * shade)[:, None] * np.array(color, np.float32)
    values = torch.from_numpy(np.concatenate([lit, np.ones((len(lit), 1))], 1).astype(np.float32))
    layer = raster.interpolate(values, triangles, face, weights)
    smooth = raster.antialias(
        layer, vertices, triangles, raster.edge_opposites(triangles), face, depth
    ).numpy()
    alpha = smooth[..., 3:] * opacity
    surface = smooth[..., :3] / np.maximum(smooth[..., 3:], 1e-6)
    return (image * (1 - alpha) + surface * alpha + 0.5).clip(0, 255).astype(np.uint8)


def _area(points: Array, faces: NDArray[np.int64]) -> Array:
    a, b, c = (points[faces[:, i], :2] for i in range(3))
    area: Array = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    return area


def _normals(points: Array, faces: NDArray[np.int64]) -> Array:
    a, b, c = (points[faces[:, i]] for i in range(3))
    total = np.zeros_like(points)
    for corner in range(3):
        np.add.at(total, faces[:, corner], np.cross(b - a, c - a))
    unit: Array = total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-20)
    return unit
