"""Real spherical harmonics of viewing directions."""

from __future__ import annotations

from torch import Tensor

from avatarkit.ops import reference
from avatarkit.ops.checks import shaped


def spherical_harmonics(directions: Tensor) -> Tensor:
    """The 16 real spherical harmonics of degrees 0 to 3.

    Args:
        directions: [N, 3] unit vectors.

    Returns:
        [N, 16] by degree, then order from -l to l, with the Condon-Shortley phase, as in Instant-NGP.

    Evaluated once a ray, not once a sample, so plain torch is quick enough.
    """
    return reference.spherical_harmonics(shaped("directions", directions, None, 3))
