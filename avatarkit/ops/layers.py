"""Sheets of textured triangles over a plate: a whole frame of a moving photo in one native call.

Numpy arrays in and out, no gradients; pixel and texel (x, y) have their centers at (x + 0.5, y + 0.5). The kernel's
contract is in ``csrc/layers/layers.h``; where it is not built its twin in :mod:`avatarkit.ops.reference.layers` works.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from avatarkit.ops.native import module

Image = NDArray[np.uint8]
STILL, GONE = 0.5, 4.0
"""Pixels of motion up to which what the layers lose of a picture is given back, and beyond which not at all."""


@dataclass(frozen=True)
class Layer:
    """What of a sheet stays the same from frame to frame. Raises ValueError on shapes that do not fit."""

    texture: Image
    """[TH, TW, 4] colors times alpha, and alpha (see ``premultiplied``)."""
    triangles: NDArray[np.int32]
    """[F, 3], either winding; the nearest is seen, of equally near ones the first."""
    places: NDArray[np.float32]
    """[V, 2] where in the texture each vertex lies, texels."""
    soft: bool = False
    """whether the outline fades over a pixel on its inner side."""
    fold: float = 0.0
    """texels across or down between the places of neighbors from which both are softened (0: never): a surface ends."""

    def __post_init__(self) -> None:
        for name, kind in (("texture", np.uint8), ("triangles", np.int32), ("places", np.float32)):
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), kind))
        texture, triangles, places = self.texture, self.triangles, self.places
        if texture.ndim != 3 or texture.shape[2] != 4 or 0 in texture.shape:
            raise ValueError(f"a texture must be [TH, TW, 4] with at least one texel, not {texture.shape}")
        if triangles.ndim != 2 or triangles.shape[1] != 3 or places.ndim != 2 or places.shape[1] != 2:
            raise ValueError(f"triangles {triangles.shape} must be [F, 3] and places {places.shape} [V, 2]")
        if triangles.size and not 0 <= triangles.min() <= triangles.max() < len(places):
            raise ValueError(f"triangles refer to vertices outside 0..{len(places) - 1}")

    def at(self, vertices: NDArray[np.floating], opacity: float = 1.0) -> Laid:
        """The layer in one frame, its ``vertices`` [V, 3] in pixels and depth (growing away), ``opacity`` 0 to 1."""
        points = np.ascontiguousarray(vertices, np.float32)
        if points.shape != (len(self.places), 3):
            raise ValueError(f"vertices {points.shape} must be [{len(self.places)}, 3]")
        return Laid(self, points, float(opacity))


class Laid(NamedTuple):
    """A layer where it lies in one frame; see ``Layer.at``."""

    layer: Layer
    vertices: NDArray[np.float32]
    opacity: float


class Composed(NamedTuple):
    """One frame."""

    image: Image
    """[H, W, 3]"""
    still: Image
    """[H, W] 255 where the traced layer shows each pixel's own place, 0 from ``GONE`` pixels on and where it is not."""
    alpha: Image | None
    """[H, W] the traced layer's own alpha, where that was asked for."""


def premultiplied(color: Image, alpha: NDArray[np.float32] | None = None) -> Image:
    """[H, W, 4] texture from ``color`` [H, W, 3] and ``alpha`` [H, W] in 0 to 1 (opaque where left out)."""
    if alpha is None:
        return np.dstack([color, np.full(color.shape[:2], 255, np.uint8)])
    scaled = color * alpha[..., None]
    return np.dstack([scaled, alpha * 255]).round().astype(np.uint8)


def compose(plate: Image, laid: Sequence[Laid], traced: int = -1, alpha: bool = False) -> Composed:
    """``plate`` [H, W, 4] (opaque) under the layers ``laid``, the later over the earlier.

    ``traced``: which of them says how far each pixel has moved (negative: counted from the end).
    With ``alpha`` the traced layer's own alpha is returned, too. Raises ValueError on shapes that do not fit.
    """
    if plate.ndim != 3 or plate.shape[2] != 4 or plate.dtype != np.uint8:
        raise ValueError(f"the plate must be [H, W, 4] uint8, not {plate.shape} {plate.dtype}")
    if laid and not -len(laid) <= traced < len(laid):
        raise ValueError(f"layer {traced} cannot be traced: there are {len(laid)}")
    native = module()
    if native is None:
        from avatarkit.ops.reference import layers as twin

        return twin.compose(plate, laid, traced, alpha)
    plate = np.ascontiguousarray(plate)
    height, width = plate.shape[:2]
    image = np.empty((height, width, 3), np.uint8)
    still = np.zeros((height, width), np.uint8)
    seen = np.zeros((height, width), np.uint8) if alpha else None
    sheets = [
        (
            s.layer.texture,
            s.layer.triangles,
            s.layer.places,
            s.vertices,
            s.opacity,
            s.layer.soft,
            s.layer.fold,
        )
        for s in laid
    ]
    native.compose_layers(plate, sheets, traced % max(len(laid), 1), STILL, GONE, image, still, seen)
    return Composed(image, still, seen)


def restore(image: Image, lost: NDArray[np.int16], still: Image) -> None:
    """Add ``lost`` [3, H, W] as far as pixels are ``still`` [H, W] (255: wholly) to ``image`` [H, W, 3], in place."""
    if image.shape[2:] != (3,) or lost.shape != (3, *image.shape[:2]) or still.shape != image.shape[:2]:
        raise ValueError(
            f"image {image.shape}, lost {lost.shape} and still {still.shape} do not fit together"
        )
    native = module()
    if native is None:
        from avatarkit.ops.reference import layers as twin

        twin.restore(image, lost, still)
    else:
        native.restore_lost(image, lost, still)


def nearest(
    vertices: NDArray[np.floating], triangles: NDArray[np.int32], height: int, width: int
) -> NDArray[np.float32]:
    """[H, W] depth of the nearest surface of a mesh with ``vertices`` [V, 3] in pixels and depth; NaN: none."""
    points = np.ascontiguousarray(vertices, np.float32)[None]
    faces = np.ascontiguousarray(triangles, np.int32)
    if faces.size and not 0 <= faces.min() <= faces.max() < points.shape[1]:
        raise ValueError(f"triangles refer to vertices outside 0..{points.shape[1] - 1}")
    native = module()
    if native is None:
        from avatarkit.ops.reference import layers as twin

        return twin.nearest(points, faces, height, width)
    face = np.empty((1, height, width), np.int32)
    depth = np.empty((1, height, width), np.float32)
    native.rasterize_forward(points, faces, False, face, np.empty((1, height, width, 3), np.float32), depth)
    return np.where(face[0] >= 0, depth[0], np.float32(np.nan))
