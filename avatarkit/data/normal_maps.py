"""Normal maps of a clip from files: one PNG a frame, as the data sets of Neural Head Avatars hold them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.files.errors import AvatarkitError
from avatarkit.files.track import Track

Float = NDArray[np.float32]

NAME = "frame_{:04d}/normals_0000.png"
"""Of a video's frame, counted from 0, inside the data set's folder."""
SHORTEST = 0.5
"""Vectors shorter than this are the gray that fills a map where the network saw no face."""
RIM = 50
"""A map is not believed within 1 / RIM of the crop's side of where it ends (as in the authors' code)."""


@dataclass(frozen=True)
class NormalMaps:
    """The maps of some frames of a track, in the format of Grassal et al. 2022 (philgras/neural-head-avatars).

    ``frame_0012/normals_0000.png`` beside each frame's own picture: 8-bit RGB of the whole video frame at any size,
    value = (n + 1) / 2 * 255 of unit normals with x to the right of the picture, y up and z towards the camera, as the
    network of Abrevaya et al. 2020 ("Cross-modal deep face normals with deactivable skip connections") gives them;
    gray where it knows none.
    """

    folder: Path
    frame: NDArray[np.int32]
    """[T] the video frame of each tracked one"""
    crop: tuple[int, int, int]
    """x, y, side of the track's crop, pixels of the video"""
    video: tuple[int, int]
    """width and height, pixels"""

    @classmethod
    def open(cls, folder: Path, track: Track, positions: NDArray[np.int64]) -> NormalMaps:
        """The maps in ``folder`` for the frames at ``positions`` of ``track``.

        Raises AvatarkitError where maps are missing, belong to another video, or are of another shape than its frames.
        """
        if not folder.is_dir():
            raise AvatarkitError(f"--normals {folder}: no such folder")
        frames = track.frame[positions]
        names = [NAME.format(int(index)) for index in frames]
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise AvatarkitError(
                f"--normals {folder}: {len(missing)} of the {len(names)} frames to learn from have no map, the first "
                f"is {missing[0]}"
            )
        video = track.meta["video"]
        count, total = sum(1 for _ in folder.glob("frame_*/normals_0000.png")), int(video.get("frames", 0))
        if total and count > total:
            raise AvatarkitError(
                f"--normals {folder}: {count} maps for a video of {total} frames: they are another video's"
            )
        width, height = int(video["width"]), int(video["height"])
        first = _size(folder / names[0])
        for name in names:
            size = _size(folder / name)
            # a scaled side is rounded to whole pixels
            if abs(size[0] * height - size[1] * width) > max(width, height):
                raise AvatarkitError(
                    f"--normals {folder}: {name} is {size[0]}x{size[1]}, which is not the shape of the video's frames "
                    f"({width}x{height}): give maps of whole frames"
                )
            if size != first:
                raise AvatarkitError(
                    f"--normals {folder}: {name} is {size[0]}x{size[1]}, but {names[0]} {first[0]}x{first[1]}"
                )
        x, y, side = (int(value) for value in track.crop[:3])
        return cls(folder, track.frame, (x, y, side), (width, height))

    def of(self, position: int, resolution: int) -> Float:
        """[R, R, 3] unit normals of the track's crop in camera space (x right, y down, z forward); 0 where unknown."""
        path = self.folder / NAME.format(int(self.frame[position]))
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise AvatarkitError(f"--normals {self.folder}: {path.name} of {path.parent.name} is damaged")
        normals = image[..., ::-1].astype(np.float32) * np.float32(2 / 255) - 1
        known = np.linalg.norm(normals, axis=-1) > SHORTEST
        layers = np.dstack([normals * np.array([1, -1, -1], np.float32) * known[..., None], known])
        layers = self._cropped(layers.astype(np.float32), resolution)
        reach = 2 * max(round(resolution / RIM), 1) + 1
        certain = cv2.erode((layers[..., 3] > 0.999).astype(np.uint8), np.ones((reach, reach), np.uint8))
        length = np.maximum(np.linalg.norm(layers[..., :3], axis=-1), 1e-6)
        return np.asarray(layers[..., :3] * (certain / length)[..., None], np.float32)

    def _cropped(self, layers: Float, resolution: int) -> Float:
        """[R, R, C] the crop of whole-frame ``layers`` [h, w, C]; 0 outside the frame."""
        (x, y, side), (width, height) = self.crop, self.video
        scale = resolution / side
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        method = cv2.INTER_AREA if size[0] < layers.shape[1] else cv2.INTER_LINEAR
        whole = cv2.resize(layers, size, interpolation=method)
        matrix = np.zeros((2, 3))
        for axis, (start, extent, pixels) in enumerate(((x, width, size[0]), (y, height, size[1]))):
            ratio = scale * extent / pixels  # 1 up to the rounding of ``size``
            # OpenCV counts pixel centers at integers
            matrix[axis, axis], matrix[axis, 2] = ratio, 0.5 * ratio - start * scale - 0.5
        return np.asarray(cv2.warpAffine(whole, matrix, (resolution, resolution)), np.float32)


def _size(path: Path) -> tuple[int, int]:
    """Width and height as the header of a PNG file says."""
    with open(path, "rb") as file:
        head = file.read(24)
    if len(head) < 24 or not head.startswith(b"\x89PNG\r\n\x1a\n"):
        raise AvatarkitError(f"{path}: not a PNG file")
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
