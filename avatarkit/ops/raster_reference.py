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

    ``near`` and ``far`` are flat indices into [B, H, W]; the nearer surface lies on the side of ``near``. An edge is
    an outline when nothing lies across it or what lies there folds back. It counts between two pixels when it lies
    before what the farther one shows; of several the outermost does.
    """
    found = [
        _image_pairs(points.detach(), triangles.long(), opposite.long(), face[i], depth[i])
        + torch.tensor([i * face[i].numel()] * 2 + [0, 0])
        for i, points in enumerate(vertices)
    ]
    return torch.cat(found) if found else torch.empty(0, 4, dtype=torch.int64)


def _image_pairs(points: Tensor, triangles: Tensor, opposite: Tensor, face: Tensor, depth: Tensor) -> Tensor:
    height, width = face.shape
    corner = torch.arange(3)
    first, second = (triangles[:, (corner + k) % 3].reshape(-1) for k in (1, 2))
    own, across = triangles.reshape(-1), opposite.reshape(-1)
    a, b, c, o = (points[index] for index in (first, second, own, across.clamp_min(0)))
    border = across < 0
    outline = border | ((_side(a, b, c) > 0) == (_side(a, b, o) > 0)) & (across >= own)
    kept = torch.nonzero(outline & torch.isfinite(torch.cat([a, b], 1)).all(1))[:, 0]
    a, b, c, border, first, second = (x[kept] for x in (a, b, c, border, first, second))
    u, v = b - a, c - a
    rise, run = (
        torch.where(border, u[:, 1], u[:, 1] * v[:, 2] - u[:, 2] * v[:, 1]),
        torch.where(border, u[:, 0], u[:, 2] * v[:, 0] - u[:, 0] * v[:, 2]),
    )
    along = (rise.abs() < run.abs()).long()  # 0: answers to horizontal neighbors, 1: to vertical ones

    def axis(values: Tensor, which: Tensor) -> Tensor:
        return values[:, :2].gather(1, which[:, None])[:, 0]

    start, stop = axis(a, 1 - along), axis(b, 1 - along)
    size = torch.tensor([height, width])[along]  # lines of pixel centers that the edge can cross
    low, high = torch.minimum(start, stop), torch.maximum(start, stop)
    begin = (low - 0.5).clamp(0, 1e6).ceil().long()
    end = torch.minimum((high - 0.5).clamp(-1, 1e6).ceil().long(), size)
    count = (end - begin).clamp_min(0)
    e = torch.repeat_interleave(torch.arange(len(kept)), count)
    line = torch.arange(len(e)) - (torch.cumsum(count, 0) - count)[e] + begin[e]
    center = line.to(points.dtype) + 0.5
    share = (center - start[e]) / (stop - start)[e]
    at = axis(a, along)[e] + share * (axis(b, along) - axis(a, along))[e]
    cell = (at - 0.5).floor()
    side_ways = along[e]
    fits = (cell >= 0) & (cell < torch.tensor([width - 1, height - 1])[side_ways])
    e, line, center, share, at, cell, side_ways = (
        x[fits] for x in (e, line, center, share, at, cell, side_ways)
    )
    column = cell.long()
    p = torch.where(side_ways == 0, line * width + column, column * width + line)
    q = p + torch.where(side_ways == 0, 1, width)
    faces, depths = face.reshape(-1), depth.reshape(-1)
    own_side = (faces[q] < 0) | ((faces[p] >= 0) & (depths[p] <= depths[q]))
    near, far = torch.where(own_side, p, q), torch.where(own_side, q, p)
    ahead = (a[e, 2] > 0) & (b[e, 2] > 0)
    z = torch.where(
        ahead, 1 / ((1 - share) / a[e, 2] + share / b[e, 2]), a[e, 2] + share * (b[e, 2] - a[e, 2])
    )
    middle = torch.where(own_side, cell, cell + 1) + 0.5
    spot = torch.where(
        side_ways[:, None] == 0, torch.stack([middle, center], 1), torch.stack([center, middle], 1)
    )
    good = (faces[near] >= 0) & (faces[p] != faces[q]) & ((faces[far] < 0) | (z < depths[far]))
    good &= (_side(a[e], b[e], spot) > 0) == (_side(a[e], b[e], c[e]) > 0)
    key, distance = (2 * p + side_ways)[good], (at - middle).abs()[good]
    rows = torch.stack([near, far, first[e], second[e]], 1)[good]
    # stable sorts from the least significant criterion on
    ranks = torch.arange(len(key))
    for criterion in (rows[:, 3], rows[:, 2], -distance, key):
        ranks = ranks[torch.argsort(criterion[ranks], stable=True)]
    return _firsts(key[ranks], rows[ranks])


def _firsts(key: Tensor, rows: Tensor) -> Tensor:
    """The first of ``rows`` [N, C] of every value of the sorted ``key`` [N]."""
    new = torch.ones(len(key), dtype=torch.bool)
    new[1:] = key[1:] != key[:-1]
    return rows[new]


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
