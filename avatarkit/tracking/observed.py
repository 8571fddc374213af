"""What the solver is given: the landmarks of a clip, on the image plane where they are asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from avatarkit.heads.model import MESH_LANDMARKS
from avatarkit.tracking import gaze

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Rows = slice | NDArray[np.int64]

ALL = slice(None)


@dataclass(frozen=True)
class Observations:
    """Landmarks of N frames. They are held once, in pixels: a clip may be long."""

    points: Float
    """[N, 478, 3] pixels, NaN where a landmark was not seen."""
    intrinsics: Float
    """[3, 3] of the camera that saw them."""
    iris: Float
    """[N, 2, 2] centers of the (left, right) iris on the plane z = 1 of the camera, NaN where not seen."""
    open_eyes: Float
    """[N] 0 where an eye is closed, 1 where both are open."""
    linked: Bool
    """[N] whether the frame follows the one before without a cut or a gap."""

    def __len__(self) -> int:
        return len(self.points)

    def plane(self, rows: Rows = ALL) -> Float:
        """[n, P, 2] the landmarks of ``rows`` on the plane z = 1."""
        return _plane(self.points[rows, :MESH_LANDMARKS], self.intrinsics)

    def depth(self, rows: Rows = ALL) -> Float:
        """[n, P] their relative depth on the same scale."""
        return np.asarray(self.points[rows, :MESH_LANDMARKS, 2] / self.intrinsics[0, 0], np.float32)

    def sampled(self, most: int) -> NDArray[np.int64]:
        """Rows of at most ``most`` frames, evenly spread."""
        return np.unique(np.linspace(0, len(self) - 1, min(most, len(self))).round().astype(np.int64))

    def part(self, rows: Rows) -> Observations:
        """The frames ``rows``, linked as they are."""
        return replace(
            self, points=self.points[rows], iris=self.iris[rows], open_eyes=self.open_eyes[rows],
            linked=self.linked[rows],
        )  # fmt: skip

    def at(self, rows: NDArray[np.int64]) -> Observations:
        """The frames ``rows``, no longer linked unless all are kept."""
        if len(rows) == len(self):
            return self
        return replace(self.part(rows), linked=np.zeros(len(rows), bool))


def observations(
    points: Float, intrinsics: Float, linked: Bool, open_eyes: Float | None = None
) -> Observations:
    """Of landmarks [N, 478, 3] in pixels; ``open_eyes`` [N] where more than these frames tell of them."""
    iris = _plane(gaze.iris_centers(points), intrinsics)
    if open_eyes is None:
        open_eyes = gaze.openness(gaze.apertures(points))
    return Observations(points, intrinsics, iris, open_eyes, linked)


def _plane(pixels: Float, intrinsics: Float) -> Float:
    """[..., 2] points of the plane z = 1 that are seen at ``pixels`` [..., >= 2]."""
    return np.asarray((pixels[..., :2] - intrinsics[:2, 2]) / intrinsics[0, 0], np.float32)
