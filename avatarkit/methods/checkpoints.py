"""Checkpoint files of interrupted fits: how every method reads one, and whether it belongs to the fit at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.optim import Optimizer

from avatarkit.files.errors import AvatarkitError


def read(path: Path, clip_hash: str, **wanted: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts of a checkpoint whose ``config`` and other facts are as ``wanted``.

    Raises AvatarkitError when there is no checkpoint, or when it belongs to other options or another track.
    """
    tensors, facts = _read(path)
    config, found = wanted.pop("config"), facts.get("config", {})
    different = sorted(name for name in config if config[name] != found.get(name))
    if different or any(facts.get(name) != value for name, value in wanted.items()):
        raise AvatarkitError(
            f"{path}: made with other options ({', '.join(different) or 'format'}): "
            "give the same ones, or leave --resume out to begin anew"
        )
    if facts.get("clip") != clip_hash:
        raise AvatarkitError(f"{path}: belongs to another track: leave --resume out to begin anew")
    return tensors, facts


def moments(optimizer: Optimizer) -> dict[str, Tensor]:
    """The state of ``optimizer`` as tensors of a checkpoint."""
    states = optimizer.state_dict()["state"]
    return {f"adam.{i}.{name}": value for i, state in states.items() for name, value in state.items()}


def restore_moments(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Bring ``optimizer`` to the state that ``moments`` wrote among ``tensors``."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("adam."):
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def damaged(path: Path) -> AvatarkitError:
    """The error for a checkpoint that belongs here and cannot be used."""
    return AvatarkitError(f"{path}: the checkpoint is damaged: delete it and begin anew")


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not path.is_file():
        raise AvatarkitError(f"{path}: no such checkpoint: leave --resume out to begin anew")
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {})["checkpoint"])
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise AvatarkitError(f"{path}: not a checkpoint of a fit: delete it and begin anew") from error
