"""Interrupted fits: everything that the next step depends on, in one safetensors file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from avatarkit.files.errors import AvatarkitError
from avatarkit.files.streams import atomic
from avatarkit.methods.gaussians.config import identity
from avatarkit.methods.gaussians.trainer import Trainer

FORMAT = 1


def save(trainer: Trainer, clip_hash: str, path: Path) -> None:
    """Write the state of ``trainer`` to ``path``, atomically. ``clip_hash`` tells which track it was fitted to."""
    facts = {
        "format": FORMAT, "method": "gaussians", "config": identity(trainer.config), "clip": clip_hash,
        "step": trainer.step, "seconds": trainer.seconds,
    }  # fmt: skip
    tensors = {name: value.detach().contiguous().clone() for name, value in _state(trainer).items()}
    with atomic(path) as temporary:
        save_file(tensors, temporary, {"checkpoint": json.dumps(facts)})


def load(trainer: Trainer, clip_hash: str, path: Path) -> None:
    """Bring ``trainer``, fresh from ``Trainer.create``, to the state saved in ``path``.

    Raises AvatarkitError when there is no checkpoint, or when it belongs to other options or another track.
    """
    tensors, facts = _read(path)
    wanted, found = identity(trainer.config), facts.get("config", {})
    different = sorted(name for name in wanted if wanted[name] != found.get(name))
    if facts.get("format") != FORMAT or facts.get("method") != "gaussians" or different:
        raise AvatarkitError(
            f"{path}: made with other options ({', '.join(different) or 'format'}): "
            "give the same ones, or leave --resume out to begin anew"
        )
    if facts.get("clip") != clip_hash:
        raise AvatarkitError(f"{path}: belongs to another track: leave --resume out to begin anew")
    try:
        for name, value in _state(trainer).items():
            value.detach().copy_(tensors[name])
        trainer.step, trainer.seconds = int(facts["step"]), float(facts["seconds"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise AvatarkitError(f"{path}: the checkpoint is damaged: delete it and begin anew") from error


def _state(trainer: Trainer) -> dict[str, Tensor]:
    """What changes from step to step; the tensors share memory with the trainer."""
    return {
        "base": trainer.base,
        "moments": trainer.moments,
        "residual": trainer.residual,
        "blended": trainer.blended,
        "corrections": torch.from_numpy(trainer.puppet.corrections),
        "correction_moments": torch.from_numpy(trainer.correction_moments),
    }


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not path.is_file():
        raise AvatarkitError(f"{path}: no such checkpoint: leave --resume out to begin anew")
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {})["checkpoint"])
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise AvatarkitError(f"{path}: not a checkpoint of a fit: delete it and begin anew") from error
