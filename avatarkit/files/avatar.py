"""The avatar file (``*.safetensors``): weights and one JSON header entry ``avatarkit``. Loading never runs code."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from avatarkit import __version__
from avatarkit.files.errors import AvatarkitError
from avatarkit.files.streams import atomic

if TYPE_CHECKING:
    from torch import Tensor

FORMAT_VERSION = 1
ENTRY = "avatarkit"


def save_avatar(target: Path | BinaryIO, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Write an avatar to a file (atomically) or a binary stream.

    ``header`` needs at least ``method``; ``format`` and ``tool`` are added, numbers that are not finite become
    null. The same tensors and header give the same bytes.
    """
    from safetensors.torch import save

    if not isinstance(header.get("method"), str):
        raise ValueError("an avatar's header names its method")
    full = {**header, "format": FORMAT_VERSION, "tool": f"avatarkit {__version__}"}
    entry = json.dumps(_plain(full), ensure_ascii=False, sort_keys=True, allow_nan=False)
    data = save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, metadata={ENTRY: entry})
    if isinstance(target, Path):
        with atomic(target) as temporary:
            temporary.write_bytes(data)
    else:
        target.write(data)


def load_avatar_file(source: Path | BinaryIO) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read an avatar: its tensors (on the CPU) and its header.

    Raises AvatarkitError when the file is no whole avatar, is of a newer format or names no method.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    data, name = _bytes(source)
    header = _header(data, name)
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise AvatarkitError(f"{name}: not a whole avatar: the weights are cut short or damaged") from error
    return tensors, header


def read_header(source: Path | BinaryIO) -> dict[str, Any]:
    """Only the header of an avatar (see ``load_avatar_file`` for the errors)."""
    return _header(*_bytes(source))


def tensor_shapes(source: Path) -> dict[str, tuple[str, list[int]]]:
    """Name -> (dtype, shape) of every tensor of an avatar file, from its header alone."""
    data, name = _bytes(source)
    return {
        key: (str(value["dtype"]), [int(n) for n in value["shape"]])
        for key, value in _json_of(data, name).items()
        if key != "__metadata__"
    }


def _bytes(source: Path | BinaryIO) -> tuple[bytes, str]:
    if isinstance(source, Path):
        try:
            return source.read_bytes(), str(source)
        except FileNotFoundError as error:
            raise AvatarkitError(f"{source}: no such file") from error
        except IsADirectoryError as error:
            raise AvatarkitError(f"{source}: is a folder, an avatar file is needed") from error
    data = source.read()
    if not data:
        raise AvatarkitError("standard input is empty: the command before the pipe gave nothing")
    return data, "standard input"


def _json_of(data: bytes, name: str) -> dict[str, Any]:
    """The JSON at the front of a safetensors file: 8 bytes little-endian length, then the text."""
    length = int.from_bytes(data[:8], "little")
    try:
        if len(data) < 8 or not 2 <= length <= len(data) - 8:
            raise ValueError("no header")
        found = json.loads(data[8 : 8 + length])
        if not isinstance(found, dict):
            raise ValueError("no mapping")
    except (ValueError, RecursionError) as error:
        raise AvatarkitError(
            f"{name}: not an avatar (an avatar is the .safetensors that 'avatarkit fit' writes)"
        ) from error
    return found


def _header(data: bytes, name: str) -> dict[str, Any]:
    metadata = _json_of(data, name).get("__metadata__", {})
    if ENTRY not in metadata:
        raise AvatarkitError(f"{name}: a safetensors file, but not an avatar: it has no '{ENTRY}' header")
    try:
        header = json.loads(metadata[ENTRY])
        version, method = int(header["format"]), header["method"]
    except (ValueError, TypeError, KeyError) as error:
        raise AvatarkitError(f"{name}: the avatar's header is damaged") from error
    if version > FORMAT_VERSION:
        raise AvatarkitError(
            f"{name}: avatar format {version} is newer than this avatarkit reads ({FORMAT_VERSION}): update avatarkit"
        )
    if not isinstance(method, str):
        raise AvatarkitError(f"{name}: the avatar's header names no method")
    return dict(header)


def _plain(value: Any) -> Any:
    """``value`` as JSON can hold it: tuples as lists, numpy numbers as Python's, not-finite floats as null."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value
