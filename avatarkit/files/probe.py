"""What a video, image folder or photo is: size, rate, frames, rotation, sound, identity."""

from __future__ import annotations

import hashlib
import re
import subprocess
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from avatarkit.files import ffmpeg, images
from avatarkit.files.errors import AvatarkitError

FOLDER_FPS = 25.0
"""The rate of a folder of images, which has none of its own."""


STANDARDS = {"bt709": "bt709", "bt470bg": "bt601", "smpte170m": "bt601"}
"""ffmpeg's names of color spaces, and the standards whose weights they have."""


@dataclass(frozen=True)
class VideoInfo:
    """A clip as every room sees it: upright, square pixels, constant frame rate.

    ``kind`` is "video", "folder", "photo" or "stream" (standard input, see ``feed``).
    ``frames`` is exact for constant-rate videos and folders, and the resampled number (to +-1) for a variable-rate
    video. ``notes`` are lines a user should read once.
    """

    path: Path
    kind: str
    width: int
    height: int
    fps: float
    frames: int
    rotation: int = 0
    """degrees by which the stored picture was turned (0, 90, 180, 270, counter-clockwise)."""
    has_audio: bool = False
    audio_codec: str = ""
    codec: str = ""
    variable_rate: bool = False
    square_pixels: bool = True
    planes: str = ""
    """the standard of frames stored as "yuv420p" of limited range, as ``ops.yuv`` calls it; empty: stored otherwise."""
    comment: str = ""
    """the container's comment, where a synthetic video says that it is one."""
    notes: tuple[str, ...] = field(default=())

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.frames / self.fps

    @cached_property
    def sha256(self) -> str:
        """Hash of the file's bytes; of a folder: of its images' names and bytes; empty for a stream."""
        if self.kind == "stream":
            return ""
        digest = hashlib.sha256()
        if self.kind == "folder":
            for image in images.listed(self.path):
                digest.update(image.name.encode() + b"\0" + hashlib.sha256(image.read_bytes()).digest())
            return digest.hexdigest()
        with open(self.path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()

    def meta(self) -> dict[str, Any]:
        """The ``meta.video`` entry of a track made from this clip."""
        return {
            "name": self.path.name, "path": str(self.path.resolve()), "sha256": self.sha256,
            "width": self.width, "height": self.height, "fps": self.fps, "frames": self.frames,
            "rotation": self.rotation, "has_audio": self.has_audio,
        }  # fmt: skip


def probe(path: Path | str) -> VideoInfo:
    """Describe the video, image folder or photo at ``path``.

    Raises AvatarkitError when it does not exist, is empty, truncated, or no video at all.
    """
    path = Path(path)
    try:
        stat = path.stat()
    except FileNotFoundError as error:
        raise AvatarkitError(f"{path}: no such file or folder") from error
    return _probe(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=64)
def _probe(path: Path, modified: int, size: int) -> VideoInfo:
    if path.is_dir():
        listed = images.listed(path)
        height, width = images.read_image(listed[0]).shape[:2]
        return VideoInfo(path, "folder", width, height, FOLDER_FPS, len(listed))
    if size == 0 and path.is_file():
        raise AvatarkitError(f"{path}: the file is empty")
    if images.is_photo(path):
        height, width = images.read_image(path).shape[:2]
        return VideoInfo(path, "photo", width, height, FOLDER_FPS, 1)
    return _video(path)


def _video(path: Path) -> VideoInfo:
    # Copying the packets to a checksum list reads no picture: the container alone gives count, times and streams.
    command = [
        ffmpeg.executable(),
        *ffmpeg.reading(path),
        "-map",
        "0:v:0",
        "-c",
        "copy",
        "-f",
        "framecrc",
        "-",
    ]
    done = subprocess.run(command, capture_output=True, check=False)
    said = done.stderr.decode("utf-8", "replace")
    times, tick = _packet_times(done.stdout.decode("ascii", "replace"))
    if "partial file" in said or "Truncat" in said:
        raise AvatarkitError(
            f"{path}: the video is truncated after about {times.size} frames: copy it anew, or save what is left "
            f"with 'ffmpeg -i IN -frames:v {max(times.size - 2, 1)} OUT.mp4'"
        )
    if done.returncode != 0 or times.size == 0:
        raise AvatarkitError(f"{path}: {ffmpeg.reason(said)}")
    header = said.split("Stream mapping:")[0]
    stream = re.search(r"Stream #0:\d+.*?: Video: (\w+).*", header)
    rate = re.search(r"([\d.]+)(k?) fps", stream[0]) if stream else None
    stated = float(rate[1]) * (1000 if rate[2] else 1) if rate else FOLDER_FPS
    fps, variable = _rate(times * tick, stated)
    count = times.size if not variable else max(1, round((times[-1] - times[0]) * tick * fps) + 1)
    turned = re.search(r"rotation of (-?[\d.]+) degrees", header)
    sound = re.search(r"Stream #0:\d+.*?: Audio: (\w+)", header)
    comment = re.search(r"^\s*comment\s*: (.*)$", header, re.MULTILINE)
    aspect = re.search(r"SAR (\d+):(\d+)", stream[0]) if stream else None
    ratio = int(aspect[1]) / int(aspect[2]) if aspect and int(aspect[1]) and int(aspect[2]) else 1.0
    rotation = round(float(turned[1]) / 90) * 90 % 360 if turned else 0
    width, height = _first_frame(path)
    if ratio != 1.0:  # the picture is widened along its stored rows, which a quarter turn makes columns
        width, height = (
            (round(width * ratio), height) if rotation % 180 == 0 else (width, round(height * ratio))
        )
    notes: tuple[str, ...] = ()
    if variable:
        notes = (f"{path.name}: variable frame rate, resampled to its mean of {fps:.3f} frames per second",)
    return VideoInfo(
        path, "video", width, height, fps, count, rotation, sound is not None, sound[1] if sound else "",
        stream[1] if stream else "", variable, ratio == 1.0, _planes(stream[0] if stream else ""),
        comment[1].strip() if comment else "", notes,
    )  # fmt: skip


def _planes(stream: str) -> str:
    """``VideoInfo.planes`` of ffmpeg's line about a ``stream``.

    What names no standard is taken for BT.601, as ffmpeg takes it.
    """
    found = re.search(r", yuv420p(?:\(([^)]*)\))?,", stream)
    if found is None:
        return ""
    told = re.split(r"[,/] ?", found[1] or "")
    if "pc" in told:
        return ""
    for part in told:
        if part in STANDARDS:
            return STANDARDS[part]
    return (
        ""
        if any(part.startswith(("bt", "smpte", "fcc", "ycgco", "gbr", "ictcp")) for part in told)
        else "bt601"
    )


def _packet_times(listing: str) -> tuple[np.ndarray, float]:
    """Sorted presentation times of the shown packets in ticks [N] and the length of a tick in seconds."""
    tick = re.search(r"#tb 0: (\d+)/(\d+)", listing)
    times: list[int] = []
    for line in listing.splitlines():
        parts = line.split(",")
        if line.startswith("#") or len(parts) < 5:
            continue
        flags = re.search(r"F=0x([0-9a-fA-F]+)", line)
        hidden = flags is not None and int(flags[1], 16) & 4  # AV_PKT_FLAG_DISCARD: cut away by an edit list
        if not hidden:
            stamp = parts[2].strip() if parts[2].strip().lstrip("-").isdigit() else parts[1].strip()
            times.append(int(stamp) if stamp.lstrip("-").isdigit() else len(times))
    seconds = int(tick[1]) / int(tick[2]) if tick else 1.0 / FOLDER_FPS
    return np.sort(np.asarray(times, np.int64)), seconds


def _rate(times: np.ndarray, stated: float) -> tuple[float, bool]:
    """Mean rate of presentation ``times`` [N] seconds, and whether the spacing strays from it by half a frame."""
    if times.size < 2 or times[-1] <= times[0]:
        return stated, False
    mean = (times.size - 1) / (times[-1] - times[0])
    stray = np.abs(times - times[0] - np.arange(times.size) / mean).max() * mean
    if stray > 0.5:
        return round(float(mean), 3), True
    return (stated if abs(mean - stated) < 0.01 * stated else round(float(mean), 6)), False


def _first_frame(path: Path) -> tuple[int, int]:
    """Upright width and height, from really decoding the first picture."""
    command = [
        ffmpeg.executable(),
        *ffmpeg.reading(path),
        "-loglevel",
        "error",
        "-map",
        "0:v:0",
        "-frames:v",
        "1",
    ]
    done = subprocess.run(
        [*command, "-c:v", "ppm", "-f", "image2pipe", "-"], capture_output=True, check=False
    )
    header = re.match(rb"P6\s+(\d+)\s+(\d+)\s", done.stdout)
    if header is None:
        raise AvatarkitError(
            f"{path}: no picture could be decoded: {ffmpeg.reason(done.stderr.decode(errors='replace'))}"
        )
    return int(header[1]), int(header[2])
