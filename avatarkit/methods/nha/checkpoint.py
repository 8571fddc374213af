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
from avatarkit.methods.nha.trainer import Trainer
from avatarkit.methods.options import identity

FORMAT = 1


def save(trainer: Trainer, clip_hash: str, path: Path, best: Best | None = None) -> None:
    """Write the state of ``trainer`` to ``path``, atomically. ``clip_hash`` tells which track it was fitted to."""
    tensors: dict[str, Tensor] = {f"figure.{n}": v.detach() for n, v in trainer.figure.state_dict().items()}
    tensors["own"] = trainer.own.detach()
    tensors |= checkpoints.moments(trainer.optimizer)
    kept, curve = (best or Best()).state()
    facts = {
        "format": FORMAT, "method": "nha", "config": identity(trainer.config), "clip": clip_hash,
        "step": trainer.step, "seconds": trainer.seconds, "samples": trainer.samples, "curve": curve,
    }  # fmt: skip
    with atomic(path) as temporary:
        # Copies: safetensors refuses tensors that share memory.
        whole = {name: value.contiguous().clone() for name, value in (tensors | kept).items()}
        save_file(whole, temporary, {"checkpoint": json.dumps(facts)})


def load(trainer: Trainer, clip_hash: str, path: Path) -> Best:
    """Bring ``trainer``, fresh from ``Trainer.create``, to the state saved in ``path``, and return its best one.

    Raises AvatarkitError when there is no checkpoint, or when it belongs to other options or another track.
    """
    tensors, facts = checkpoints.read(
        path, clip_hash, format=FORMAT, method="nha", config=identity(trainer.config)
    )
    try:
        _restore(trainer, tensors, facts)
        return Best.from_state(tensors, facts["curve"])
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise checkpoints.damaged(path) from error


def _restore(trainer: Trainer, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    figure = {name.removeprefix("figure."): v for name, v in tensors.items() if name.startswith("figure.")}
    trainer.recall(figure)
    with torch.no_grad():
        trainer.own.copy_(tensors["own"])
    checkpoints.restore_moments(trainer.optimizer, tensors)
    trainer.step, trainer.seconds = int(facts["step"]), float(facts["seconds"])
    trainer.samples = int(facts["samples"])
