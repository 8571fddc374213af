"""Interrupted fits: everything that the next step depends on, in one safetensors file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from avatarkit.files.streams import atomic
from avatarkit.methods import checkpoints
from avatarkit.methods.best import Best
from avatarkit.methods.nerfblendshape.avatar import NETWORK
from avatarkit.methods.nerfblendshape.density_grid import DensityGrid
from avatarkit.methods.nerfblendshape.trainer import Trainer
from avatarkit.methods.options import identity

FORMAT = 3


def save(trainer: Trainer, clip_hash: str, path: Path, best: Best | None = None) -> None:
    """Write the state of ``trainer`` to ``path``, atomically. ``clip_hash`` tells which track it was fitted to."""
    tables = trainer.tables
    tensors: dict[str, Tensor] = {
        "base": tables.base, "base_moments": tables.base_moments,
        "bases": tables.bases, "bases_moments": tables.bases_moments,
        "blended": trainer.blended.detach(),
    }  # fmt: skip
    for name, matrix in zip(NETWORK, trainer.field.weights, strict=True):
        tensors[name] = matrix.detach()
        for key, value in trainer.optimizer.state.get(matrix, {}).items():
            tensors[f"{name}.{key}"] = value
    for name, value in trainer.grid.state().items():
        tensors[f"grid.{name}"] = value
    kept, curve = (best or Best()).state()
    tensors |= kept
    facts = {
        "format": FORMAT, "method": "nerfblendshape", "config": identity(trainer.config), "clip": clip_hash,
        "step": trainer.step, "seconds": trainer.seconds, "samples": trainer.samples, "tables_step": tables.step,
        "curve": curve,
    }  # fmt: skip
    with atomic(path) as temporary:
        # Contiguous copies: safetensors refuses tensors that share memory.
        save_file(
            {k: v.contiguous() for k, v in tensors.items()}, temporary, {"checkpoint": json.dumps(facts)}
        )


def load(trainer: Trainer, clip_hash: str, path: Path) -> Best:
    """Bring ``trainer``, fresh from ``Trainer.create``, to the state saved in ``path``, and return its best one.

    Raises AvatarkitError when there is no checkpoint, or when it belongs to other options or another track.
    """
    tensors, facts = checkpoints.read(path, clip_hash, format=FORMAT, config=identity(trainer.config))
    try:
        _restore(trainer, tensors, facts)
        return Best.from_state(tensors, facts["curve"])
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise checkpoints.damaged(path) from error


def _restore(trainer: Trainer, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    tables = trainer.tables
    for name in ("base", "base_moments", "bases", "bases_moments"):
        getattr(tables, name).copy_(tensors[name])
    tables.step = int(facts["tables_step"])
    trainer.blended = tensors["blended"]
    with torch.no_grad():
        for name, matrix in zip(NETWORK, trainer.field.weights, strict=True):
            matrix.copy_(tensors[name])
            prefix = f"{name}."
            state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            if state:
                trainer.optimizer.state[matrix] = state
    trainer.grid = DensityGrid.from_state(
        {k.removeprefix("grid."): v for k, v in tensors.items() if k.startswith("grid.")}, trainer.field.step
    )
    trainer.step, trainer.seconds = int(facts["step"]), float(facts["seconds"])
    trainer.samples = int(facts["samples"])
