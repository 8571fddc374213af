"""Visibility by pytorch3d (Ravi et al., *Accelerating 3D Deep Learning with PyTorch3D*, 2020) in the place of ours.

Importing this module raises ImportError where pytorch3d is not installed or does not fit the installed torch.
"""

from __future__ import annotations

import torch
from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
from pytorch3d.structures import Meshes
from torch import Tensor


def rasterize(
    vertices: Tensor, triangles: Tensor, height: int, width: int, perspective: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """``raster.rasterize`` by pytorch3d's fragments: its shapes, units and conventions are those of ours.

    Works in float32 whatever the type of ``vertices``. Triangles of next to no area (1e-8 of a picture's) are left
    out, and which of equally near triangles wins is pytorch3d's choice.
    """
    batched = vertices if vertices.ndim == 3 else vertices[None]
    parts = [_single(points.float(), triangles.long(), height, width, perspective) for points in batched]
    face, barycentric, depth = (torch.stack(layer) for layer in zip(*parts, strict=True))
    return (face, barycentric, depth) if vertices.ndim == 3 else (face[0], barycentric[0], depth[0])


def _single(
    points: Tensor, triangles: Tensor, height: int, width: int, perspective: bool
) -> tuple[Tensor, Tensor, Tensor]:
    z = points[:, 2]
    # our contract drops triangles that reach behind the camera whole, pytorch3d would cut them
    kept = torch.nonzero((z[triangles] > 0).all(1))[:, 0] if perspective else torch.arange(len(triangles))
    if not len(kept) or not height or not width:
        zeros = points.new_zeros(height, width)
        return torch.full((height, width), -1, dtype=torch.int32), zeros[..., None].expand(-1, -1, 3), zeros
    # without perspective any z only sorts, but pytorch3d leaves out what is not in front of it
    lift = 0.0 if perspective else 1 - float(z.detach().min())
    # normalized device coordinates: x to the left, y up, the shorter side from -1 to 1
    scale = 2 / min(height, width)
    place = torch.stack(
        [(width / 2 - points[:, 0]) * scale, (height / 2 - points[:, 1]) * scale, z + lift], 1
    )
    nearest, depth, barycentric, _ = rasterize_meshes(
        Meshes([place], [triangles[kept]]), (height, width), blur_radius=0.0, faces_per_pixel=1,
        perspective_correct=perspective, clip_barycentric_coords=False, cull_backfaces=False,
    )  # fmt: skip
    hit = nearest[0, ..., 0] >= 0
    face = torch.where(hit, kept[nearest[0, ..., 0].clamp_min(0)], -1).to(torch.int32)
    return face, barycentric[0, ..., 0, :] * hit[..., None], (depth[0, ..., 0] - lift) * hit
