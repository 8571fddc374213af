"""Reading clips frame by frame with flat memory: videos through ffmpeg, folders of images, single photos."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avatarkit.files import ffmpeg, images
from avatarkit.files.errors import AvatarkitError
from avatarkit.files.probe import VideoInfo, probe
from avatarkit.files.video_writer import VideoWriter
from avatarkit.ops import yuv

__all__ = ["Image", "VideoInfo", "VideoWriter", "probe", "read_frames", "read_frames_at", "write_raw"]

Image = NDArray[np.uint8]


def read_frames(
    source: Path | str,
    start: int = 0,
    end: int | None = None,
    fps: float | None = None,
    size: tuple[int, int] | None = None,
) -> Iterator[tuple[int, Image]]:
    """Yield (index, [H, W, 3] uint8 sRGB) of the frames ``start`` <= index < ``end`` of a clip.

    Display rotation and pixel aspect are applied, a variable frame rate is resampled to its mean. ``fps``
    below the clip's own rate skips frames; indices stay those of the clip. ``size`` is (width, height).
    The arrays may be written to. Raises AvatarkitError when the clip cannot be read to its end.
    """
    info = probe(source)
    yield from _read(info, start, end, size, _Thinning(info, fps))


def read_frames_at(
    source: Path | str, indices: Iterable[int], size: tuple[int, int] | None = None
) -> Iterator[tuple[int, Image]]:
    """Yield the frames of ``indices`` in ascending order, each once, decoding the clip one time.

    Raises AvatarkitError when an index lies beyond the clip's end.
    """
    wanted = sorted(set(indices))
    if not wanted:
        return
    missing = set(wanted)
    for index, frame in _read(probe(source), wanted[0], wanted[-1] + 1, size, set(wanted).__contains__):
        missing.remove(index)
        yield index, frame
    if missing:
        raise AvatarkitError(f"{source}: frame {min(missing)} was asked for, but the clip ends before it")


def write_raw(frame: Image) -> None:
    """Write one [H, W, 3] frame as raw rgb24 bytes to standard output (for ffmpeg -f rawvideo -pix_fmt rgb24)."""
    sys.stdout.buffer.write(np.ascontiguousarray(frame).data)


class _Thinning:
    """Which indices are kept when the clip is read at ``fps`` instead of its own rate."""

    def __init__(self, info: VideoInfo, fps: float | None) -> None:
        if fps is not None and not fps > 0:
            raise AvatarkitError(f"a frame rate of {fps} makes no sense: give a positive number")
        self.ratio = min(1.0, fps / info.fps) if fps is not None else 1.0

    def __call__(self, index: int) -> bool:
        # kept where the thinned clock ticks; the small constant keeps 12.5 of 25 from missing its beat
        return int(index * self.ratio + 1e-6) != int((index - 1) * self.ratio + 1e-6) if index else True


def _read(
    info: VideoInfo, start: int, end: int | None, size: tuple[int, int] | None, wanted: Callable[[int], bool]
) -> Iterator[tuple[int, Image]]:
    """The ``wanted`` frames from ``start`` to ``end`` (None: the clip's own, where its pipe ends)."""
    if info.kind == "video":
        return _stream(info, start, end, size, wanted)
    return _stills(info, start, info.frames if end is None else end, size, wanted)


def _stills(
    info: VideoInfo, start: int, end: int, size: tuple[int, int] | None, wanted: Callable[[int], bool]
) -> Iterator[tuple[int, Image]]:
    import cv2

    paths = images.listed(info.path) if info.kind == "folder" else [info.path]
    for index in filter(wanted, range(max(start, 0), min(end, len(paths)))):
        image = images.read_image(paths[index])
        if image.shape[:2] != (info.height, info.width):
            raise AvatarkitError(
                f"{paths[index]}: {image.shape[1]}x{image.shape[0]} pixels, but the folder's first image has "
                f"{info.width}x{info.height}: all images of a clip must have one size"
            )
        if size is not None and size != (info.width, info.height):
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        yield index, image


def _stream(
    info: VideoInfo, start: int, end: int | None, size: tuple[int, int] | None, wanted: Callable[[int], bool]
) -> Iterator[tuple[int, Image]]:
    """Decode through a pipe; ffmpeg counts the frames, so that indices hold whatever the key frames are.

    All frames come through it, but only the ``wanted`` ones are made colors of.
    """
    width, height = size or (info.width, info.height)
    filters = [f"fps={info.fps}"] if info.variable_rate else []
    if start > 0:
        filters.append(f"select=gte(n\\,{start})")
    # swscale's quick path from yuv to rgb darkens by 1 to 2 gray levels; these flags remove the bias
    kernel = "area" if size is not None else "neighbor" if info.square_pixels else "bicubic"
    filters.append(f"scale={width}:{height}:flags={kernel}+accurate_rnd+full_chroma_int,setsar=1")
    command = [ffmpeg.executable(), *ffmpeg.reading(info.path), "-loglevel", "error", "-map", "0:v:0"]
    command += ["-vf", ",".join(filters)]
    if end is not None:
        if end <= start:
            return
        command += ["-frames:v", str(end - start)]
    # planes are half as many bytes as colors, and our own conversion takes a tenth of swscale's accurate one
    stored = "yuv420p" if info.planes else "rgb24"
    command += ["-fps_mode", "passthrough", "-pix_fmt", stored, "-f", "rawvideo", "-"]
    planes = np.empty(yuv.size(height, width), np.uint8)
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, bufsize=0, pipesize=ffmpeg.PIPE
        )
        assert process.stdout is not None
        index = start
        try:
            while True:
                frame = planes if info.planes else np.empty((height, width, 3), np.uint8)
                got = _fill(process.stdout, memoryview(frame.data).cast("B"))
                if got < frame.size:
                    break
                if wanted(index):
                    yield index, yuv.to_rgb(planes, height, width, info.planes) if info.planes else frame
                index += 1
            code = process.wait()
            errors.seek(0)
            said = errors.read().decode("utf-8", "replace")
            if code != 0 or got > 0:
                raise AvatarkitError(f"{info.path}: reading failed at frame {index}: {ffmpeg.reason(said)}")
        finally:  # also when the caller stops early
            process.stdout.close()
            if process.poll() is None:
                process.kill()
            process.wait()


def _fill(pipe: object, view: memoryview) -> int:
    """Read into ``view`` until it is full or the pipe ends; the number of bytes read."""
    got = 0
    while got < len(view):
        count = pipe.readinto(view[got:])  # type: ignore[attr-defined]
        if not count:
            break
        got += count
    return got
