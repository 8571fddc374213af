"""The sparse convolution and its rules in plain torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from avatarkit.ops.sparse import Rules, Sites


def sparse_rules(inputs: Sites, centers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(source, target, begin) of ``Rules`` for a 3 x 3 x 3 kernel around ``centers`` [outputs, 3]."""
    sources, targets, begin = [], [], [0]
    for tap in range(27):
        shift = torch.tensor([tap % 3 - 1, tap // 3 % 3 - 1, tap // 9 - 1])
        rows = inputs.rows(centers + shift)
        found = (rows >= 0).nonzero()[:, 0]
        sources.append(rows[found])
        targets.append(found)
        begin.append(begin[-1] + len(found))
    return torch.cat(sources).int(), torch.cat(targets).int(), torch.tensor(begin)


def sparse_reverse(rules: Rules) -> tuple[Tensor, Tensor]:
    """(source, target) of the same pairs exchanged, targets rising within each tap."""
    tap = torch.repeat_interleave(torch.arange(len(rules.begin) - 1), rules.begin.diff())
    order = torch.argsort(tap * (rules.inputs + 1) + rules.source.long(), stable=True)
    return rules.target[order], rules.source[order]


def sparse_conv(features: Tensor, weights: Tensor, rules: Rules) -> Tensor:
    """See :func:`avatarkit.ops.sparse.sparse_conv`: gather, multiply and scatter, tap by tap."""
    out = features.new_zeros(rules.outputs, weights.shape[2])
    for tap, matrix in enumerate(weights):
        pairs = slice(int(rules.begin[tap]), int(rules.begin[tap + 1]))
        source, target = rules.source[pairs].long(), rules.target[pairs].long()
        out = out.index_add(0, target, features[source] @ matrix)
    return out
