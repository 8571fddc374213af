"""The method as the registry knows it."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatarkit.data.clip import ClipFrames
from avatarkit.data.labels import Label
from avatarkit.data.rays import SceneBox
from avatarkit.methods.drivers import Drivers
from avatarkit.methods.driving import neutral_frame
from avatarkit.methods.manerf import config
from avatarkit.methods.manerf.model import MANeRF, Sizes
from avatarkit.methods.radiance.avatar import RayAvatar
from avatarkit.methods.radiance.method import RayMethod
from avatarkit.methods.radiance.occupancy import Occupancy
from avatarkit.methods.radiance.vertices import HeadVertices

_FROM_CLIP = ("frames", "vertices", "labels", "cells")


def build(box: SceneBox, drivers: Drivers, entry: dict[str, Any]) -> MANeRF:
    """An empty model of the sizes in a header's ``entry``."""
    sizes = Sizes(**{f.name: entry[f.name] for f in fields(Sizes)})
    vertices = HeadVertices.empty(sizes.vertices, len(drivers.names))
    labels = torch.zeros(sizes.vertices, dtype=torch.int64)
    return MANeRF(box, drivers, Occupancy.empty(), sizes, vertices, labels)


def vertex_labels(
    clip: ClipFrames, vertices: HeadVertices, box: SceneBox, training: NDArray[np.int64]
) -> Tensor:
    """[V] the label that each vertex of the canonical head falls on in the canonical label map (section III-D).

    The canonical picture is the most neutral of the training frames; vertices outside it are background.
    """
    track = clip.track
    rest = neutral_frame(replace(track, valid=np.isin(np.arange(len(track)), training)))
    head = box.from_unit(vertices.neutral.numpy())
    seen = clip.camera.project(head @ track.rotation[rest].T + track.translation[rest])
    x, y = np.floor(seen).astype(np.int64).T
    side = clip.resolution
    inside = (x >= 0) & (x < side) & (y >= 0) & (y < side)
    labels = np.full(len(head), int(Label.BACKGROUND), np.int64)
    labels[inside] = clip.labels(rest)[y[inside], x[inside]]
    return torch.from_numpy(labels)


class MANeRFAvatar(RayAvatar):
    """A head fitted with MA-NeRF."""

    build = staticmethod(build)


class MANeRFMethod(RayMethod):
    """Zhang et al., "MA-NeRF: Motion-Assisted Neural Radiance Fields for Face Synthesis from Sparse Images", 2023."""

    name = "manerf"
    Config = config.Config
    Avatar = MANeRFAvatar

    def model(
        self,
        config: config.Config,
        clip: ClipFrames,
        training: NDArray[np.int64],
        parts: tuple[SceneBox, Drivers],
    ) -> MANeRF:
        """See the base class."""
        box, drivers = parts
        vertices = HeadVertices.of(clip.track, box)
        cells = max(round(1000 * box.side / config.voxel), 16)
        classes = len(Label) if config.semantic else 0
        options = {f.name: getattr(config, f.name) for f in fields(Sizes) if f.name not in _FROM_CLIP}
        sizes = Sizes(len(training), len(vertices), classes, cells, **options)
        labels = vertex_labels(clip, vertices, box, training)
        return MANeRF(box, drivers, Occupancy.empty(), sizes, vertices, labels)
