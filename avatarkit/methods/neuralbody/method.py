"""The method as the registry knows it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatarkit.data.clip import ClipFrames
from avatarkit.data.rays import SceneBox
from avatarkit.methods.drivers import Drivers
from avatarkit.methods.neuralbody import config
from avatarkit.methods.neuralbody.model import NeuralBody, Sizes
from avatarkit.methods.radiance.avatar import RayAvatar
from avatarkit.methods.radiance.method import RayMethod
from avatarkit.methods.radiance.occupancy import Occupancy
from avatarkit.methods.radiance.vertices import HeadVertices

_FROM_CONFIG = ("code", "volume", "appearance", "width", "position_octaves", "coarse", "sampling")


def build(box: SceneBox, drivers: Drivers, entry: dict[str, Any]) -> NeuralBody:
    """An empty model of the sizes in a header's ``entry``."""
    entry = {"position_octaves": 10, **entry}  # files written before there was a choice
    sizes = Sizes(**{f.name: entry[f.name] for f in fields(Sizes)})
    vertices = HeadVertices.empty(sizes.vertices, len(drivers.names))
    return NeuralBody(box, drivers, Occupancy.empty(), sizes, vertices)


class NeuralBodyAvatar(RayAvatar):
    """A head fitted with Neural Body."""

    build = staticmethod(build)


class NeuralBodyMethod(RayMethod):
    """Peng et al., "Neural Body", 2021, on the head's vertices, as MA-NeRF compares itself with it (seed 000)."""

    name = "neuralbody"
    Config = config.Config
    Avatar = NeuralBodyAvatar

    def model(
        self,
        config: config.Config,
        clip: ClipFrames,
        training: NDArray[np.int64],
        parts: tuple[SceneBox, Drivers],
    ) -> NeuralBody:
        """See the base class."""
        box, drivers = parts
        vertices = HeadVertices.of(clip.track, box)
        cells = max(round(1000 * box.side / config.voxel), 16)
        options = {name: getattr(config, name) for name in _FROM_CONFIG}
        sizes = Sizes(len(training), len(vertices), cells, **options)
        return NeuralBody(box, drivers, Occupancy.empty(), sizes, vertices)
