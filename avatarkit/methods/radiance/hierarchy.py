"""Coarse and fine samples of a ray, as in the original radiance fields, with or without what is known to be empty."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from avatarkit.methods.radiance.model import FieldAt, RayModel, Seen
from avatarkit.methods.radiance.occupancy import Occupancy
from avatarkit.rendering.volume import Volume, box_span, importance, render_volume, stratified

# Nothing is evaluated where the first look says that less light than this comes from.
FAINT = 1e-3


def render_hierarchy(
    fields: tuple[FieldAt, FieldAt],
    origins: Tensor,
    directions: Tensor,
    counts: tuple[int, int],
    occupancy: Occupancy | None,
    generator: torch.Generator | None = None,
    everywhere: bool = False,
) -> Seen:
    """Rays [R, 3] through the unit cube: a first look, then a second one with more samples where something is.

    Args:
        fields: of the first and of the second look.
        origins, directions: [R, 3], directions of length one.
        counts: samples of the first look, and those that the second has beside them. With none more there is no
            second look, and the first field is what is seen.
        occupancy: what leaves samples out; None evaluates all of them.
        generator: jitters the samples, and has ``Seen`` keep where they were.
        everywhere: also samples in cells that were found empty.

    Source: Mildenhall et al. 2020, section 5.2: 64 stratified samples for a coarse network, 64 more by its weights,
    all of them for a fine one.
    """
    near, far = box_span(origins, directions)
    t = stratified(near, far, counts[0], generator)
    keep = _possible(origins, directions, t, occupancy, everywhere)
    coarse, evaluated = _look(fields[0], origins, directions, t, far, keep)
    total = len(evaluated[0])
    if not counts[1]:
        return _seen(coarse, None, total, evaluated, generator)
    more = importance(t, coarse.weights, near, far, counts[1], generator)
    everything, _ = torch.cat([t, more], 1).sort(1)
    keep = _possible(origins, directions, everything, occupancy, everywhere)
    if occupancy is not None and not everywhere:
        left = 1 - coarse.weights.detach().cumsum(1)
        before = torch.searchsorted(t, everything, right=True) - 2  # its own interval may be where light ends
        keep &= (before < 0) | (left.gather(1, before.clamp(min=0)) > FAINT)
    fine, evaluated = _look(fields[1], origins, directions, everything, far, keep)
    return _seen(fine, coarse, total + len(evaluated[0]), evaluated, generator)


def _seen(
    fine: Volume,
    coarse: Volume | None,
    samples: int,
    evaluated: tuple[Tensor, Tensor],
    generator: torch.Generator | None,
) -> Seen:
    if generator is None:
        return Seen(fine, coarse, samples)
    return Seen(fine, coarse, samples, evaluated[0], evaluated[1].detach())


def _possible(
    origins: Tensor, directions: Tensor, t: Tensor, occupancy: Occupancy | None, everywhere: bool
) -> Tensor:
    """[R, S] bool"""
    if occupancy is None:
        return torch.ones_like(t, dtype=torch.bool)
    points = (origins[:, None] + t[..., None] * directions[:, None]).reshape(-1, 3)
    return occupancy.inside(points, everywhere).reshape(t.shape)


def _look(
    field: FieldAt, origins: Tensor, directions: Tensor, t: Tensor, far: Tensor, keep: Tensor
) -> tuple[Volume, tuple[Tensor, Tensor]]:
    """The rays' volume rendering with the samples that are kept, and (points, density) of those."""
    ray, sample = keep.nonzero(as_tuple=True)
    points = origins[ray] + t[ray, sample][:, None] * directions[ray]
    found, colors = field(points, directions[ray])
    density = torch.zeros_like(t).index_put((ray, sample), found)
    rgb = torch.zeros(*t.shape, 3, dtype=t.dtype).index_put((ray, sample), colors)
    return render_volume(density, rgb, t, far), (points, found)


class TwoLooks(RayModel):
    """A field of one network for the coarse look and one for the fine one (the same where there is no fine look)."""

    networks: nn.ModuleList

    @abstractmethod
    def field(self, network: Any, begun: Any) -> FieldAt:
        """One of the ``networks`` as the field of an image."""

    def render(
        self,
        begun: Any,
        origins: Tensor,
        directions: Tensor,
        generator: torch.Generator | None = None,
        everywhere: bool = False,
    ) -> Seen:
        """See the base class."""
        coarse, fine = (self.field(self.networks[i], begun) for i in (0, -1))
        counts = (self.own.coarse, self.own.fine)
        occupancy = self.occupancy if self.own.sampling == "skip" else None
        return render_hierarchy((coarse, fine), origins, directions, counts, occupancy, generator, everywhere)
