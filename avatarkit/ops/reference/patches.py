"""Numpy twins of the patch kernels; contracts are those of :mod:`avatarkit.ops.patches`, to a gray level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from avatarkit.ops.patches import STRETCH

if TYPE_CHECKING:
    from avatarkit.ops.patches import Eyeball, Float, Image, Lines, Picture, Polygon

ROWS = 4
"""Lines of a row on which a polygon's coverage is measured."""


@dataclass
class _Mask:
    """A part of the frame with a share [h, w] for each of its pixels."""

    left: int
    top: int
    share: NDArray[np.float64]

    def grid(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """x and y [h, w] of its pixel centers."""
        y, x = np.mgrid[: self.share.shape[0], : self.share.shape[1]]
        return x + self.left + 0.5, y + self.top + 0.5


def paint(
    frame: Image, where: Polygon, pictures: Sequence[Picture], opacity: float, fade: Lines | None,
    shade: tuple[float, float],
) -> None:  # fmt: skip
    """See :func:`avatarkit.ops.patches.paint`."""
    mask = _inside(where, frame)
    if mask is None or not pictures:
        return
    x, y = mask.grid()
    color = np.zeros((*x.shape, 3))
    for i, picture in enumerate(pictures):
        seen = _looked_up(picture, x, y)
        color += (seen[..., 3:] if i else 1) * (seen[..., :3] - color)
    share = opacity * mask.share
    if fade is not None:
        a, b = _mapped(fade.axes, x, y)
        upper, lower = (_height(line, a) for line in _own(fade))
        share = share * _smoothstep((1 - (lower - b) / np.maximum(lower - upper, 1e-3)) / 0.7)
    soft, strength = shade
    if strength > 0:
        shadow = _blurred(mask.share, soft)
        drop = max(1, int(soft + 0.5))
        above = np.zeros_like(shadow)
        above[drop:] = shadow[:-drop]
        color = color * (1 - strength * np.clip(1 - 1.15 * np.minimum(shadow, above), 0, 1))[..., None]
    _lay(frame, mask, color, share)


def paint_eyeball(
    frame: Image, where: Polygon, eye: Eyeball, lids: Lines, shift: tuple[float, float]
) -> None:
    """See :func:`avatarkit.ops.patches.paint_eyeball`."""
    mask = _inside(where, frame)
    if mask is None:
        return
    a, b = _mapped(lids.axes, *mask.grid())
    iris = _looked_up(eye.iris, a - shift[0], b - shift[1])
    now, rest = _own(lids), _own(eye.margins)
    slope = np.clip(_apart(now) / _apart(rest), *STRETCH)
    upper, lower = (_height(line, a) for line in now)
    t = (b - upper) / np.maximum(lower - upper, 1e-3)
    inside = np.clip(t, 0, 1)
    bent = slope * inside + (1 - slope) * _smoothstep(inside) + (t - inside)
    top, bottom = (_height(line, a) for line in rest)
    white = _looked_up(eye.white, a, top + bent * (bottom - top))[..., :3]
    light = np.minimum(white.mean(-1, keepdims=True) / eye.level, 1.2)
    _lay(frame, mask, white + iris[..., 3:] * (light * iris[..., :3] - white), mask.share)


def paint_lashes(
    frame: Image, line: Float, color: Float, thickness: float, length: int, opacity: float
) -> None:
    """See :func:`avatarkit.ops.patches.paint_lashes`."""
    mask = _box(line, frame, (4, 4, 4, 4 + length))
    if mask is None:
        return
    x, y = mask.grid()
    places = np.stack([x, y], -1)[..., None, :]
    steps = np.diff(line, axis=0)
    along = ((places - line[:-1]) * steps).sum(-1) / np.maximum((steps * steps).sum(-1), 1e-12)
    near = line[:-1] + np.clip(along, 0, 1)[..., None] * steps
    away = np.linalg.norm(places - near, axis=-1).min(-1)
    drawn = _blurred(np.clip(thickness / 2 + 0.5 - away, 0, 1), 0.6)
    share = drawn.copy()
    for step in range(1, min(length + 1, len(drawn))):
        share[step:] = np.maximum(share[step:], drawn[:-step] * 0.5 * (1 - step / (length + 1)) ** 1.5)
    along = np.clip((x - line[0, 0]) / (line[-1, 0] - line[0, 0] or 1.0), 0, 1)
    share *= 1 - 0.75 * _smoothstep((along - 0.55) / 0.45)
    _lay(frame, mask, np.broadcast_to(color, (*share.shape, 3)), opacity * share)


def _box(points: Float, frame: Image, margins: tuple[int, int, int, int]) -> _Mask | None:
    """Zeros over the box of ``points`` [P, 2] grown by margins at the left, top, right and bottom."""
    if not len(points) or not (np.abs(points) < 1e6).all():
        return None
    low, high = np.floor(points.min(0)).astype(int), np.ceil(points.max(0)).astype(int)
    left, top = max(int(low[0]) - margins[0], 0), max(int(low[1]) - margins[1], 0)
    right, bottom = (
        min(int(high[0]) + margins[2], frame.shape[1]),
        min(int(high[1]) + margins[3], frame.shape[0]),
    )
    if right - left < 2 or bottom - top < 2:
        return None
    return _Mask(left, top, np.zeros((bottom - top, right - left)))


def _inside(where: Polygon, frame: Image) -> _Mask | None:
    """The share of each pixel inside the polygon, under its Gaussian."""
    mask = _box(where.points, frame, (where.margin,) * 4)
    if mask is None:
        return None
    points = where.points.astype(np.float64) - (mask.left, 0)
    ends = np.roll(points, -1, 0)
    height, width = mask.share.shape
    columns = np.arange(width)
    for row in range(height):
        for line in range(ROWS):
            y = mask.top + row + (line + 0.5) / ROWS
            crossed = (points[:, 1] <= y) != (ends[:, 1] <= y)
            a, b = points[crossed], ends[crossed]
            found = np.sort(a[:, 0] + (y - a[:, 1]) / (b[:, 1] - a[:, 1]) * (b[:, 0] - a[:, 0]))
            for begin, end in zip(found[::2], found[1::2], strict=False):
                covered = np.clip(end - columns, 0, 1) - np.clip(begin - columns, 0, 1)
                mask.share[row] += covered / ROWS
    mask.share = _blurred(mask.share, where.soft)
    return mask


def _blurred(share: NDArray[np.float64], soft: float) -> NDArray[np.float64]:
    """``share`` [h, w] under a Gaussian; beyond its box the border goes on."""
    reach = max(1, int(np.ceil(3 * soft)))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / soft) ** 2)
    kernel /= kernel.sum()
    wide = np.pad(share, ((0, 0), (reach, reach)), mode="edge")
    across = sum(k * wide[:, i : i + share.shape[1]] for i, k in enumerate(kernel))
    high = np.pad(np.asarray(across), ((reach, reach), (0, 0)), mode="edge")
    return np.asarray(sum(k * high[i : i + share.shape[0]] for i, k in enumerate(kernel)))


