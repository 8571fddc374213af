"""The method as the registry knows it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatarkit.data.clip import ClipFrames
from avatarkit.data.rays import SceneBox
from avatarkit.methods.drivers import Drivers
from avatarkit.methods.nerface import config
from avatarkit.methods.nerface.model import NerFACE, Sizes
from avatarkit.methods.radiance.avatar import RayAvatar
from avatarkit.methods.radiance.method import RayMethod
from avatarkit.methods.radiance.occupancy import Occupancy


def build(box: SceneBox, drivers: Drivers, entry: dict[str, Any]) -> NerFACE:
    """An empty model of the sizes in a header's ``entry``."""
    sizes = Sizes(**{f.name: entry[f.name] for f in fields(Sizes)})
    return NerFACE(box, drivers, Occupancy.empty(), sizes)


class NerFACEAvatar(RayAvatar):
    """A head fitted with NerFACE."""

    build = staticmethod(build)


class NerFACEMethod(RayMethod):
    """Gafni et al., "Dynamic Neural Radiance Fields for Monocular 4D Facial Avatar Reconstruction", 2021."""

    name = "nerface"
    Config = config.Config
    Avatar = NerFACEAvatar

    def model(
        self,
        config: config.Config,
        clip: ClipFrames,
        training: NDArray[np.int64],
        parts: tuple[SceneBox, Drivers],
    ) -> NerFACE:
        """See the base class."""
        box, drivers = parts
        options = {f.name: getattr(config, f.name) for f in fields(Sizes) if f.name != "frames"}
        return NerFACE(box, drivers, Occupancy.empty(), Sizes(len(training), **options))
