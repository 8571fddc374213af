"""Twin of vertex normals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from avatarkit.ops.normals import Incidence


def vertex_normals(vertices: Tensor, around: Incidence) -> Tensor:
    """See ``avatarkit.ops.normals.vertex_normals``."""
    faces = around.triangles.to(vertices.device).long()
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    area = torch.linalg.cross(b - a, c - a)
    sums = torch.zeros_like(vertices)
    for i in range(3):
        sums = sums.index_add(0, faces[:, i], area)
    length = sums.norm(dim=1, keepdim=True)
    return torch.where(length > 1e-20, sums / length.clamp_min(1e-20), torch.zeros_like(sums))
