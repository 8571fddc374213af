"""Hair as strands: rooted on the triangles of a moving mesh, drawn as ribbons that face the camera."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Strands:
    """S strands of P points each, in the frames of the triangles they grow from."""

    triangle: NDArray[np.int64]
    """[S, 3] vertices of the root's triangle."""
    weight: Array
    """[S, 3] barycentrics of the root."""
    local: Array
    """[S, P, 3] points relative to the root in the triangle's frame (edge, bitangent, normal)."""
    width: Array
    """[S, P] meters."""
    color: Array
    """[S, P, 3] linear albedo, occlusion by the other strands included."""
    outward: Array | None = None
    """[S, P, 3] rest normal of the hair's outer shape, for strands that move rigidly with the head."""
    rest: Array | None = None
    """[S, P, 3] rest points of such strands, which ``posed`` then returns as they are."""

    @classmethod
    def rooted(
        cls,
        vertices: Array,
        triangle: NDArray[np.int64],
        weight: Array,
        points: Array,
        width: Array,
        color: Array,
    ) -> Strands:
        """Strands with ``points`` [S, P, 3] given on the rest mesh ``vertices`` [V, 3]."""
        root, frame = _frames(vertices, triangle, weight)
        local = np.einsum("spi,sij->spj", points - root[:, None], frame)
        return cls(
            triangle, weight, local.astype(np.float32), width.astype(np.float32), color.astype(np.float32)
        )

    def chosen(self, which: NDArray[np.bool_] | slice) -> Strands:
        """Only some of the strands."""
        outward = None if self.outward is None else self.outward[which]
        rest = None if self.rest is None else self.rest[which]
        return Strands(
            self.triangle[which],
            self.weight[which],
            self.local[which],
            self.width[which],
            self.color[which],
            outward,
            rest,
        )

    def thinned(self, every: int, broader: float) -> Strands:
        """Every so many-th strand, as much broader: a cheap stand-in for the hair's mass."""
        few = self.chosen(slice(None, None, every))
        return replace(few, width=few.width * np.float32(broader))

    def posed(self, vertices: Array) -> Array:
        """Points [S, P, 3] on the posed mesh."""
        if self.rest is not None:
            return self.rest
        root, frame = _frames(vertices, self.triangle, self.weight)
        points: Array = root[:, None] + self.local @ np.swapaxes(frame, 1, 2)
        return points

    def ribbons(self) -> NDArray[np.int32]:
        """[2 S (P - 1), 3] triangles over vertices ordered [S, P, side]."""
        strands, points = self.local.shape[:2]
        base = 2 * (np.arange(strands)[:, None] * points + np.arange(points - 1)).reshape(-1)
        quads = np.stack([base, base + 1, base + 2, base + 2, base + 1, base + 3], 1)
        return quads.reshape(-1, 3).astype(np.int32)


def _frames(vertices: Array, triangle: NDArray[np.int64], weight: Array) -> tuple[Array, Array]:
    """Root [S, 3] and frame [S, 3, 3] (columns: edge, bitangent, normal)."""
    a, b, c = (vertices[triangle[:, i]] for i in range(3))
    root = a * weight[:, :1] + b * weight[:, 1:2] + c * weight[:, 2:]
    edge = _unit(b - a)
    normal = _unit(np.cross(edge, c - a))
    return root, np.stack([edge, np.cross(normal, edge), normal], 2)


def _unit(v: Array) -> Array:
    length = np.sqrt(np.einsum("...i,...i->...", v, v))[..., None]
    unit: Array = v / np.maximum(length, 1e-12)
    return unit


def tangents(points: Array) -> Array:
    """Unit tangents [S, P, 3] of ``points`` [S, P, 3] by central differences."""
    along = np.empty_like(points)
    along[:, 1:-1] = points[:, 2:] - points[:, :-2]
    along[:, 0] = points[:, 1] - points[:, 0]
    along[:, -1] = points[:, -1] - points[:, -2]
    return _unit(along)


def widened(points: Array, along: Array, width: Array) -> Array:
    """Ribbon vertices [S P 2, 3] of camera-space ``points`` [S, P, 3] that face the camera at the origin."""
    side = _unit(np.cross(along, points)) * (0.5 * width[..., None])
    return np.stack([points - side, points + side], 2).reshape(-1, 3)


def kajiya(along: Array, points: Array, towards: Array, sharpness: float) -> tuple[Array, Array]:
    """Diffuse and specular factors [S, P] of a fiber for one distant light (Kajiya & Kay, 1989).

    ``points`` are in camera space, so that the view direction is towards the origin.
    """
    view = -_unit(points)
    along_light = along @ towards
    along_view = np.einsum("spi,spi->sp", along, view)
    across_light = np.sqrt(np.clip(1 - along_light**2, 0, 1))
    across_view = np.sqrt(np.clip(1 - along_view**2, 0, 1))
    cosine = np.clip(across_light * across_view - along_light * along_view, 0, 1)
    return across_light, cosine**sharpness
