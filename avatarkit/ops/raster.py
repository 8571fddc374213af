"""Differentiable triangle rasterization: visibility, interpolation, texture lookup and edge anti-aliasing.

The decomposition follows nvdiffrast (Laine et al., *Modular Primitives for High-Performance Differentiable
Rendering*, 2020): each step is its own operation with its own gradient, and silhouettes get theirs from the
analytic coverage of ``antialias``. Contiguous float32 tensors on the CPU run natively; everything else goes to the
plain-torch twin in :mod:`avatarkit.ops.raster_reference`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatarkit.ops import raster_reference as twin
from avatarkit.ops.native import module

Rasterizer = Callable[[Tensor, Tensor, int, int], tuple[Tensor, Tensor, Tensor]]
"""``rasterize`` or another library's: vertices, triangles, height, width to face, barycentric, depth."""
BACKENDS = ("native", "pytorch3d")


def rasterizer(backend: str = "native") -> Rasterizer:
    """``rasterize`` by one of ``BACKENDS``. Raises ImportError where its library is not installed."""
    if backend == "native":
        return rasterize
    if backend not in BACKENDS:
        raise ValueError(f"no rasterizer is called '{backend}': choose {' or '.join(BACKENDS)}")
    from avatarkit.ops import raster_pytorch3d

    return raster_pytorch3d.rasterize


