"""Rays of a crop's pixels in head space scaled to the unit cube, and that cube."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatarkit.data.clip import ClipFrames
from avatarkit.rendering.camera import Camera

Float = NDArray[np.float32]

# A head's depth against the midpoint between the eyes: nose tip and back of the hair, meters.
FRONT, BACK = 0.08, -0.24


@dataclass(frozen=True)
class SceneBox:
    """The cube of head space (meters) that becomes the unit cube of the field: its center and side."""

    center: tuple[float, float, float]
    side: float

    def to_unit(self, points: NDArray[np.floating]) -> NDArray[Any]:
        """Unit-cube coordinates of head-space ``points`` [..., 3]."""
        return (points - np.asarray(self.center, points.dtype)) / self.side + 0.5

    def from_unit(self, points: NDArray[np.floating]) -> NDArray[Any]:
        """Head-space coordinates of unit-cube ``points`` [..., 3]."""
        return (points - 0.5) * self.side + np.asarray(self.center, points.dtype)


def pixel_rays(
    camera: Camera, rotation: Float, translation: Float, pixels: NDArray[np.floating], box: SceneBox
) -> tuple[Float, Float]:
    """Rays through image points, for one pose.

    Args:
        camera: the (cropped) camera.
        rotation, translation: [3, 3] and [3], head to camera, meters.
        pixels: [N, 2] image points; the center of pixel (column, row) is (column + 0.5, row + 0.5).
        box: what becomes the unit cube.

    Returns:
        origins [N, 3] (all alike) and unit directions [N, 3], float32, in unit-cube coordinates. Scaling is
        uniform, so angles are those of head space; distances are in units of ``box.side``.
    """
    k = camera.intrinsics.astype(np.float64)
    # Column by column: numpy is several times slower along an axis of three.
    y = (pixels[:, 1].astype(np.float64) - k[1, 2]) / k[1, 1]
    x = (pixels[:, 0].astype(np.float64) - k[0, 2] - k[0, 1] * y) / k[0, 0]
    turn = rotation.astype(np.float64)
    columns = [x * turn[0, axis] + y * turn[1, axis] + turn[2, axis] for axis in range(3)]  # of R^T
    scale = 1 / np.sqrt(columns[0] ** 2 + columns[1] ** 2 + columns[2] ** 2)
    directions = np.empty((len(pixels), 3), np.float32)
    for axis in range(3):
        directions[:, axis] = columns[axis] * scale
    origin = box.to_unit(-turn.T @ translation.astype(np.float64))
    origins = np.broadcast_to(origin.astype(np.float32), (len(pixels), 3))
    return origins, directions


def image_rays(camera: Camera, rotation: Float, translation: Float, box: SceneBox) -> tuple[Float, Float]:
    """``pixel_rays`` through the centers of all pixels, row by row: origin [3] and directions [height * width, 3].

    Before it is scaled to unit length, a direction is a sum of its column's part and its row's part.
    """
    k = camera.intrinsics.astype(np.float64)
    turn = rotation.astype(np.float64)
    y = (np.arange(camera.height) + 0.5 - k[1, 2]) / k[1, 1]
    x = (np.arange(camera.width) + 0.5 - k[0, 2]) / k[0, 0]
    across = (x[:, None] * turn[0]).astype(np.float32)
    down = (y[:, None] * (turn[1] - k[0, 1] / k[0, 0] * turn[0]) + turn[2]).astype(np.float32)
    parts = [down[:, None, axis] + across[None, :, axis] for axis in range(3)]
    scale = 1 / np.sqrt(parts[0] * parts[0] + parts[1] * parts[1] + parts[2] * parts[2])
    directions = np.empty((camera.height, camera.width, 3), np.float32)
    for axis in range(3):
        np.multiply(parts[axis], scale, out=directions[..., axis])
    origin = box.to_unit(-turn.T @ translation.astype(np.float64)).astype(np.float32)
    return origin, directions.reshape(-1, 3)


def scene_box(clip: ClipFrames, positions: NDArray[np.int64], margin: float = 0.04) -> SceneBox:
    """The smallest cube around what the head mattes of ``positions`` can show.

    Each matte's bounding box is laid onto the plane through the ears' depth; depth itself is that of a head.
    A clip whose mattes are all empty gets a cube around an average head.
    """
    k = clip.camera.intrinsics.astype(np.float64)
    left, top, right, bottom = clip.visible
    low, high = np.array([-0.09, -0.14]), np.array([0.09, 0.12])
    for position in positions:
        # Beyond the video frame a matte only repeats its edge.
        rows, columns = np.nonzero(clip.head(position)[top:bottom, left:right] > 96)
        if not len(rows):
            continue
        rows, columns = rows + top, columns + left
        turn = clip.track.rotation[position].astype(np.float64)
        shift = clip.track.translation[position].astype(np.float64)
        depth = (turn @ np.array([0.0, 0.0, -0.07]) + shift)[2]
        x = (np.percentile(columns, [0.2, 99.8]) + 0.5 - k[0, 2]) / k[0, 0] * depth
        y = (np.percentile(rows, [0.2, 99.8]) + 0.5 - k[1, 2]) / k[1, 1] * depth
        corners = np.array([[a, b, depth] for a in x for b in y])
        head = (corners - shift) @ turn
        low, high = np.minimum(low, head[:, :2].min(0)), np.maximum(high, head[:, :2].max(0))
    side = float(max(*(high - low), FRONT - BACK)) * (1 + 2 * margin)
    # Mattes that reach far around (a held microphone) must not shrink the head to a few voxels.
    side = min(side, 0.8)
    center = (low + high) / 2
    return SceneBox((float(center[0]), float(center[1]), (FRONT + BACK) / 2), side)


def visual_hull(
    clip: ClipFrames, positions: NDArray[np.int64], box: SceneBox, cells: int = 64, agreement: float = 0.85
) -> NDArray[np.bool_]:
    """[cells^3] (x fastest) cells of the unit cube that fall into the head mattes of most ``positions``.

    Only frames whose picture holds the cell count; a cell that none of them holds is left out, because nothing would
    ever teach it: of heads that the frame's edge cuts off, what comes into view for a moment stays. Mattes are widened
    by a cell first, and a share of ``agreement`` is enough, because hair and jaw move. (Laurentini 1994)
    """
    axis = (np.arange(cells, dtype=np.float32) + 0.5) / cells
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    points = box.from_unit(np.stack([x.ravel(), y.ravel(), z.ravel()], 1))
    votes, seeing = np.zeros(len(points), np.float32), np.zeros(len(points), np.float32)
    left, top, right, bottom = clip.visible
    k = clip.camera.intrinsics
    for position in positions:
        turn, shift = clip.track.rotation[position], clip.track.translation[position]
        seen = points @ turn.T.astype(np.float32) + shift.astype(np.float32)
        widen = max(round(box.side / cells * float(k[0, 0]) / float(shift[2])), 1)
        matte = _widened(clip.head(position), widen)
        column = np.floor(seen[:, 0] / seen[:, 2] * k[0, 0] + k[0, 2])
        row = np.floor(seen[:, 1] / seen[:, 2] * k[1, 1] + k[1, 2])
        shown = (column >= left) & (column < right) & (row >= top) & (row < bottom)
        u = np.clip(column, 0, clip.resolution - 1).astype(np.int64)
        v = np.clip(row, 0, clip.resolution - 1).astype(np.int64)
        votes += shown & (matte[v, u] > 32)
        seeing += shown
    return (seeing > 0) & (votes >= agreement * np.maximum(seeing, 1))


def _widened(matte: NDArray[np.uint8], pixels: int) -> NDArray[np.uint8]:
    import cv2

    return np.asarray(cv2.dilate(matte, np.ones((2 * pixels + 1, 2 * pixels + 1), np.uint8)), np.uint8)
