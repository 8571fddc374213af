"""Small pictures painted into a frame inside polygons with soft edges: eyes, lids and mouth of a photo that moves.

Numpy arrays in, the frame changed in place, no gradients; pixel and texel (x, y) have their centers at
(x + 0.5, y + 0.5). The kernels' contract is in ``csrc/patches/patches.h``; where they are not built their twins in
:mod:`avatarkit.ops.reference.patches` work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from avatarkit.ops.native import module

Image = NDArray[np.uint8]
Float = NDArray[np.float32]
Numbers = NDArray[np.floating]
STRETCH = (0.3, 2.0)
"""By how much less or more than the eye opens the white goes by near its lids."""


class Polygon(NamedTuple):
    """Where to paint; see ``polygon``."""

    points: Float
    """[P, 2] pixels."""
    soft: float
    """standard deviation of the Gaussian under its edges, pixels."""
    margin: int
    """pixels beyond its box that may be painted."""


class Picture(NamedTuple):
    """What is painted; see ``picture``."""

    texels: Float
    """[h, w, 4] color (0 to 255, not times alpha), and alpha (0 to 1)."""
    map: Float
    """[2, 3] from the frame's pixels (an eye's: its own coordinates) to texels."""


class Lines(NamedTuple):
    """Two lines over the same ground; see ``lines``."""

    axes: Float
    """[2, 3] from the frame's pixels to the coordinates in which the lines are heights over x."""
    both: Float
    """[2, K, 2] the upper and the lower one, pixels."""


class Eyeball(NamedTuple):
    """An eye in two parts, as it was pictured at rest.

    The white hangs on the lids: at a share t between their margins it shows what lay at the share
    s t + (1 - s) (3 t^2 - 2 t^3) at rest, s how much further they are open now (within ``STRETCH``). The iris lies in
    the eye's coordinates, moves rigidly, and takes the light that the white before it has against ``level``.
    """

    white: Picture
    iris: Picture
    margins: Lines
    """Upper and lower margin of the lids at rest."""
    level: float
    """brightness of the white in full light."""


def polygon(points: Numbers, soft: float, margin: int = 3) -> Polygon:
    """A polygon of ``points`` [P, 2]. Raises ValueError on other shapes, or edges that are not soft."""
    array = np.ascontiguousarray(points, np.float32)
    if array.ndim != 2 or array.shape[1] != 2 or not soft > 0:
        raise ValueError(f"a polygon must be [P, 2] with a soft edge, not {array.shape} with one of {soft}")
    return Polygon(array, float(soft), int(margin))


def picture(texels: Numbers, to_texels: Numbers) -> Picture:
    """A picture [h, w, 3 or 4] seen through the affine map ``to_texels`` [2, 3]. Raises ValueError on other shapes."""
    array = np.asarray(texels, np.float32)
    if array.ndim != 3 or array.shape[2] not in (3, 4) or 0 in array.shape:
        raise ValueError(f"a picture must be [h, w, 3 or 4] with at least one texel, not {array.shape}")
    if array.shape[2] == 3:
        array = np.dstack([array, np.ones(array.shape[:2], np.float32)])
    return Picture(np.ascontiguousarray(array), _affine(to_texels))


def lines(axes: Numbers, both: Numbers) -> Lines:
    """Lines [2, K, 2] in pixels, and ``axes`` [2, 3] of their coordinates. Raises ValueError on other shapes."""
    if both.ndim != 3 or both.shape[0] != 2 or both.shape[2] != 2 or both.shape[1] < 2:
        raise ValueError(f"lines must be [2, K, 2] with at least two points, not {both.shape}")
    return Lines(_affine(axes), np.ascontiguousarray(both, np.float32))


def paint(
    frame: Image,
    where: Polygon,
    pictures: Sequence[Picture],
    opacity: float = 1.0,
    fade: Lines | None = None,
    shade: tuple[float, float] = (1.0, 0.0),
) -> None:
    """Lay ``pictures``, the later over the earlier, over ``frame`` [H, W, 3] inside a polygon.

    The first picture's alpha is not looked at. With ``fade`` the ``opacity`` grows from the upper line to the lower
    one. ``shade``: standard deviation (pixels) and strength of the shadow that the polygon's edge throws on it.
    """
    _checked(frame)
    native = module()
    if native is None:
        from avatarkit.ops.reference import patches as twin

        twin.paint(frame, where, pictures, opacity, fade, shade)
    else:
        native.paint_pictures(
            frame, where.points, where.soft, where.margin, [tuple(p) for p in pictures], float(opacity),
            None if fade is None else tuple(fade), float(shade[0]), float(shade[1]),
        )  # fmt: skip


def paint_eyeball(
    frame: Image, where: Polygon, eye: Eyeball, lids: Lines, shift: tuple[float, float]
) -> None:
    """Paint ``eye`` into ``frame`` [H, W, 3] between its ``lids``, its iris moved by ``shift`` (the eye's coordinates).

    The axes of ``lids`` lead to the coordinates from which the parts' maps begin. Raises ValueError where there are not
    as many points of the lids as at rest.
    """
    _checked(frame)
    if lids.both.shape != eye.margins.both.shape:
        raise ValueError(f"lids {lids.both.shape} must be as those at rest {eye.margins.both.shape}")
    native = module()
    if native is None:
        from avatarkit.ops.reference import patches as twin

        twin.paint_eyeball(frame, where, eye, lids, shift)
    else:
        native.paint_eyeball(
            frame, where.points, where.soft, where.margin, tuple(eye.white), tuple(eye.iris), float(shift[0]),
            float(shift[1]), float(eye.level), tuple(eye.margins), tuple(lids),
        )  # fmt: skip


def paint_lashes(
    frame: Image, line: Numbers, color: Numbers, thickness: float, length: int, opacity: float
) -> None:
    """Paint a ``line`` [K, 2] of ``color`` [3] and ``thickness`` into ``frame`` [H, W, 3], with a fringe below.

    The fringe is ``length`` pixels long and thins out; both thin out towards the line's last point. Raises ValueError
    on shapes that do not fit.
    """
    _checked(frame)
    points, own = np.ascontiguousarray(line, np.float32), np.ascontiguousarray(color, np.float32)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 2 or own.shape != (3,):
        raise ValueError(f"a line {points.shape} must be [K, 2], its color {own.shape} [3]")
    native = module()
    if native is None:
        from avatarkit.ops.reference import patches as twin

        twin.paint_lashes(frame, points, own, thickness, length, opacity)
    else:
        native.paint_lashes(frame, points, own, float(thickness), int(length), float(opacity))


def _affine(matrix: Numbers) -> Float:
    array = np.ascontiguousarray(matrix, np.float32)
    if array.shape != (2, 3):
        raise ValueError(f"an affine map must be [2, 3], not {array.shape}")
    return array


def _checked(frame: Image) -> None:
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or not frame.flags.c_contiguous:
        raise ValueError(f"a frame must be [H, W, 3] contiguous uint8, not {frame.shape} {frame.dtype}")
