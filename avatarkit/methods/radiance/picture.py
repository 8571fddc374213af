"""Whole pictures of a radiance field."""

from __future__ import annotations

import numpy as np
import torch

from avatarkit.data.rays import image_rays
from avatarkit.methods.radiance.model import RayModel
from avatarkit.methods.registry import Drive, Frame
from avatarkit.rendering.camera import Camera

# Rays rendered together: their samples' features fit the memory of a small machine.
CHUNK = 2048


def draw_head(model: RayModel, drive: Drive, camera: Camera) -> Frame:
    """The head alone as ``camera`` sees it; outside the head's box alpha is zero."""
    rotation, translation = (np.asarray(v, np.float32) for v in (drive.rotation, drive.translation))
    origin, rays = image_rays(camera, rotation, translation, model.box)
    directions = torch.from_numpy(rays)
    origins = torch.from_numpy(origin).expand_as(directions)
    color = torch.zeros(len(origins), 3)
    alpha = torch.zeros(len(origins))
    with torch.no_grad():
        begun = model.begin(model.moment(drive))
        for first in range(0, len(origins), CHUNK):
            part = slice(first, first + CHUNK)
            seen = model.render(begun, origins[part], directions[part]).fine
            color[part], alpha[part] = seen.color, seen.alpha
    straight = (color / alpha[:, None].clamp(min=1e-4)).clamp(0, 1)
    shape = (camera.height, camera.width)
    return Frame(straight.reshape(*shape, 3).numpy(), alpha.clamp(0, 1).reshape(shape).numpy())
