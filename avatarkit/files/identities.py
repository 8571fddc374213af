"""Several avatars in one file: their tensors side by side, and an index in the header."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from avatarkit.files.errors import AvatarkitError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

INDEX = "identities"
"""Header entry: the headers of all avatars of a file, in order."""

State = tuple["dict[str, Tensor]", dict[str, Any]]


def together(states: Sequence[State]) -> State:
    """Tensors and header of one file of all ``states``, each tensors and header; one alone stays as it is."""
    if len(states) == 1:
        return states[0]
    tensors = {f"{i}/{name}": value for i, (own, _) in enumerate(states) for name, value in own.items()}
    headers = [header for _, header in states]
    return tensors, {"method": headers[0]["method"], INDEX: headers}


def count(header: dict[str, Any]) -> int:
    """Number of avatars in the file of ``header``."""
    return len(header[INDEX]) if isinstance(header.get(INDEX), list) else 1


def chosen(tensors: dict[str, Tensor], header: dict[str, Any], identity: int = 0) -> State:
    """Tensors and header of the avatar numbered ``identity`` (from 0). Raises UsageError where there is none."""
    available = count(header)
    if not 0 <= identity < available:
        what = "one avatar" if available == 1 else f"{available} avatars"
        raise UsageError(f"--identity {identity}: the file holds {what}, numbered from 0")
    if INDEX not in header:
        return tensors, header
    own = header[INDEX][identity]
    if not isinstance(own, dict) or not isinstance(own.get("method"), str):
        raise AvatarkitError("the file's index of avatars is damaged: make it again")
    prefix = f"{identity}/"
    kept = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    return kept, own
