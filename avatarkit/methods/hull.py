"""Where in the cube anything can be: inside the mattes' visual hull, and not in front of the tracked face."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from avatarkit.data.clip import ClipFrames
from avatarkit.data.rays import SceneBox, visual_hull
from avatarkit.files.track import Track
from avatarkit.methods.shapes import moving_vertices, person_shapes

Float = NDArray[np.float32]

# Columns along z by which the mesh's front is looked up.
COLUMNS = 64
# Meters that skin may come out of the neutral face and anything out of the rest of the head, and how much further per
# meter beside each.
FACE_AHEAD, FACE_SLOPE = 0.015, 1.0
AHEAD, SLOPE = 0.035, 0.5
# A mesh whose vertices span less than this (meters) is none.
LEAST_SPAN = 0.05


def possible_cells(
    clip: ClipFrames, positions: NDArray[np.int64], box: SceneBox, mesh: bool, cells: int = 128
) -> Tensor:
    """[cells^3] bool (x fastest): the visual hull of ``positions``, computed at half the grid's resolution.

    ``cells`` is a multiple of ``COLUMNS``. With ``mesh`` cells in front of the track's neutral head are left out. A
    clip whose head turns little shows the same pictures whatever the depth of their surface; the mesh knows where
    it is.
    """
    half = cells // 2
    hull = visual_hull(clip, positions, box, half, agreement=0.3).reshape(half, half, half)
    fine = hull.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
    if mesh:
        front = mesh_front(clip.track, box)
        if front is not None:
            across = front.repeat(cells // COLUMNS, axis=0).repeat(cells // COLUMNS, axis=1)
            depth = (np.arange(cells, dtype=np.float32) + 0.5) / cells
            fine = fine & (depth[:, None, None] < across[None])
    return torch.from_numpy(np.ascontiguousarray(fine).reshape(-1))


def mesh_front(track: Track, box: SceneBox) -> Float | None:
    """[COLUMNS, COLUMNS] (y, x) the largest z in the unit cube that may be occupied; None without a mesh."""
    neutral = track.neutral
    if len(neutral) == 0 or float(np.ptp(neutral, axis=0).min()) < LEAST_SPAN:
        return None
    front = _front(neutral, box, AHEAD, SLOPE)
    shapes = person_shapes(track)
    face = np.zeros(len(neutral), bool) if shapes is None else moving_vertices(shapes)
    if face.any():
        front = np.minimum(front, _front(neutral[face], box, FACE_AHEAD, FACE_SLOPE))
    return front


def _front(vertices: Float, box: SceneBox, ahead: float, slope: float) -> Float:
    places = box.to_unit(vertices)
    cell = np.floor(places[:, :2] * COLUMNS).astype(np.int64)
    inside = ((cell >= 0) & (cell < COLUMNS)).all(1)
    front = np.full((COLUMNS, COLUMNS), -np.inf, np.float32)
    np.maximum.at(front, (cell[inside, 1], cell[inside, 0]), places[inside, 2].astype(np.float32))
    front = ndimage.maximum_filter(front, 3)
    missing = ~np.isfinite(front)
    distance, nearest = ndimage.distance_transform_edt(missing, return_indices=True)
    filled = front[nearest[0], nearest[1]]
    return np.asarray(filled + ahead / box.side + slope * distance / COLUMNS, np.float32)
