"""Who plays whom: which of the arguments of ``reenact`` are faces to be moved, and which move them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from avatarkit.commands.moving import PERFORMANCES
from avatarkit.files.errors import AvatarkitError, UsageError

STANDARD = "-"


@dataclass(frozen=True)
class Cast:
    """Photos or avatars, and drivers: files, folders of images, ``-`` or built-in performances."""

    sources: tuple[Path, ...]
    drivers: tuple[str, ...]

    @property
    def pairs(self) -> list[tuple[Path, str | None]]:
        """Every source with every driver; with None where there is no driver, for a still."""
        return [(source, driver) for source in self.sources for driver in self.drivers or (None,)]


def cast(inputs: Sequence[Path], drivers: Sequence[str], still: bool) -> Cast:
    """Sort the arguments by what the files are; their order does not matter.

    Photos and avatars are sources; videos, tracks, ``-`` and the names of performances drivers. A folder stands for
    what it holds, unless it was named as a driver. Without any driver a piped-in one is taken, or none for a
    ``still``. Raises UsageError where no source or no driver is named, AvatarkitError where a file is missing.
    """
    from avatarkit.files.images import SUFFIXES

    sources: list[Path] = []
    found: list[str] = list(drivers)
    for path in inputs:
        if str(path) == STANDARD or (str(path) in PERFORMANCES and not path.exists()):
            found.append(str(path))
        elif path.is_dir():
            photos, clips = _within(path)
            sources += photos
            found += [str(clip) for clip in clips]
        elif is_source(path):
            sources.append(path)
        elif path.suffix.lower() in (*SUFFIXES, ".safetensors"):
            raise AvatarkitError(f"{path}: neither a picture nor an avatar, whatever its name says")
        else:
            found.append(str(path))
    for driver in drivers:
        if driver not in PERFORMANCES and driver != STANDARD and not Path(driver).exists():
            raise AvatarkitError(f"{driver}: no such file, and no performance ({', '.join(PERFORMANCES)})")
    if not sources:
        raise UsageError("nobody to move: name a photo, or an avatar (.safetensors)")
    if found.count(STANDARD) > 1:
        raise UsageError("standard input is one driver: write - once")
    if not found and not still:
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError(f"no driver: name a video, a track, or one of {', '.join(PERFORMANCES)}")
        found = [STANDARD]
    return Cast(tuple(sources), tuple(found))


def is_source(path: Path) -> bool:
    """Whether the file is a photo or an avatar, judged by its first bytes. Raises AvatarkitError if it is missing."""
    from avatarkit.files.images import is_photo

    try:
        return is_avatar(path) or is_photo(path)
    except FileNotFoundError as error:
        raise AvatarkitError(
            f"{path}: no such file, and no performance ({', '.join(PERFORMANCES)})"
        ) from error


def is_avatar(path: Path) -> bool:
    """Whether the file begins like a safetensors file: a length, then JSON."""
    with open(path, "rb") as file:
        head = file.read(10)
    return len(head) == 10 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32


def _within(folder: Path) -> tuple[list[Path], list[Path]]:
    from avatarkit.files.images import SUFFIXES
    from avatarkit.files.sinks import VIDEOS

    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    photos = [p for p in files if p.suffix.lower() in SUFFIXES or p.suffix.lower() == ".safetensors"]
    clips = [
        p for p in files if p.suffix.lower() in (*VIDEOS, ".webm", ".avi") or p.name.endswith(".track.npz")
    ]
    if not photos and not clips:
        raise AvatarkitError(f"{folder}: the folder holds no photos, avatars, videos or tracks")
    return photos, clips


def target(output: Path | None, pair: tuple[Path, str | None], alone: bool) -> Path | None:
    """The output argument of one pair: ``output`` itself for a single one, else a file of its own in that folder.

    Raises UsageError where several results are to go to one file.
    """
    source, driver = pair
    name = f"{stem(source, driver)}.reenact.{'png' if driver is None else 'mp4'}"
    if alone and (output is None or not output.is_dir()):
        if output is not None and "%" in output.name and output.parent.parent.is_dir():
            output.parent.mkdir(exist_ok=True)
        return output
    if output is None:
        return Path(name)
    if output.suffix or str(output) == STANDARD:
        raise UsageError(f"{output}: several results need a folder: give -o FOLDER")
    output.mkdir(exist_ok=True)
    return output / name


def stem(source: Path, driver: str | None) -> str:
    """The name of a pair, for its output."""
    if driver is None:
        return source.stem
    name = "stdin" if driver == STANDARD else Path(driver).name
    return f"{source.stem}.{name.removesuffix('.track.npz').removesuffix(Path(name).suffix)}"
