"""The head crops and mattes of a clip's valid frames, on disk at one resolution, read by position."""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.data.labels import decode
from avatarkit.files.errors import AvatarkitError, NoFaceError
from avatarkit.files.track import Track
from avatarkit.files.video import read_frames_at
from avatarkit.rendering.camera import Camera

Image = NDArray[np.uint8]
Boxes = NDArray[np.float32]
LAYERS = ("head", "person", "labels")
WRITERS = 2
"""Threads that cut frames out while the next ones are decoded."""

# Face-mesh landmarks on the outer border of the lips and of the eyes with their lids and brows' lower rims.
LIPS = (61, 291, 0, 17, 37, 267, 84, 314, 39, 269, 181, 405)
EYES = (
    (33, 133, 159, 145, 160, 144, 158, 153, 161, 163, 157, 154),  # the person's right
    (263, 362, 386, 374, 387, 373, 385, 380, 388, 390, 384, 381),  # the person's left
)


def valid_positions(track: Track) -> NDArray[np.int64]:
    """Tracked frames that can be used. Raises NoFaceError when there are none."""
    positions = np.flatnonzero(track.valid)
    if not len(positions):
        raise NoFaceError("the track holds no valid frame: track a clip in which the face can be seen")
    return positions


def split(track: Track, holdout: float = 0.1) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(training, held-out) positions in the track: the last ``holdout`` of its valid frames are held out.

    Frames are split by time, because neighbors in time are near copies of each other. At least one frame
    stays for training; a share above zero holds out at least one where there are two.
    """
    positions = valid_positions(track)
    count = round(len(positions) * holdout)
    if holdout > 0:
        count = max(count, 1)
    count = min(count, len(positions) - 1)
    cut = len(positions) - count
    return positions[:cut], positions[cut:]


def crop_camera(track: Track, resolution: int) -> Camera:
    """The camera of the track's square head crop at ``resolution`` pixels a side."""
    video = track.meta["video"]
    x, y, size = (int(v) for v in track.crop[:3])
    whole = Camera(np.asarray(track.intrinsics, np.float32), int(video["width"]), int(video["height"]))
    return whole.cropped(x, y, size, resolution)


def crop_of(frame: Image, crop: tuple[int, int, int], resolution: int) -> Image:
    """The square (x, y, size) of ``frame`` [H, W, 3] at ``resolution`` pixels, edges replicated beyond the frame."""
    x, y, size = crop
    height, width = frame.shape[:2]
    if x >= 0 and y >= 0 and x + size <= width and y + size <= height:
        patch = frame[y : y + size, x : x + size]
    else:
        rows = np.clip(np.arange(y, y + size), 0, height - 1)
        columns = np.clip(np.arange(x, x + size), 0, width - 1)
        patch = frame[rows].take(columns, 1)
    method = cv2.INTER_AREA if resolution < size else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(patch, (resolution, resolution), interpolation=method), np.uint8)


def landmark_boxes(points: NDArray[np.floating]) -> Boxes:
    """[3, 4] x0, y0, x1, y1 around the mouth and the person's right and left eye, in the pixels of ``points``.

    ``points`` [L, 2] are face-mesh landmarks. The mouth's box reaches half its height beyond the lips, an
    eye's as far as the lids can go. Boxes of a frame without landmarks are NaN.
    """
    result = np.full((3, 4), np.nan, np.float32)
    for i, (group, reach) in enumerate(((LIPS, (0.15, 0.5)), (EYES[0], (0.25, 1.2)), (EYES[1], (0.25, 1.2)))):
        inside = points[list(group)]
        low, high = inside.min(0), inside.max(0)
        # A closed eye or mouth has next to no height: measure the margin against the width as well.
        margin = np.array([reach[0], 0.0]) * (high[0] - low[0])
        margin[1] = max(reach[1] * (high[1] - low[1]), 0.15 * (high[0] - low[0]))
        result[i] = np.concatenate([low - margin, high + margin])
    return result


