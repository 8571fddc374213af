"""Checkpoints of optional networks in their authors' own formats: found, read safely, and checked key by key."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from avatarkit.files.errors import AvatarkitError
from avatarkit.files.home import fetch


@dataclass(frozen=True)
class Checkpoint:
    """A published file of weights, and the key by which one recognizes it."""

    network: str
    name: str
    url: str
    sha256: str
    mark: str
    """a parameter that only this network has."""


def load(network: nn.Module, checkpoint: Checkpoint, given: tuple[Path, ...] = ()) -> None:
    """Fill ``network`` with the weights among the files ``given`` that are its own, else with the published ones.

    ``module.`` prefixes (DataParallel) and a surrounding ``state_dict`` entry are taken off. Nothing is ever
    unpickled but tensors. Raises AvatarkitError when the file cannot be had or read, or does not fit exactly.
    """
    for path in given:
        state = _read(path)
        if checkpoint.mark in state:
            _fill(network, state, checkpoint, path)
            return
    if given:
        names = ", ".join(str(path) for path in given)
        raise AvatarkitError(
            f"--weights {names}: not a checkpoint of {checkpoint.network} (it has no '{checkpoint.mark}'): "
            f"give the authors' file, or leave --weights out to download {checkpoint.name}"
        )
    path = fetch(checkpoint.name, checkpoint.url, checkpoint.sha256)
    _fill(network, _read(path), checkpoint, path)


def _read(path: Path) -> dict[str, Tensor]:
    """The named tensors of a file written by ``torch.save``."""
    if not path.is_file():
        raise AvatarkitError(f"{path}: no such file")
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise AvatarkitError(
            f"{path}: not a file of PyTorch weights (only tensors are read from it): get it again"
        ) from error
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise AvatarkitError(f"{path}: holds something else than named weights: get the authors' file")
    return {str(name).removeprefix("module."): value for name, value in loaded.items()}


def _fill(network: nn.Module, state: dict[str, Tensor], checkpoint: Checkpoint, path: Path) -> None:
    wanted = network.state_dict()
    # Counters of batch normalization came with PyTorch 0.4.1; files older than that lack them.
    optional = {name for name in wanted if name.endswith("num_batches_tracked")}
    wrong = [
        *(f"'{name}' is missing" for name in wanted if name not in state and name not in optional),
        *(f"'{name}' is unknown" for name in state if name not in wanted),
        *(
            f"'{name}' has shape {list(state[name].shape)} instead of {list(value.shape)}"
            for name, value in wanted.items()
            if name in state and state[name].shape != value.shape
        ),
    ]
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise AvatarkitError(f"{path}: not a checkpoint of {checkpoint.network}: {wrong[0]}{more}")
    network.load_state_dict({**wanted, **state})
    network.eval().requires_grad_(False)
