"""A tracked clip as the data set of another program: nerfstudio, NeRFBlendShape or NerFACE.

In all of them the head stands still at the origin and the camera moves around it: ``transform_matrix`` [4, 4] takes
points of the camera (OpenGL's axes: x right, y up, z backwards) to head space in meters. Pictures are the clip's head
crop; the head's matte is their alpha (nerfstudio), lays them over white (NeRFBlendShape), or boxes them (NerFACE).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatarkit.data.clip import ClipFrames, crop_of, split
from avatarkit.data.plate import background_plate
from avatarkit.files.errors import UsageError
from avatarkit.files.images import write_image
from avatarkit.files.track import Track

Image = NDArray[np.uint8]
Progress = Callable[[], None]
_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])


def camera_to_head(rotation: NDArray[Any], translation: NDArray[Any]) -> NDArray[np.float64]:
    """[4, 4] camera (OpenGL axes) to head, of a head-to-camera pose in OpenCV's axes."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, translation
    matrix: NDArray[np.float64] = np.linalg.inv(pose) @ _OPENGL
    return matrix


def pose_of(matrix: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The inverse of ``camera_to_head``: rotation [3, 3] and translation [3] of head to camera (OpenCV)."""
    pose = np.linalg.inv(np.asarray(matrix, np.float64) @ _OPENGL)
    return pose[:3, :3], pose[:3, 3]


def write_dataset(
    track: Track, source: Path, folder: Path, layout: str, resolution: int, holdout: float, step: Progress
) -> int:
    """Write the valid frames of ``track`` to ``folder`` in ``layout`` (one of ``LAYOUTS``); returns how many.

    ``step`` is called after each picture. Raises UsageError for an unknown layout, AvatarkitError where the track
    holds no mattes.
    """
    if layout not in LAYOUTS:
        raise UsageError(f"--layout {layout}: choose from {', '.join(LAYOUTS)}")
    parts = split(track, holdout)
    with ClipFrames(track, source, resolution) as clip:
        count = LAYOUTS[layout](clip, parts, folder, step)
    if layout == "nerface":
        (folder / "bg").mkdir()
        write_image(
            folder / "bg" / "00001.png", crop_of(background_plate(track, source), clip.crop, resolution)
        )
    return count


Split = tuple[NDArray[np.int64], NDArray[np.int64]]


def _nerfstudio(clip: ClipFrames, parts: Split, folder: Path, step: Progress) -> int:
    """``transforms.json`` with one camera for all frames, pictures with alpha, and nerfstudio's lists of a split."""
    track, camera = clip.track, clip.camera
    (folder / "images").mkdir(parents=True)
    frames, named = [], []
    for rows in parts:
        names = []
        for position in rows.tolist():
            name = f"images/frame_{int(track.frame[position]):05d}.png"
            write_image(folder / name, np.dstack([clip.rgb(position), clip.head(position)]))
            frames.append({"file_path": name, **_told(track, position, "expression")})
            names.append(name)
            step()
        named.append(names)
    k = camera.intrinsics.astype(float)
    whole = {
        "camera_model": "OPENCV",
        "fl_x": k[0, 0],
        "fl_y": k[1, 1],
        "cx": k[0, 2],
        "cy": k[1, 2],
        "w": camera.width,
        "h": camera.height,
        "expression_names": list(track.expression_names),
        "train_filenames": named[0],
        "val_filenames": named[1],
        "test_filenames": named[1],
        "frames": frames,
    }
    _write(folder / "transforms.json", whole)
    return len(frames)


def _nerfblendshape(clip: ClipFrames, parts: Split, folder: Path, step: Progress) -> int:
    """The layout of Gao et al. 2022 (seed 002): frames by ``img_id`` with ``exp_ori``, and the range of each."""
    track, camera = clip.track, clip.camera
    (folder / "head_imgs").mkdir(parents=True)
    frames = []
    for position in _all(parts):
        image_id = int(track.frame[position])
        write_image(folder / "head_imgs" / f"{image_id}.png", _over_white(clip, position))
        frames.append({"img_id": image_id, **_told(track, position, "exp_ori")})
        step()
    k = camera.intrinsics.astype(float)
    whole = {
        "h": camera.height,
        "w": camera.width,
        "fx": k[0, 0],
        "fy": k[1, 1],
        "cx": k[0, 2],
        "cy": k[1, 2],
        "frames": frames,
    }
    _write(folder / "transforms.json", whole)
    seen = track.expression[np.concatenate(parts)]
    count = seen.shape[1]
    np.savetxt(folder / f"max_{count}.txt", seen.max(0), fmt="%.8f")
    np.savetxt(folder / f"min_{count}.txt", seen.min(0), fmt="%.8f")
    write_image(folder / "bc.jpg", np.full((camera.height, camera.width, 3), 255, np.uint8))
    return len(frames)


def _nerface(clip: ClipFrames, parts: Split, folder: Path, step: Progress) -> int:
    """The layout of Gafni et al. 2021: three splits, whole pictures, the background, a box around the head.

    Intrinsics are [fx, fy, cx, cy] with the center as a share of the size; boxes are shares [top, bottom, left,
    right]. Validation is the first tenth of what is held out.
    """
    track, (training, heldout) = clip.track, parts
    few = max(1, len(heldout) // 10)
    size = clip.camera.width
    k = clip.camera.intrinsics.astype(float)
    # NerFACE's rays go through the pixels' corners (integers), ours through their centers
    center = [(k[0, 2] - 0.5) / size, (k[1, 2] - 0.5) / size]
    count = 0
    for name, rows in (("train", training), ("val", heldout[:few]), ("test", heldout)):
        (folder / name).mkdir(parents=True)
        frames = []
        for number, position in enumerate(rows.tolist()):
            write_image(folder / name / f"f_{number:04d}.png", clip.rgb(position))
            box = _box(clip.head(position))
            told = _told(track, position, "expression")
            frames.append({"file_path": f"./{name}/f_{number:04d}", "bbox": box, **told})
            count += name != "val"
            step()
        whole = {
            "camera_angle_x": 2 * math.atan(size / (2 * k[0, 0])),
            "intrinsics": [k[0, 0], k[1, 1], *center],
            "frames": frames,
        }
        _write(folder / f"transforms_{name}.json", whole)
    return count


LAYOUTS = {"nerfstudio": _nerfstudio, "nerfblendshape": _nerfblendshape, "nerface": _nerface}


def _told(track: Track, position: int, key: str) -> dict[str, Any]:
    matrix = camera_to_head(track.rotation[position], track.translation[position])
    return {"transform_matrix": matrix.tolist(), key: track.expression[position].astype(float).tolist()}


def _all(parts: Split) -> Iterator[int]:
    return iter(np.sort(np.concatenate(parts)).tolist())


def _over_white(clip: ClipFrames, position: int) -> Image:
    alpha = clip.head(position)[..., None].astype(np.float32) / 255
    return np.asarray(255 - alpha * (255 - clip.rgb(position).astype(np.float32)) + 0.5, np.uint8)


def _box(matte: Image) -> list[float]:
    """[top, bottom, left, right] of the matte as shares of the picture; all of it where the matte is empty."""
    rows, columns = np.flatnonzero((matte > 127).any(1)), np.flatnonzero((matte > 127).any(0))
    if not len(rows):
        return [0.0, 1.0, 0.0, 1.0]
    height, width = matte.shape
    return [
        float(rows[0] / height),
        float((rows[-1] + 1) / height),
        float(columns[0] / width),
        float((columns[-1] + 1) / width),
    ]


def _write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1), encoding="utf-8")
