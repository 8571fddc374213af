"""Plain-torch twins of the rasterizer's kernels: any dtype, any device, gradients by autograd.

Contracts are those of :mod:`avatarkit.ops.raster`; batched shapes only. Results agree with the native kernels but
for pixel centers within rounding of an edge or of an equal depth.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

_CANDIDATES = 1 << 22  # triangle-pixel pairs tested at once


def rasterize(
    vertices: Tensor, triangles: Tensor, height: int, width: int, perspective: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """See :func:`avatarkit.ops.raster.rasterize`; ``vertices`` [B, V, 3]."""
    with torch.no_grad():
        faces = [_visible(v, triangles, height, width, perspective) for v in vertices]
        face = torch.stack(faces) if faces else torch.empty(0, height, width, dtype=torch.int32)
    hit = face >= 0
    image, row, column = torch.nonzero(hit, as_tuple=True)
    corners = vertices[image[:, None], triangles[face[hit].long()].long()]  # [N, 3, 3]
    pixels = torch.stack([column, row], 1).to(vertices.dtype) + 0.5
    inverse, share = _shares(corners, pixels, perspective)
    barycentric = torch.zeros(*face.shape, 3, dtype=vertices.dtype, device=vertices.device)
    depth = torch.zeros(face.shape, dtype=vertices.dtype, device=vertices.device)
    barycentric = barycentric.index_put((image, row, column), share)
    depth = depth.index_put((image, row, column), inverse)
    return face, barycentric, depth


def interpolate(attributes: Tensor, triangles: Tensor, face: Tensor, barycentric: Tensor) -> Tensor:
    """See :func:`avatarkit.ops.raster.interpolate`; ``face`` [B, H, W]."""
    hit = face >= 0
    image, row, column = torch.nonzero(hit, as_tuple=True)
    corners = triangles[face[hit].long()].long()
    values = attributes[corners] if attributes.ndim == 2 else attributes[image[:, None], corners]
    out = torch.zeros(*face.shape, attributes.shape[-1], dtype=attributes.dtype, device=attributes.device)
    return out.index_put((image, row, column), (values * barycentric[hit][..., None]).sum(1))


def texture(image: Tensor, uv: Tensor, face: Tensor | None) -> Tensor:
    """See :func:`avatarkit.ops.raster.texture`; ``uv`` [N, 2]."""
    rows, columns, _ = image.shape
    x = (uv[:, 0] * columns - 0.5).clamp(0, columns - 1)
    y = ((1 - uv[:, 1]) * rows - 0.5).clamp(0, rows - 1)
    x0, y0 = x.detach().long(), y.detach().long()
    x1, y1 = (x0 + 1).clamp_max(columns - 1), (y0 + 1).clamp_max(rows - 1)
    fx, fy = (x - x0)[:, None], (y - y0)[:, None]
    top = image[y0, x0] * (1 - fx) + image[y0, x1] * fx
    bottom = image[y1, x0] * (1 - fx) + image[y1, x1] * fx
    out = top * (1 - fy) + bottom * fy
    return out if face is None else torch.where(face[:, None] >= 0, out, out.new_zeros(()))


def silhouette_pairs(
    vertices: Tensor, triangles: Tensor, opposite: Tensor, face: Tensor, depth: Tensor
) -> Tensor:
    """Neighboring pixels with an outline between them: [N, 4] int64 (near, far, edge's two vertices).

    ``near`` and ``far`` are flat indices into [B, H, W]; the outline belongs to the triangle of ``near``. An edge is
    on the outline when nothing lies across it or what lies there folds back over the triangle.
    """
    images, height, width = face.shape
    index = torch.arange(images * height * width, device=face.device).reshape(face.shape)
    found = []
    for axis in (0, 1):
        neighbor = index[:, :, 1:] if axis == 0 else index[:, 1:]
        here = index[:, :, :-1] if axis == 0 else index[:, :-1]
        differ = face.reshape(-1)[here] != face.reshape(-1)[neighbor]
        p, q = here[differ], neighbor[differ]
        fp, fq = face.reshape(-1)[p], face.reshape(-1)[q]
        own = (fq < 0) | ((fp >= 0) & (depth.reshape(-1)[p] <= depth.reshape(-1)[q]))
        near, far = torch.where(own, p, q), torch.where(own, q, p)
        f = torch.where(own, fp, fq).long()
        origin = torch.stack([p % width, p // width % height], 1).to(vertices.dtype) + 0.5
        image = p // (height * width)
        taken = torch.zeros(len(p), dtype=torch.bool, device=face.device)
        for i in range(3):
            first, second = triangles[f, (i + 1) % 3].long(), triangles[f, (i + 2) % 3].long()
            a, b = vertices[image, first, :2].detach(), vertices[image, second, :2].detach()
            own_corner = vertices[image, triangles[f, i].long(), :2].detach()
            across = opposite[f, i].long()
            other = vertices[image, across.clamp_min(0), :2].detach()
            folded = (_side(a, b, own_corner) > 0) == (_side(a, b, other) > 0)
            steep = (b - a)[:, 1 - axis].abs() >= (b - a)[:, axis].abs()
            da, db = a[:, 1 - axis] - origin[:, 1 - axis], b[:, 1 - axis] - origin[:, 1 - axis]
            at = a[:, axis] - origin[:, axis] - da * (b - a)[:, axis] / (db - da)
            good = ~taken & steep & ((da < 0) != (db < 0)) & (at >= 0) & (at <= 1) & ((across < 0) | folded)
            found.append(torch.stack([near, far, first, second], 1)[good])
            taken |= good
    return torch.cat(found)


def blend_silhouettes(color: Tensor, vertices: Tensor, size: torch.Size, pairs: Tensor) -> Tensor:
    """``color`` [.., H, W, C] blended at ``pairs`` [N, 4] by where the edges of ``vertices`` [B, V, 3] pass."""
    target, source, share = silhouette_shares(vertices, size, pairs)
    flat = color.reshape(-1, color.shape[-1])
    change = share.to(color.dtype)[:, None] * (flat[source] - flat[target])
    return flat.index_add(0, target, change).reshape(color.shape)


def silhouette_shares(vertices: Tensor, size: torch.Size, pairs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of ``pairs`` [N, 4] the pixel that is blended, the one whose color it takes on, and which share of it: [N].

    Shared by native code and twin: a few thousand pairs, the shares differentiable with respect to vertices.
    """
    height, width = size
    near, far, first, second = pairs.unbind(1)
    image = near // (height * width)
    a, b = vertices[image, first, :2], vertices[image, second, :2]
    sideways = (near - far).abs() == 1
    origin = torch.stack([near % width, near // width % height], 1).to(vertices.dtype) + 0.5
    a, b = a - origin, b - origin
    # Swap the axes of vertical pairs, so that the neighbor always lies along x.
    a, b = (torch.where(sideways[:, None], p, p.flip(1)) for p in (a, b))
    along = a[:, 0] - a[:, 1] * (b[:, 0] - a[:, 0]) / (b[:, 1] - a[:, 1])
    t = along * torch.sign(far - near)
    spill = t > 0.5
    target, source = torch.where(spill, far, near), torch.where(spill, near, far)
    return target, source, (t - 0.5).abs()


def _side(a: Tensor, b: Tensor, p: Tensor) -> Tensor:
    a, b, p = a[..., :2], b[..., :2], p[..., :2]
    return (b - a)[..., 0] * (p - a)[..., 1] - (b - a)[..., 1] * (p - a)[..., 0]


def _shares(corners: Tensor, pixels: Tensor, perspective: bool) -> tuple[Tensor, Tensor]:
    """Depth [...] and barycentrics [..., 3] of ``pixels`` [..., 2] in triangles ``corners`` [..., 3, 3]."""
    a, b, c = corners.unbind(-2)
    weight = torch.stack([_side(b, c, pixels), _side(c, a, pixels), _side(a, b, pixels)], -1)
    weight = weight / _side(a, b, c)[..., None]
    if not perspective:
        return (weight * corners[..., 2]).sum(-1), weight
    weight = weight / corners[..., 2]
    depth = 1 / weight.sum(-1)
    return depth, weight * depth[..., None]


def _visible(vertices: Tensor, triangles: Tensor, height: int, width: int, perspective: bool) -> Tensor:
    """The nearest face of every pixel: [H, W] int32."""
    key = torch.full((height * width,), -1, dtype=torch.int64, device=vertices.device)
    for face, pixel in _candidates(vertices, triangles, height, width, perspective):
        center = torch.stack([pixel % width, pixel // width], 1).to(vertices.dtype) + 0.5
        corners = vertices[triangles[face].long()]
        depth, share = _shares(corners, center, perspective)
        good = (share >= 0).all(1)
        # Order by depth, then by face, in one integer: the bits of a float32 sort like the number (flipped for
        # negative ones), and only the nearest survives the reduction.
        bits = depth[good].float().contiguous().view(torch.int32).long()
        bits = torch.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
        rank = ((1 << 31) - 1 - bits << 31) + ((1 << 31) - 1 - face[good])
        key.scatter_reduce_(0, pixel[good], rank, "amax")
    face = (1 << 31) - 1 - (key & ((1 << 31) - 1))
    return torch.where(key < 0, -1, face).to(torch.int32).reshape(height, width)


def _candidates(
    vertices: Tensor, triangles: Tensor, height: int, width: int, perspective: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks of (face [N], flat pixel [N]) that cover every triangle's bounding box."""
    corners = vertices[triangles.long()]  # [F, 3, 3]
    area = _side(*corners.unbind(1))
    good = (area.abs() > 1e-12) & torch.isfinite(corners).all(2).all(1)
    if perspective:
        good &= (corners[..., 2] > 0).all(1)
    size = torch.tensor([width, height], device=vertices.device)
    low = torch.nan_to_num(corners[..., :2].amin(1) - 0.5, posinf=1e9, neginf=-1e9).ceil()
    high = torch.nan_to_num(corners[..., :2].amax(1) - 0.5, posinf=1e9, neginf=-1e9).floor() + 1
    low = low.clamp_min(0).minimum(size).long()
    extent = (high.clamp_min(0).minimum(size).long() - low).clamp_min(0)
    count = torch.where(good, extent.prod(1), 0)
    start, running = 0, torch.cumsum(count, 0)
    while start < len(count):
        done = running[start - 1] if start else 0
        stop = max(int(torch.searchsorted(running, done + _CANDIDATES, right=True)), start + 1)
        face = torch.repeat_interleave(torch.arange(start, stop, device=vertices.device), count[start:stop])
        inside = torch.arange(len(face), device=vertices.device) - (running - count)[face] + done
        column = low[face, 0] + inside % extent[face, 0]
        row = low[face, 1] + inside // extent[face, 0]
        yield face, row * width + column
        start = stop
