"""Pose and expression of a frame, fitted to it with everything else held fixed (section 4.3)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from avatarkit.losses.patch import structure
from avatarkit.methods.nha.energies import priors
from avatarkit.methods.nha.evidence import Evidence, Weights, appearance_energy, geometry_energy
from avatarkit.methods.nha.figure import Figure, turning
from avatarkit.methods.registry import Drive
from avatarkit.ops.native import retain_memory
from avatarkit.rendering.camera import Camera

STEPS, RATE = 40, 0.012
TURN, MOVE, COEFFICIENT = 0.1, 0.02, 1.0
"""Radians, meters and coefficients that one unit of the unknowns is worth."""
PRIOR = 2e-4
"""Of what is found against what was tracked: weak, because a single frame is asked here."""
WEIGHTS = Weights(
    landmark=1.0, normal=0.0, semantic=0.3, offset=0.0, photometric=1.0, perceptual=0.1, lids=True
)


def refitted(figure: Figure, fields: Tensor, drive: Drive, evidence: Evidence, camera: Camera) -> Drive:
    """``drive`` with the rotation, translation and coefficients that minimize eq. 1 for the frame ``evidence``.

    Adam from what was tracked; the step with the least energy counts. The texture network's code follows the
    coefficients, without gradients of its own.
    """
    retain_memory()
    start = figure.moment(drive)
    own = torch.zeros(len(start.expression) + 6, requires_grad=True)
    optimizer = torch.optim.Adam([own], RATE, betas=(0.8, 0.95))
    best, found = float("inf"), drive
    for step in range(STEPS + 1):
        now = _moved(drive, own)
        moment = figure.moment(now)
        moment = replace(
            moment,
            rotation=turning((own[-6:-3] * TURN)[None])[0] @ start.rotation,
            translation=start.translation + own[-3:] * MOVE,
            expression=(start.expression + own[:-6] * COEFFICIENT).clamp(0, 1),
        )
        shape = figure.shape(moment, fields)
        surface = figure.surface(shape.vertices, camera)
        loss = geometry_energy(figure, shape, surface, None, evidence, WEIGHTS, None)
        generator = torch.Generator().manual_seed(0)
        picture = figure.picture(surface, moment)
        loss = loss + appearance_energy(picture, evidence, WEIGHTS, structure, generator)
        loss = loss + PRIOR * priors.prior(own[:-6] * COEFFICIENT, own[-6:-3] * TURN, own[-3:] * MOVE)
        if float(loss.detach()) < best:
            best, found = float(loss.detach()), now
        if step < STEPS:
            optimizer.param_groups[0]["lr"] = RATE * (1 - 0.9 * step / STEPS)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return found


def _moved(drive: Drive, own: Tensor) -> Drive:
    """``drive`` with the unknowns' coefficients, turn and place."""
    with torch.no_grad():
        turn = turning((own[-6:-3] * TURN)[None])[0].numpy()
        expression = np.clip(drive.expression + own[:-6].numpy() * COEFFICIENT, 0, 1)
        return replace(
            drive,
            rotation=(turn @ drive.rotation).astype(np.float32),
            translation=(drive.translation + own[-3:].numpy() * MOVE).astype(np.float32),
            expression=expression.astype(np.float32),
        )
