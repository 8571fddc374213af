"""The method as the registry knows it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatarkit.data.clip import ClipFrames
from avatarkit.data.rays import SceneBox
from avatarkit.methods.concat import config
from avatarkit.methods.concat.model import Concat, Sizes
from avatarkit.methods.drivers import Drivers
from avatarkit.methods.radiance.avatar import RayAvatar
from avatarkit.methods.radiance.method import RayMethod
from avatarkit.methods.radiance.occupancy import Occupancy


def build(box: SceneBox, drivers: Drivers, entry: dict[str, Any]) -> Concat:
    """An empty model of the sizes in a header's ``entry``."""
    sizes = Sizes(**{f.name: entry[f.name] for f in fields(Sizes)})
    return Concat(box, drivers, Occupancy.empty(), sizes)


class ConcatAvatar(RayAvatar):
    """A head fitted with the concatenation baseline."""

    build = staticmethod(build)


class ConcatMethod(RayMethod):
    """The baseline of Gao et al. 2022, section 4.3: one hash grid, its query beside the expression's embedding."""

    name = "concat"
    Config = config.Config
    Avatar = ConcatAvatar

    def model(
        self,
        config: config.Config,
        clip: ClipFrames,
        training: NDArray[np.int64],
        parts: tuple[SceneBox, Drivers],
    ) -> Concat:
        """See the base class."""
        box, drivers = parts
        options = {f.name: getattr(config, f.name) for f in fields(Sizes)}
        return Concat(box, drivers, Occupancy.empty(), Sizes(**options))
