"""Vertex normals of a triangle mesh, differentiable with respect to the vertices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import FunctionCtx

from avatarkit.ops import reference
from avatarkit.ops.checks import native_for, plain, shaped


@dataclass(frozen=True, eq=False)
class Incidence:
    """Which triangles meet at which vertex; depends on the topology alone."""

    triangles: Tensor
    """[F, 3] int32"""
    first: Tensor
    """[V + 1] int32: the corners at vertex v are ``corners[first[v]:first[v + 1]]``"""
    corners: Tensor
    """[3F] int32: 3 f + i is corner i of triangle f"""

    @classmethod
    def of(cls, triangles: Tensor | NDArray[np.integer], vertices: int) -> Incidence:
        """Of ``triangles`` [F, 3] over so many ``vertices``. Raises ValueError where an index lies outside."""
        faces = np.asarray(triangles, np.int32).reshape(-1, 3)
        if faces.size and not (faces.min() >= 0 and faces.max() < vertices):
            raise ValueError(f"triangles refer to vertices outside 0..{vertices - 1}")
        corner = faces.reshape(-1)
        order = np.argsort(corner, kind="stable").astype(np.int32)
        first = np.concatenate([[0], np.cumsum(np.bincount(corner, minlength=vertices))]).astype(np.int32)
        return cls(torch.from_numpy(faces.copy()), torch.from_numpy(first), torch.from_numpy(order))


def vertex_normals(vertices: Tensor, around: Incidence) -> Tensor:
    """Unit normals [V, 3] of ``vertices`` [V, 3]: the sum of (b - a) x (c - a) of the triangles around each.

    The cross products weigh triangles by area (Gouraud's normals); a vertex without surface has the normal zero.
    Outward for triangles that are counter-clockwise from outside. Raises ValueError for another number of vertices.
    """
    vertices = shaped("vertices", vertices, len(around.first) - 1, 3)
    if native_for(vertices) is None:
        return reference.vertex_normals(vertices, around)
    result: Tensor = _VertexNormals.apply(vertices, around)
    return result


class _VertexNormals(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, vertices: Tensor, around: Incidence) -> Tensor:
        points = plain(vertices)
        sums, normals = torch.empty_like(points), torch.empty_like(points)
        native = native_for(points)
        assert native is not None
        native.vertex_normals(points, around.triangles, around.first, around.corners, sums, normals)
        ctx.save_for_backward(points, sums)
        ctx.around = around  # type: ignore[attr-defined]
        return normals

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        points, sums = ctx.saved_tensors  # type: ignore[attr-defined]
        around: Incidence = ctx.around  # type: ignore[attr-defined]
        result = torch.empty_like(points)
        native = native_for(points)
        assert native is not None
        native.vertex_normals_backward(
            points, around.triangles, around.first, around.corners, sums, plain(gradients[0]), result
        )
        return result, None
