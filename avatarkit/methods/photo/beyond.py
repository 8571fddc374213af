"""What the frame cuts off: the person continued beyond the photo's border, for when it moves away from it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Image = NDArray[np.uint8]
Index = NDArray[np.int32]

CROWN = 0.75
"""Radius, in face widths, of the circle that closes a head that the upper border cuts."""
PRINT, ODD = 0.5, 48
"""Windows, in that radius, in whose colors' median print on cloth vanishes, and levels from which it is print."""
GAP = 0.05
"""Half the size of holes in the matte that end no mirror, against that circle."""


def added(
    texture: Image, triangles: Index, points: Array, face: Array, needed: NDArray[np.bool_]
) -> tuple[Image, Index, Array, NDArray[np.int64]]:
    """The sheet of a photo with what lies beyond its border.

    ``texture`` [H, W, 4] premultiplied; ``triangles`` [F, 3] of ``points`` [N, 2] in pixels, with lines along the
    border; ``face`` [468, 2] its landmarks; ``needed`` [H, W] pixels that the sheet must cover. Returns the texture
    with the continued picture below, the triangles, the places [N + K, 2] they have in it, and the [K] points that
    lie in it twice: on the border and beyond.
    """
    height, width = texture.shape[:2]
    reach = int(np.ceil(max(-points.min(), (points.max(0) - (width, height)).max(), 1))) + 1
    radius = CROWN * float(np.linalg.norm(face[454] - face[234]))
    more = continued(texture, reach, radius)
    # Right of the photo and between the two, its border goes on: lookups there must not mix them.
    both = np.zeros((height + 1 + len(more), more.shape[1], 4), np.uint8)
    both[: height + 1] = cv2.copyMakeBorder(texture, 0, 1, 0, more.shape[1] - width, cv2.BORDER_REPLICATE)
    both[height + 1 :] = more
    middle = points[triangles].mean(1)
    outside = ((middle < 0) | (middle > (width, height))).any(1)
    kept = np.ones(len(triangles), bool)
    # Where nobody is there is no sheet: a seam in it would soften the background, and drawing it takes time.
    shown = more[..., 3] > 0
    shown[reach : reach + height, reach : reach + width] |= needed
    around = (points[triangles] + reach).clip(0, np.array(more.shape[1::-1]) - 1)
    low, high = around.min(1).astype(int), around.max(1).astype(int) + 1
    for i in range(len(triangles)):
        kept[i] = shown[low[i, 1] : high[i, 1] + 1, low[i, 0] : high[i, 0] + 1].any()
    triangles, outside = triangles[kept], outside[kept]
    twice = np.unique(triangles[outside])
    place = np.zeros(len(points), np.int64)
    place[twice] = len(points) + np.arange(len(twice))
    moved = triangles.copy()
    moved[outside] = place[triangles[outside]]
    places = np.concatenate([points, points[twice] + (reach, height + 1 + reach)])
    return both, moved, places, twice


def continued(texture: Image, reach: int, radius: float) -> Image:
    """[H + 2 reach, W + 2 reach, 4] ``texture`` [H, W, 4] with its mirror image around it.

    The mirror holds cloth and hair as far as the person goes on without a gap from the border inwards, so that
    nothing comes back twice, and no letters or buttons. Above, a cut head is closed by a cap of a circle of ``radius``
    pixels.
    """
    alpha = texture[..., 3].astype(np.float32)
    own = texture[..., :3] / np.maximum(alpha, 1)[..., None]
    kind = cv2.BORDER_REFLECT
    size = 2 * max(1, round(GAP * radius)) + 1
    whole = cv2.morphologyEx(alpha, cv2.MORPH_CLOSE, np.ones((size, size), np.uint8))
    color = cv2.copyMakeBorder(_plain(own, alpha, PRINT * radius), reach, reach, reach, reach, kind)
    mirror = cv2.copyMakeBorder(whole, reach, reach, reach, reach, kind)
    height, width = alpha.shape
    rows, columns = slice(reach, reach + height), slice(reach, reach + width)
    mirror[:reach, columns] = np.minimum.accumulate(mirror[:reach, columns][::-1], 0)[::-1]
    mirror[:reach, columns] *= _cap(alpha[0] > 127, reach, radius)
    mirror[rows.stop :, columns] = np.minimum.accumulate(mirror[rows.stop :, columns], 0)
    left, right = mirror[:, : reach + 1][:, ::-1], mirror[:, columns.stop - 1 :]
    for side in (left, right):
        side[...] = np.minimum.accumulate(side, 1)
    mirror[rows, columns] = alpha
    color[rows, columns] = own
    return np.dstack([color * mirror[..., None], mirror]).round().astype(np.uint8)


def _plain(color: NDArray[np.float32], alpha: NDArray[np.float32], window: float) -> NDArray[np.float32]:
    """``color`` [H, W, 3] in 0 to 1, but the median of the ``window`` (pixels) around where it is far from that.

    Only where most of the window is the person, by its ``alpha`` [H, W] in 0 to 255.
    """
    height, width = color.shape[:2]
    small = cv2.resize(color, (-(-width // 4), -(-height // 4)), interpolation=cv2.INTER_AREA)
    side = 2 * min(max(round(window / 8), 1), 60) + 1
    usual = cv2.medianBlur(np.clip(255 * small, 0, 255).astype(np.uint8), side).astype(np.float32) / 255
    usual = cv2.resize(usual, (width, height), interpolation=cv2.INTER_LINEAR)
    person = cv2.blur(cv2.resize(alpha, small.shape[1::-1], interpolation=cv2.INTER_AREA), (side, side))
    person = cv2.resize(person, (width, height), interpolation=cv2.INTER_LINEAR)
    odd = ((np.abs(color - usual).max(-1) > ODD / 255) & (person > 0.7 * 255)).astype(np.uint8)
    share = cv2.GaussianBlur(cv2.dilate(odd, np.ones((5, 5), np.uint8)).astype(np.float32), (0, 0), 1.0)
    return np.asarray(color + share[..., None] * (usual - color), np.float32)


def _cap(solid: NDArray[np.bool_], reach: int, radius: float) -> NDArray[np.float32]:
    """[reach, W] share of a head above the upper border, of whose pixels ``solid`` [W] belong to it."""
    cap = np.zeros((reach, len(solid)), np.float32)
    up = np.arange(reach, 0, -1)[:, None] - 0.5
    ends = np.flatnonzero(np.diff(np.concatenate([[False], solid, [False]]).astype(int)))
    for start, stop in ends.reshape(-1, 2):
        half = (stop - start) / 2
        wide = max(radius, half)
        aside = np.arange(start, stop) + 0.5 - (start + stop) / 2
        top = np.sqrt(wide**2 - aside**2) - np.sqrt(wide**2 - half**2)
        cap[:, start:stop] = np.clip(top - up + 0.5, 0, 1)
    return cap