def _mapped(
    matrix: Float, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return tuple(row[0] * x + row[1] * y + row[2] for row in matrix.astype(np.float64))  # type: ignore[return-value]


def _looked_up(picture: Picture, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """[h, w, 4] bilinear, clamped at the border."""
    rows, columns = picture.texels.shape[:2]
    u, v = _mapped(picture.map, x, y)
    u, v = np.clip(u - 0.5, 0, columns - 1), np.clip(v - 0.5, 0, rows - 1)
    left, top = u.astype(int), v.astype(int)
    fx, fy = (u - left)[..., None], (v - top)[..., None]
    right, below = np.minimum(left + 1, columns - 1), np.minimum(top + 1, rows - 1)
    t = picture.texels
    upper = t[top, left] + fx * (t[top, right] - t[top, left])
    lower = t[below, left] + fx * (t[below, right] - t[below, left])
    return np.asarray(upper + fy * (lower - upper))


def _own(lines: Lines) -> NDArray[np.float64]:
    """[2, K, 2] the lines in their own coordinates, x ascending."""
    both = np.stack(_mapped(lines.axes, *np.moveaxis(lines.both.astype(np.float64), -1, 0)), -1)
    order = np.argsort(both[..., :1], axis=1, kind="stable")
    return np.asarray(np.take_along_axis(both, order, 1))


def _apart(both: NDArray[np.float64]) -> float:
    """Mean distance of two lines [2, K, 2] at their points but the two at each end."""
    inner = both[:, 2:-2, 1]
    return max(float((inner[1] - inner[0]).sum()) / max(inner.shape[1], 1), 1e-3)


def _height(line: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.interp(x.ravel(), line[:, 0], line[:, 1]).reshape(x.shape)


def _smoothstep(x: NDArray[np.float64]) -> NDArray[np.float64]:
    t = np.clip(x, 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def _lay(frame: Image, mask: _Mask, color: NDArray[np.floating], share: NDArray[np.float64]) -> None:
    height, width = mask.share.shape
    part = frame[mask.top : mask.top + height, mask.left : mask.left + width]
    made = part + share[..., None] * (color - part)
    part[...] = np.clip(made + 0.5, 0, 255).astype(np.uint8)
