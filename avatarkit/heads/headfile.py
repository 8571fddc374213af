"""The head file (``*.head.npz``): one ``HeadModel`` as plain arrays. Never pickled."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from avatarkit.files.errors import AvatarkitError
from avatarkit.files.streams import atomic
from avatarkit.heads.model import HeadModel

FORMAT_VERSION = 1
LARGEST = 1 << 30
"""Bytes a head file may hold unpacked: a guard against archives made to exhaust memory."""

ARRAYS: dict[str, tuple[type[np.generic], int]] = {
    "vertices": (np.float32, 2),
    "triangles": (np.int32, 2),
    "shapes": (np.float32, 3),
    "joints": (np.float32, 2),
    "skinning": (np.float32, 2),
    "uv": (np.float32, 2),
    "uv_triangles": (np.int32, 2),
    "region": (np.uint8, 1),
    "mirror": (np.int32, 1),
    "landmarks": (np.int32, 1),
}
"""Key -> (type, number of dimensions)."""
MAPS = ("identity_map", "shape_map")


def save_head(head: HeadModel, path: Path, compress: bool = True) -> None:
    """Write ``head`` to ``path``, whole or not at all."""
    meta = {
        "format": FORMAT_VERSION,
        "name": head.name,
        "version": head.version,
        "hash": head.hash(),
        "expression_names": list(head.expression_names),
        "region_names": list(head.region_names),
    }
    arrays: dict[str, Any] = {"meta": np.array(json.dumps(meta))}
    arrays |= {key: np.asarray(getattr(head, key), kind) for key, (kind, _) in ARRAYS.items()}
    for key in MAPS:
        matrix = getattr(head, key)
        if matrix is not None:
            arrays |= {f"{key}_data": matrix.data.astype(np.float32)}
            arrays |= {
                f"{key}_{part}": getattr(matrix, part).astype(np.int32) for part in ("indices", "indptr")
            }
    write = np.savez_compressed if compress else np.savez
    with atomic(path) as temporary, open(temporary, "wb") as stream:
        write(stream, **arrays)


def load_head(path: Path) -> HeadModel:
    """Read a head file and check that its arrays fit together.

    Raises ``AvatarkitError`` for a missing file, a file of another kind, a missing key, a newer format
    or arrays that contradict each other.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(item.file_size for item in archive.infolist()) > LARGEST:
                raise AvatarkitError(f"{path}: unpacks to more than a head model can need; not reading it")
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except FileNotFoundError:
        raise AvatarkitError(f"{path}: no such head file") from None
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise AvatarkitError(f"{path}: not a head file ({error})") from None
    return _checked(path, arrays)


def is_head_file(path: Path) -> bool:
    """Whether ``path`` is to be read by ``load_head`` (everything but the npz of ICT-FaceKit)."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile):
        return True
    return (
        "meta" in names
        or bool(names & {"landmarks", "skinning", "region_names"})
        or path.name.endswith(".head.npz")
    )


def _checked(path: Path, arrays: dict[str, Any]) -> HeadModel:
    missing = [key for key in ("meta", *ARRAYS) if key not in arrays]
    if missing:
        raise AvatarkitError(f"{path}: not a head file, it lacks {', '.join(missing)}")
    try:
        meta = json.loads(str(arrays["meta"]))
        names = tuple(str(name) for name in meta["expression_names"])
        regions = tuple(str(name) for name in meta["region_names"])
        version = int(meta["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise AvatarkitError(f"{path}: the head file's description is damaged ({error})") from None
    if version > FORMAT_VERSION:
        raise AvatarkitError(f"{path}: head file of format {version}, newer than this avatarkit; update it")
    for key, (kind, dimensions) in ARRAYS.items():
        array = arrays[key]
        if array.ndim != dimensions or array.dtype.kind not in ("f" if kind is np.float32 else "iu"):
            raise AvatarkitError(f"{path}: {key} has the wrong type or number of dimensions")
        arrays[key] = np.ascontiguousarray(array, kind)
    count, faces = len(arrays["vertices"]), len(arrays["triangles"])
    wanted = {
        "vertices": (count, 3),
        "triangles": (faces, 3),
        "shapes": (len(names), count, 3),
        "joints": (4, 3),
        "skinning": (count, 5),
        "uv": (len(arrays["uv"]), 2),
        "uv_triangles": (faces, 3),
        "region": (count,),
        "mirror": (count,),
        "landmarks": (478,),
    }
    for key, shape in wanted.items():
        if arrays[key].shape != shape:
            raise AvatarkitError(f"{path}: {key} is {arrays[key].shape}, expected {shape}")
    limits = {"triangles": count, "uv_triangles": len(arrays["uv"]), "mirror": count, "landmarks": count}
    limits["region"] = len(regions)
    for key, limit in limits.items():
        if arrays[key].size and (arrays[key].min() < 0 or arrays[key].max() >= limit):
            raise AvatarkitError(f"{path}: {key} points outside the model")
    for key in ("vertices", "shapes", "joints", "skinning", "uv"):
        if not np.isfinite(arrays[key]).all():
            raise AvatarkitError(f"{path}: {key} holds values that are not numbers")
    return HeadModel(
        name=str(meta.get("name", path.stem)),
        version=str(meta.get("version", "")),
        expression_names=names,
        region_names=regions,
        **{key: arrays[key] for key in ARRAYS},
        **{key: _matrix(path, arrays, key, count) for key in MAPS},
    )


def _matrix(path: Path, arrays: dict[str, Any], key: str, count: int) -> Any:
    """The sparse [V, 468] map stored under ``key``, or None."""
    from scipy.sparse import csr_matrix

    if f"{key}_data" not in arrays:
        return None
    try:
        parts = tuple(arrays[f"{key}_{part}"] for part in ("data", "indices", "indptr"))
        matrix = csr_matrix(parts, shape=(count, 468))
        matrix.check_format(full_check=True)
    except (KeyError, ValueError, TypeError) as error:
        raise AvatarkitError(f"{path}: {key} is damaged ({error})") from None
    return matrix
