"""Reading and writing track files: a zip of .npy arrays that ``np.load(..., allow_pickle=False)`` reads anywhere."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from avatarkit import __version__
from avatarkit.files.errors import AvatarkitError
from avatarkit.files.streams import atomic
from avatarkit.files.track import FORMAT_VERSION, Track

NEEDED: dict[str, tuple[type[np.generic], tuple[str | int, ...]]] = {
    "frame": (np.int32, ("T",)),
    "valid": (np.bool_, ("T",)),
    "intrinsics": (np.float32, (3, 3)),
    "rotation": (np.float32, ("T", 3, 3)),
    "translation": (np.float32, ("T", 3)),
    "expression": (np.float32, ("T", "E")),
    "neck": (np.float32, ("T", 3)),
    "jaw": (np.float32, ("T", 3)),
    "eyes": (np.float32, ("T", 2, 3)),
    "neutral": (np.float32, ("V", 3)),
    "landmarks": (np.float32, ("T", "L", 3)),
    "residual": (np.float32, ("T",)),
    "crop": (np.int32, (4,)),
}
OPTIONAL: dict[str, tuple[type[np.generic], tuple[str | int, ...]]] = {
    "shapes": (np.float16, ("E", "V", 3)),
    "torso": (np.float32, ("T", 2, 3)),
    "torso_confidence": (np.float32, ("T",)),
    "extra": (np.float32, ("T", "P")),
}
PACKED = ("meta", "expression_names", "extra_names", "matte_data", "matte_offset", "matte_names", "video")
FINITE = ("intrinsics", "neutral", "shapes")
FINITE_WHERE_VALID = (
    "rotation",
    "translation",
    "expression",
    "neck",
    "jaw",
    "eyes",
    "residual",
    "torso",
    "extra",
)
LARGEST = 16 << 30
"""Bytes a track may unpack to."""
BOMB_SIZE, BOMB_RATIO = 64 << 20, 200
"""A member that unpacks to more than BOMB_SIZE bytes at more than BOMB_RATIO to 1 is no measurement of a face."""
MATTE_KINDS = ("person", "head", "labels")


def load_track(source: Path | BinaryIO) -> Track:
    """Read a track from a file or a binary stream (standard input need not be seekable).

    Raises AvatarkitError when it is not a track, is pickled, unpacks to an absurd size, comes from a newer
    format, lacks a key, has arrays of the wrong shape, or holds numbers that are not finite.
    """
    if isinstance(source, Path):
        try:
            with open(source, "rb") as file:
                return _load(file, str(source))
        except FileNotFoundError as error:
            raise AvatarkitError(f"{source}: no such file") from error
    data = source.read()
    if not data:
        raise AvatarkitError("standard input is empty: the command before the pipe gave nothing")
    return _load(io.BytesIO(data), "standard input")


def _load(file: BinaryIO, name: str) -> Track:
    try:
        with zipfile.ZipFile(file) as archive:
            _refuse_bombs(archive, name)
            arrays = {
                info.filename.removesuffix(".npy"): _read_array(archive, info, name)
                for info in archive.infolist()
                if info.filename.endswith(".npy")
            }
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise AvatarkitError(
            f"{name}: not a whole track file (a track is the .npz that 'avatarkit track' writes)"
        ) from error
    return _track_of(arrays, name)


def _refuse_bombs(archive: zipfile.ZipFile, name: str) -> None:
    infos = archive.infolist()
    if sum(info.file_size for info in infos) > LARGEST or len(infos) > 1000:
        raise AvatarkitError(f"{name}: refused: it would unpack to more than {LARGEST >> 30} GiB")
    for info in infos:
        if info.file_size > BOMB_SIZE and info.file_size > BOMB_RATIO * max(info.compress_size, 1):
            raise AvatarkitError(
                f"{name}: refused: '{info.filename}' would unpack {info.compress_size} bytes to {info.file_size}"
            )


def _read_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> NDArray[Any]:
    """One .npy member, its header checked against the member's size before anything is allocated."""
    key = info.filename.removesuffix(".npy")
    with archive.open(info) as member:
        try:
            version = np.lib.format.read_magic(member)  # type: ignore[arg-type]
            if version == (1, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(member)  # type: ignore[arg-type]
            elif version == (2, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_2_0(member)  # type: ignore[arg-type]
            else:
                raise AvatarkitError(f"{name}: '{key}' is in an unknown .npy version {version}")
        except ValueError as error:
            raise AvatarkitError(f"{name}: '{key}' is not a numpy array") from error
        if dtype.hasobject:
            raise AvatarkitError(f"{name}: '{key}' holds pickled Python objects, which are never loaded")
        size = int(np.prod(shape, dtype=object)) * dtype.itemsize
        if size > info.file_size:
            raise AvatarkitError(f"{name}: '{key}' claims {size} bytes but holds {info.file_size}")
        data = member.read(size)
        if len(data) != size:
            raise AvatarkitError(f"{name}: '{key}' is cut short")
        member.read()  # to the end, so that the checksum is verified
    return np.frombuffer(bytearray(data), dtype).reshape(shape, order="F" if fortran else "C")


def _track_of(arrays: dict[str, NDArray[Any]], name: str) -> Track:
    if "meta" not in arrays:
        raise AvatarkitError(f"{name}: not a track: the key 'meta' is missing")
    try:
        meta = json.loads(str(arrays["meta"]))
        version = int(meta["format"])
    except (ValueError, TypeError, KeyError) as error:
        raise AvatarkitError(f"{name}: not a track: 'meta' is not the JSON of one") from error
    if version > FORMAT_VERSION:
        raise AvatarkitError(
            f"{name}: track format {version} is newer than this avatarkit reads ({FORMAT_VERSION}): update avatarkit"
        )
    for key in (*NEEDED, "expression_names"):
        if key not in arrays:
            raise AvatarkitError(
                f"{name}: the key '{key}' is missing from the track: make it anew with 'avatarkit track'"
            )
    sizes = {"E": len(arrays["expression_names"])}
    fields = {}
    for key, (dtype, shape) in {**NEEDED, **OPTIONAL}.items():
        if key in arrays:
            fields[key] = _checked(arrays[key], key, dtype, shape, sizes, name)
    track = Track(
        meta=meta,
        expression_names=tuple(str(n) for n in arrays["expression_names"]),
        extra_names=tuple(str(n) for n in arrays.get("extra_names", ())),
        mattes=_unpacked(arrays, sizes["T"], name),
        video=arrays["video"].tobytes() if "video" in arrays else None,
        more={k: v for k, v in arrays.items() if k not in NEEDED and k not in OPTIONAL and k not in PACKED},
        **fields,
    )
    check(track, name)
    return track


def _checked(
    array: NDArray[Any],
    key: str,
    dtype: type[np.generic],
    shape: tuple[str | int, ...],
    sizes: dict[str, int],
    name: str,
) -> NDArray[Any]:
    """``array`` as ``dtype`` after its shape agreed with ``shape``; letters take the first size they meet."""
    fits = array.ndim == len(shape) and array.dtype.kind in "biuf"
    if fits:
        for want, have in zip(shape, array.shape, strict=True):
            fits &= have == (want if isinstance(want, int) else sizes.setdefault(want, have))
    if not fits:
        wanted = ", ".join(str(sizes.get(s, s)) if isinstance(s, str) else str(s) for s in shape)
        raise AvatarkitError(
            f"{name}: '{key}' has shape {list(array.shape)}, expected [{wanted}]: the track is damaged"
        )
    return array.astype(dtype, copy=False)


def check(track: Track, name: str = "the track") -> None:
    """Raise AvatarkitError where the numbers of ``track`` cannot be used: not finite, no frames, no crop."""
    if len(track) == 0:
        raise AvatarkitError(f"{name}: the track holds no frames")
    if np.any(np.diff(track.frame) <= 0) or track.frame[0] < 0:
        raise AvatarkitError(f"{name}: the frame numbers do not rise: the track is damaged")
    if track.crop[2] <= 0 or track.crop[2] != track.crop[3]:
        raise AvatarkitError(f"{name}: the crop {track.crop.tolist()} is not a square: the track is damaged")
    for key in (*FINITE, *FINITE_WHERE_VALID):
        values = getattr(track, key)
        if values is None:
            continue
        if key in FINITE_WHERE_VALID:
            values = values[track.valid]
        if not np.isfinite(values).all():
            raise AvatarkitError(
                f"{name}: '{key}' holds numbers that are not finite (NaN): make the track anew"
            )


def _unpacked(arrays: dict[str, NDArray[Any]], count: int, name: str) -> list[dict[str, bytes]] | None:
    """The mattes: per frame one PNG for each of ``matte_names``, back to back in ``matte_data``.

    ``matte_offset`` [T * kinds + 1] or, with a single kind, [T + 1].
    """
    if "matte_data" not in arrays:
        return None
    if "matte_offset" not in arrays or "matte_names" not in arrays:
        raise AvatarkitError(
            f"{name}: the mattes have no 'matte_offset' or 'matte_names': run 'avatarkit segment' anew"
        )
    kinds = [str(n) for n in arrays["matte_names"]]
    offset, data = arrays["matte_offset"].astype(np.int64), arrays["matte_data"]
    if (
        offset.shape != (count * len(kinds) + 1,)
        or offset[0] != 0
        or np.any(np.diff(offset) < 0)
        or offset[-1] != data.size
        or data.dtype != np.uint8
    ):
        raise AvatarkitError(f"{name}: the mattes do not fit the frames: run 'avatarkit segment' anew")
    raw = data.tobytes()
    mattes: list[dict[str, bytes]] = []
    for t in range(count):
        spans = offset[t * len(kinds) : (t + 1) * len(kinds) + 1]
        mattes.append({k: raw[a:b] for k, a, b in zip(kinds, spans[:-1], spans[1:], strict=True) if b > a})
    return mattes


def save_track(track: Track, target: Path | BinaryIO) -> None:
    """Write ``track`` to a file (atomically) or a binary stream (which need not be seekable).

    The same track gives the same bytes. Raises AvatarkitError when its numbers cannot be used.
    """
    check(track)
    if isinstance(target, Path):
        with atomic(target) as temporary, open(temporary, "wb") as file:
            _save(track, file)
    else:
        _save(track, target)


def _save(track: Track, file: BinaryIO) -> None:
    meta = {
        **track.meta,
        "format": FORMAT_VERSION,
        "tool": track.meta.get("tool", f"avatarkit {__version__}"),
    }
    arrays: dict[str, NDArray[Any]] = {
        "meta": np.array(json.dumps(meta, ensure_ascii=False, sort_keys=True)),
        "expression_names": np.array(track.expression_names, np.str_),
    }
    for key, (dtype, _) in {**NEEDED, **OPTIONAL}.items():
        value = getattr(track, key)
        if value is not None:
            arrays[key] = np.ascontiguousarray(value, dtype)
    if track.extra is not None:
        arrays["extra_names"] = np.array(track.extra_names, np.str_)
    if track.mattes is not None:
        arrays.update(_packed(track.mattes))
    if track.video is not None:
        arrays["video"] = np.frombuffer(track.video, np.uint8)
    arrays.update(track.more)
    with zipfile.ZipFile(file, "w") as archive:
        for key, array in arrays.items():
            info = zipfile.ZipInfo(f"{key}.npy")  # its date is 1980-01-01: no clock in the bytes
            stored = key in ("matte_data", "video")  # already compressed
            info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=array.nbytes > 1 << 30) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)  # type: ignore[arg-type]


def _packed(mattes: list[dict[str, bytes]]) -> dict[str, NDArray[Any]]:
    present = {kind for frame in mattes for kind in frame}
    kinds = [k for k in MATTE_KINDS if k in present] + sorted(present - set(MATTE_KINDS))
    chunks = [frame.get(kind, b"") for frame in mattes for kind in kinds]
    offset = np.concatenate([[0], np.cumsum([len(c) for c in chunks], dtype=np.int64)]).astype(np.int64)
    return {
        "matte_data": np.frombuffer(b"".join(chunks), np.uint8),
        "matte_offset": offset,
        "matte_names": np.array(kinds, np.str_),
    }