def rasterize(
    vertices: Tensor, triangles: Tensor, height: int, width: int, perspective: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """Find the nearest triangle behind every pixel center.

    ``vertices`` [V, 3] or [B, V, 3]: x and y in pixels (centers at integer + 0.5), z the camera depth in any unit;
    ``triangles`` [F, 3] int32, either winding. Returns ``face`` [.., H, W] int32 (-1: empty), ``barycentric``
    [.., H, W, 3] and ``depth`` [.., H, W] (both 0 where empty), the latter two differentiable with respect to the
    vertices. With ``perspective``, barycentrics are linear on the surface in space and triangles that reach behind
    the camera (z <= 0) are dropped whole; without, they are linear in the image and z only sorts. Of equally near
    triangles the first wins. Raises ValueError on shapes that do not fit.
    """
    if vertices.ndim not in {2, 3} or vertices.shape[-1] != 3:
        raise ValueError(f"vertices must be [V, 3] or [B, V, 3], not {list(vertices.shape)}")
    triangles = _checked_triangles(triangles, vertices.shape[-2], vertices.device)
    if height < 0 or width < 0:
        raise ValueError(f"image size must not be negative: {height} x {width}")
    batched = vertices if vertices.ndim == 3 else vertices[None]
    if _is_native(batched):
        face, barycentric, depth = _Rasterize.apply(batched, triangles, height, width, perspective)
    else:
        face, barycentric, depth = twin.rasterize(batched, triangles, height, width, perspective)
    return (face, barycentric, depth) if vertices.ndim == 3 else (face[0], barycentric[0], depth[0])


def interpolate(attributes: Tensor, triangles: Tensor, face: Tensor, barycentric: Tensor) -> Tensor:
    """Attributes [V, C] (shared) or [B, V, C] at every pixel: [.., H, W, C], 0 where empty.

    ``triangles`` [F, 3] indexes the attributes and may differ from the rasterized ones (texture seams), as long as
    its rows correspond. Differentiable with respect to ``attributes`` and ``barycentric``.
    """
    if attributes.ndim not in {2, 3}:
        raise ValueError(f"attributes must be [V, C] or [B, V, C], not {list(attributes.shape)}")
    batched = face.ndim == 3
    if attributes.ndim == 3 and (not batched or attributes.shape[0] != face.shape[0]):
        raise ValueError(f"{attributes.shape[0]} attribute sets do not fit faces {list(face.shape)}")
    triangles = _checked_triangles(triangles, attributes.shape[-2], attributes.device)
    if not batched:
        face, barycentric = face[None], barycentric[None]
    if _is_native(attributes, barycentric):
        out: Tensor = _Interpolate.apply(attributes, triangles, face, barycentric)
    else:
        out = twin.interpolate(attributes, triangles, face, barycentric)
    return out if batched else out[0]


def texture(image: Tensor, uv: Tensor, face: Tensor | None = None) -> Tensor:
    """Bilinear lookup of ``image`` [TH, TW, C] at ``uv`` [..., 2] in [0, 1] (v up), clamped at the border: [..., C].

    Texel centers lie at integer + 0.5, the first row is v = 1. Where ``face`` [...] is given and negative, the
    result is 0 and the lookup is saved. Differentiable with respect to ``image`` and ``uv``.
    """
    if image.ndim != 3 or 0 in image.shape[:2]:
        raise ValueError(f"a texture must be [TH, TW, C] with at least one texel, not {list(image.shape)}")
    if uv.shape[-1] != 2 or (face is not None and face.shape != uv.shape[:-1]):
        raise ValueError(f"uv {list(uv.shape)} must be [..., 2] and agree with the faces")
    flat, mask = uv.reshape(-1, 2), None if face is None else face.reshape(-1)
    if _is_native(image, flat):
        out: Tensor = _Texture.apply(image, flat, mask)
    else:
        out = twin.texture(image, flat, mask)
    return out.reshape(*uv.shape[:-1], image.shape[2])


def edge_opposites(triangles: Tensor | NDArray[np.integer]) -> Tensor:
    """For the edge across corner i of every triangle: the vertex on its other side, or -1 at a border: [F, 3] int32.

    Depends on the topology alone; compute it once per mesh for :func:`antialias`. An edge with more than two
    triangles counts as a border.
    """
    t = np.asarray(triangles, np.int64).reshape(-1, 3)
    edges = np.sort(np.stack([t[:, [1, 2]], t[:, [2, 0]], t[:, [0, 1]]], 1).reshape(-1, 2), 1)
    _, which, count = np.unique(edges, axis=0, return_inverse=True, return_counts=True)
    which = which.reshape(-1)
    corner = t.reshape(-1)
    total = np.zeros(len(count), np.int64)
    np.add.at(total, which, corner)
    opposite = np.where(count[which] == 2, total[which] - corner, -1)
    return torch.from_numpy(opposite.reshape(-1, 3).astype(np.int32))


def antialias(
    color: Tensor, vertices: Tensor, triangles: Tensor, opposite: Tensor, face: Tensor, depth: Tensor
) -> Tensor:
    """Blend ``color`` [.., H, W, C] across silhouettes by the share of the pixel that the nearer surface covers.

    Where an outline passes between two pixel centers at a distance t from the nearer surface's own, |t - 1/2| of
    one of the two pixels belongs to the other: the farther one's if t > 1/2, else the nearer one's. Run it on an
    image of ones and zeros for an analytic alpha. Differentiable with respect to ``color`` and, through t, to
    ``vertices`` [.., V, 3]: this is where a mesh's outline gets its gradient from. ``opposite`` comes from
    :func:`edge_opposites`, ``face`` and ``depth`` from :func:`rasterize`.
    """
    if color.shape[:-1] != face.shape:
        raise ValueError(f"color {list(color.shape)} does not fit faces {list(face.shape)}")
    points = vertices if vertices.ndim == 3 else vertices[None]
    faces, depths = (face, depth.detach()) if face.ndim == 3 else (face[None], depth.detach()[None])
    triangles = _checked_triangles(triangles, points.shape[-2], points.device)
    opposite = opposite.to(torch.int32).contiguous()
    native = module() if _is_native(points) else None
    if native is not None:
        found = native.silhouette_pairs(
            points.detach().contiguous(), triangles, opposite, faces.contiguous(), depths.contiguous()
        )
        near, far, share = twin.silhouette_shares(points, faces.shape[1:], torch.from_numpy(found))
        spread: Tensor = _Blend.apply(color, near, far, share.to(color.dtype))
        return spread
    pairs = twin.silhouette_pairs(points, triangles, opposite, faces, depths)
    return twin.blend_silhouettes(color, points, faces.shape[1:], pairs)


def _is_native(*tensors: Tensor) -> bool:
    cpu = all(t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors)
    return cpu and module() is not None


def _checked_triangles(triangles: Tensor, vertices: int, device: torch.device) -> Tensor:
    if triangles.ndim != 2 or triangles.shape[1] != 3:
        raise ValueError(f"triangles must be [F, 3], not {list(triangles.shape)}")
    triangles = triangles.to(device=device, dtype=torch.int32).contiguous()
    if triangles.numel() and not (int(triangles.min()) >= 0 and int(triangles.max()) < vertices):
        raise ValueError(f"triangles refer to vertices outside 0..{vertices - 1}")
    return triangles


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, vertices: Tensor, triangles: Tensor, height: int, width: int, perspective: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        points = vertices.detach().contiguous()
        face = torch.empty(len(points), height, width, dtype=torch.int32)
        barycentric = torch.empty(*face.shape, 3)
        depth = torch.empty(*face.shape)
        native = module()
        assert native is not None
        native.rasterize_forward(points, triangles, perspective, face, barycentric, depth)
        ctx.save_for_backward(points, triangles, face, barycentric)
        ctx.perspective = perspective
        ctx.mark_non_differentiable(face)
        ctx.set_materialize_grads(False)
        return face, barycentric, depth

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        points, triangles, face, barycentric = ctx.saved_tensors
        to_barycentric, to_depth = gradients[1:]
        if to_barycentric is None and to_depth is None:
            return None, None, None, None, None
        if to_barycentric is None:
            to_barycentric = torch.zeros_like(barycentric)
        out = torch.empty_like(points)
        native = module()
        assert native is not None
        native.rasterize_backward(
            points, triangles, ctx.perspective, face, barycentric.detach(), to_barycentric.contiguous(),
            None if to_depth is None else to_depth.contiguous(), out,
        )  # fmt: skip
        return out, None, None, None, None


class _Interpolate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, attributes: Tensor, triangles: Tensor, face: Tensor, barycentric: Tensor) -> Tensor:
        values, weights = attributes.detach().contiguous(), barycentric.detach().contiguous()
        face = face.contiguous()
        out = torch.empty(*face.shape, attributes.shape[-1])
        native = module()
        assert native is not None
        native.interpolate_forward(values, triangles, face, weights, out)
        ctx.save_for_backward(values, triangles, face, weights)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, triangles, face, weights = ctx.saved_tensors
        to_values = torch.empty_like(values) if ctx.needs_input_grad[0] else None
        to_weights = torch.empty_like(weights) if ctx.needs_input_grad[3] else None
        native = module()
        assert native is not None
        native.interpolate_backward(
            values, triangles, face, weights, gradients[0].contiguous(), to_values, to_weights
        )
        return to_values, None, None, to_weights


