"""Interrupted fits: everything that the next step depends on, in one safetensors file."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from avatarkit.files.streams import atomic
from avatarkit.methods import checkpoints
from avatarkit.methods.gaussians.trainer import Trainer
from avatarkit.methods.options import identity
from avatarkit.ops.anchors import TOGETHER

FORMAT = 3


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
    tensors, facts = checkpoints.read(
        path, clip_hash, format=FORMAT, method="gaussians", config=identity(trainer.config)
    )
    try:
        for name, value in _state(trainer).items():
            value.detach().copy_(tensors[name])
        trainer.step, trainer.seconds = int(facts["step"]), float(facts["seconds"])
        done = trainer.step % TOGETHER
        trainer.learner.resume(trainer.round_of(trainer.step - done), done)
    except (KeyError, RuntimeError, ValueError) as error:
        raise checkpoints.damaged(path) from error


def _state(trainer: Trainer) -> dict[str, Tensor]:
    """What changes from step to step; the tensors share memory with the trainer."""
    return {
        "base": trainer.learner.base,
        "moments": trainer.learner.moments,
        "residual": trainer.learner.residual,
        "moves": trainer.learner.moves,
        "blended": trainer.blended,
        "corrections": torch.from_numpy(trainer.puppet.corrections),
        "correction_moments": torch.from_numpy(trainer.correction_moments),
    }
