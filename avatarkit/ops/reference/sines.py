"""Twin of the network of sines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from avatarkit.ops.sines import SineWeights


def sine_mlp(features: Tensor, extra: Tensor, weights: SineWeights) -> Tensor:
    """See ``avatarkit.ops.sines.sine_mlp``."""
    x = torch.cat([features.permute(1, 0, 2).flatten(1), extra], 1)
    x = torch.sin(x @ weights.weight0 + weights.bias0)
    x = torch.sin(x @ weights.weight1 + weights.bias1)
    return torch.sigmoid(x @ weights.weight2 + weights.bias2)