class _Blend(torch.autograd.Function):
    """color[target] += share (color[source] - color[target]); gradients touch few pixels, autograd's all of them."""

    @staticmethod
    def forward(ctx: Any, color: Tensor, target: Tensor, source: Tensor, share: Tensor) -> Tensor:
        flat = color.detach().reshape(-1, color.shape[-1])
        difference = flat[source] - flat[target]
        ctx.save_for_backward(target, source, share, difference)
        return flat.index_add(0, target, share[:, None] * difference).reshape(color.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        target, source, share, difference = ctx.saved_tensors
        flat = gradients[0].reshape(-1, gradients[0].shape[-1])
        moved = flat[target]
        to_color = None
        if ctx.needs_input_grad[0]:
            part = share[:, None] * moved
            to_color = flat.index_add(0, target, part, alpha=-1).index_add_(0, source, part)
            to_color = to_color.reshape(gradients[0].shape)
        to_share = (moved * difference).sum(1) if ctx.needs_input_grad[3] else None
        return to_color, None, None, to_share


class _Texture(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, uv: Tensor, face: Tensor | None) -> Tensor:
        texels, places = image.detach().contiguous(), uv.detach().contiguous()
        mask = None if face is None else face.contiguous()
        out = torch.empty(len(places), image.shape[2])
        native = module()
        assert native is not None
        native.texture_forward(texels, places, mask, out)
        ctx.save_for_backward(texels, places, mask)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        texels, places, mask = ctx.saved_tensors
        to_texels = torch.empty_like(texels) if ctx.needs_input_grad[0] else None
        to_places = torch.empty_like(places) if ctx.needs_input_grad[1] else None
        native = module()
        assert native is not None
        native.texture_backward(texels, places, mask, gradients[0].contiguous(), to_texels, to_places)
        return to_texels, to_places, None
