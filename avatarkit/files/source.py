"""From a track back to the clip it was made from."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

from avatarkit.files.errors import AvatarkitError
from avatarkit.files.probe import probe
from avatarkit.files.track import Track


def resolve_video(track: Track, override: Path | None = None, beside: Path | None = None) -> Path:
    """The video, image folder or photo that ``track`` was made from.

    Looked for in this order: ``override`` (the user's ``--video``), the path the track remembers, the same
    name in the folder of ``beside`` (the track's own file) and in the working directory, and the bytes
    embedded in the track (unpacked to a temporary file that lives as long as this process).
    Raises AvatarkitError when there is none, or when it is another clip than the track's.
    """
    video = track.meta.get("video", {})
    name = str(video.get("name", "")) or "the video"
    if override is not None:
        _verify(track, override, strict=True)
        return override
    candidates = [Path(str(video["path"]))] if video.get("path") else []
    if beside is not None:
        candidates.append(beside.parent / name)
    candidates.append(Path(name))
    other: AvatarkitError | None = None
    for candidate in candidates:
        if not candidate.exists():
            continue
        try:
            _verify(track, candidate, strict=False)
            return candidate
        except AvatarkitError as error:
            other = other or error
    if track.video is not None:
        return _unpacked(track.video, name)
    if other is not None:
        raise other
    raise AvatarkitError(f"the track's video '{name}' is not to be found: name it with --video FILE")


def _verify(track: Track, path: Path, strict: bool) -> None:
    """Raise AvatarkitError when ``path`` is not the clip the track speaks of."""
    expected = track.meta.get("video", {})
    info = probe(path)
    told = f"{path}: not the video this track was made from"
    size = (expected.get("width"), expected.get("height"))
    if None not in size and size != (info.width, info.height):
        raise AvatarkitError(f"{told} ({info.width}x{info.height} pixels instead of {size[0]}x{size[1]})")
    if int(track.frame[-1]) >= info.frames + 1:
        raise AvatarkitError(
            f"{told} (it has {info.frames} frames, the track goes to {int(track.frame[-1])})"
        )
    sha256 = expected.get("sha256")
    if sha256 and sha256 != info.sha256:
        hint = "name the right one with --video" if not strict else "track this one anew"
        raise AvatarkitError(f"{told} (its SHA-256 differs): {hint}")


_unpacked_paths: dict[int, Path] = {}


def _unpacked(data: bytes, name: str) -> Path:
    """``data`` as a file called ``name``; unpacked once for each track of this process."""
    if id(data) not in _unpacked_paths:
        folder = Path(tempfile.mkdtemp(prefix="avatarkit-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        path = folder / (Path(name).name or "video")
        path.write_bytes(data)
        _unpacked_paths[id(data)] = path
    return _unpacked_paths[id(data)]