@dataclass(frozen=True)
class _Record:
    """Where a frame's planes lie in its record: rgb first, because training reads rgb and head together."""

    resolution: int

    @property
    def plane(self) -> int:
        return self.resolution * self.resolution

    @property
    def size(self) -> int:
        return 6 * self.plane

    def span(self, layer: str) -> tuple[int, int]:
        """First byte and length of a layer."""
        if layer == "rgb":
            return 0, 3 * self.plane
        return (3 + LAYERS.index(layer)) * self.plane, self.plane


def _write_all(file: int, data: bytes, at: int) -> None:
    left = memoryview(data)
    while left:
        written = os.pwrite(file, left, at)
        left, at = left[written:], at + written


class ClipFrames:
    """Head crops [R, R, 3] and mattes [R, R] of a track's valid frames, as uint8 at resolution R.

    The video is decoded once into an unnamed temporary file (6 R^2 bytes a frame), from which frames are
    read by position, so that memory does not grow with the clip. A context manager: leaving it frees the file.

    Positions are indices into the track (``track.frame[position]`` is the video's frame number). Work may begin on
    some of them, ``first``, before the others are read by ``finish``.
    """

    def __init__(
        self,
        track: Track,
        source: Path,
        resolution: int,
        progress: Callable[[dict[str, Any]], None] | None = None,
        positions: NDArray[np.int64] | None = None,
        layers: tuple[str, ...] = LAYERS,
        first: NDArray[np.int64] | None = None,
    ) -> None:
        """Reads ``positions`` (default: all valid ones) of ``track`` from its video, folder or photo ``source``.

        Of the mattes only ``layers`` are unpacked; the others are empty. With ``first``, only those of the positions
        are read until ``finish`` is called.

        Raises AvatarkitError when the track holds no mattes, or the video is shorter than the track.
        """
        if track.mattes is None:
            raise AvatarkitError("the track holds no mattes: run 'avatarkit segment' on it first")
        self.track = track
        self.resolution = resolution
        self.positions = valid_positions(track) if positions is None else np.asarray(positions, np.int64)
        self.camera = crop_camera(track, resolution)
        self.crop = (int(track.crop[0]), int(track.crop[1]), int(track.crop[2]))
        self._source, self._record, self._layers = source, _Record(resolution), layers
        self._boxes: dict[int, Boxes] = {}
        self._row: dict[int, int] = {}
        begun = np.ones(len(self.positions), np.bool_) if first is None else np.isin(self.positions, first)
        self._left = np.flatnonzero(~begun)
        with self._writable():
            self._file = tempfile.TemporaryFile(  # noqa: SIM115 (close() ends it)
                prefix="avatarkit-", dir=os.environ.get("AVATARKIT_CACHE") or None
            )
            try:
                self._fill(np.flatnonzero(begun), progress)
            except BaseException:
                self._file.close()
                raise

    def finish(self, progress: Callable[[dict[str, Any]], None] | None = None) -> None:
        """Reads what is left after the ``first`` frames."""
        left, self._left = self._left, self._left[:0]
        with self._writable():
            self._fill(left, progress)

    @contextmanager
    def _writable(self) -> Iterator[None]:
        """Turns a failure of the frame cache into a message."""
        try:
            yield
        except OSError as error:
            raise AvatarkitError(
                f"the frame cache cannot be written ({error.strerror}): free "
                f"{len(self.positions) * self._record.size >> 20} MB of disk, or set AVATARKIT_CACHE to another folder"
            ) from error

    def _fill(self, wanted: NDArray[np.int64], progress: Callable[[dict[str, Any]], None] | None) -> None:
        """Reads the rows ``wanted`` of ``positions``."""
        rows: dict[int, list[int]] = {}
        for row in wanted.tolist():
            rows.setdefault(int(self.track.frame[self.positions[row]]), []).append(row)
        done = 0
        under_way: deque[Future[None]] = deque()
        with ThreadPoolExecutor(WRITERS, "clip") as pool:
            for index, frame in read_frames_at(self._source, rows):
                under_way.append(pool.submit(self._write, rows[index], frame))
                if len(under_way) > 2 * WRITERS:
                    under_way.popleft().result()
                done += len(rows[index])
                if progress is not None:
                    progress({"stage": "reading frames", "step": done, "steps": len(wanted)})
            while under_way:
                under_way.popleft().result()
        self._row |= {int(self.positions[row]): row for row in wanted.tolist()}

    def _write(self, rows: list[int], frame: Image) -> None:
        assert self.track.mattes is not None
        rgb = crop_of(frame, self.crop, self.resolution).tobytes()
        for row in rows:
            mattes = self.track.mattes[int(self.positions[row])]
            planes = [rgb]
            for layer in LAYERS:
                image = decode(mattes[layer]) if layer in mattes and layer in self._layers else None
                planes.append(self._resized(image, layer).tobytes())
            _write_all(self._file.fileno(), b"".join(planes), row * self._record.size)

    def _resized(self, image: Image | None, layer: str) -> Image:
        """A matte of the whole crop at the clip's resolution; labels are never mixed."""
        size = (self.resolution, self.resolution)
        if image is None:
            return np.zeros(size, np.uint8)
        if layer == "labels":
            return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_NEAREST), np.uint8)
        method = cv2.INTER_AREA if image.shape[0] > self.resolution else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)

    def _read(self, position: int, layer: str) -> Image:
        row = self._row.get(int(position))
        if row is None:
            raise KeyError(f"frame {position} of the track is not in this clip, or not read yet")
        begin, length = self._record.span(layer)
        data = np.empty(length, np.uint8)
        os.preadv(self._file.fileno(), [data.data], row * self._record.size + begin)
        return data

    def rgb(self, position: int) -> Image:
        """[R, R, 3] the crop of the frame; beyond the video's edges its edge pixels."""
        return self._read(position, "rgb").reshape(self.resolution, self.resolution, 3)

    def head(self, position: int) -> Image:
        """[R, R] head matte, 0 to 255."""
        return self._read(position, "head").reshape(self.resolution, self.resolution)

    def person(self, position: int) -> Image:
        """[R, R] person matte, 0 to 255."""
        return self._read(position, "person").reshape(self.resolution, self.resolution)

    def labels(self, position: int) -> Image:
        """[R, R] values of ``data.labels.Label``."""
        return self._read(position, "labels").reshape(self.resolution, self.resolution)

    @cached_property
    def visible(self) -> tuple[int, int, int, int]:
        """left, top, right, bottom (pixels of the crop, exclusive) of the part that lies inside the video frame."""
        video = self.track.meta["video"]
        x, y, size = self.crop
        scale = self.resolution / size
        left, top = np.ceil(max(-x, 0) * scale), np.ceil(max(-y, 0) * scale)
        right = np.floor((min(x + size, int(video["width"])) - x) * scale)
        bottom = np.floor((min(y + size, int(video["height"])) - y) * scale)
        return int(left), int(top), int(right), int(bottom)

    def points(self, position: int) -> Boxes:
        """[L, 2] landmarks of a frame in crop pixels."""
        found = self.track.landmarks[int(position), :, :2]
        return np.asarray(
            (found - np.asarray(self.crop[:2], np.float32)) * (self.resolution / self.crop[2]), np.float32
        )

    def boxes(self, position: int) -> Boxes:
        """``landmark_boxes`` of a frame in crop pixels."""
        if position not in self._boxes:
            self._boxes[position] = landmark_boxes(self.points(position))
        return self._boxes[position]

    def close(self) -> None:
        """Frees the temporary file."""
        self._file.close()

    def __enter__(self) -> ClipFrames:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
