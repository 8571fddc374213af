"""Real spherical harmonics of viewing directions."""

from __future__ import annotations

import torch
from torch import Tensor

from avatarkit.ops import reference
from avatarkit.ops.checks import native_for, shaped


def spherical_harmonics(directions: Tensor) -> Tensor:
    """The 16 real spherical harmonics of degrees 0 to 3.

    Args:
        directions: [N, 3] unit vectors.

    Returns:
        [N, 16] by degree, then order from -l to l, with the Condon-Shortley phase, as in Instant-NGP.

    Gradients flow to ``directions`` in the plain-torch twin, which computes them where they are asked for.
    """
    directions = shaped("directions", directions, None, 3)
    native = native_for(directions)
    if native is None or directions.requires_grad:
        return reference.spherical_harmonics(directions)
    result = torch.empty(directions.shape[0], 16)
    native.spherical_harmonics(directions, result)
    return result
