"""A virtual camera as a small JSON file, as ``render --camera view.json`` reads it.

    {"width": 512, "height": 512, "intrinsics": [[900, 0, 256], [0, 900, 256], [0, 0, 1]],
     "rotation": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "translation": [0, 0, 0]}

``rotation`` [3, 3] and ``translation`` [3] (meters) take points of the avatar's own camera to this one, both in the
OpenCV convention; left out, the camera stays where it was. ``intrinsics`` are in pixels of ``width`` x ``height``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatarkit.files.errors import AvatarkitError

LARGEST = 4096


@dataclass(frozen=True)
class ViewFile:
    """What the file holds, checked: see the module."""

    width: int
    height: int
    intrinsics: NDArray[np.float64]
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]


def load_view(path: Path) -> ViewFile:
    """Read a view. Raises AvatarkitError naming the entry that is missing or cannot be."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AvatarkitError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise AvatarkitError(
            f"{path} is not a JSON file: --camera takes frame, crop or a view.json"
        ) from error
    if not isinstance(values, dict):
        raise AvatarkitError(f"{path}: a view is one JSON object with width, height and intrinsics")
    sides = [side for key in ("width", "height") if isinstance(side := values.get(key), int)]
    if len(sides) < 2 or not all(16 <= side <= LARGEST for side in sides):
        raise AvatarkitError(f"{path}: width and height must be whole numbers from 16 to {LARGEST}")
    rotation = _array(path, values, "rotation", np.eye(3))
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) or np.linalg.det(rotation) < 0:
        raise AvatarkitError(f"{path}: rotation is not a rotation matrix (a reflection is none either)")
    intrinsics = _array(path, values, "intrinsics", np.zeros((3, 3)))
    if intrinsics[0, 0] <= 0 or intrinsics[1, 1] <= 0:
        raise AvatarkitError(f"{path}: intrinsics need positive focal lengths at [0][0] and [1][1]")
    translation = _array(path, values, "translation", np.zeros(3))
    return ViewFile(sides[0], sides[1], intrinsics, rotation, translation)


def _array(path: Path, values: dict[str, Any], key: str, default: NDArray[np.float64]) -> NDArray[np.float64]:
    try:
        array = np.asarray(values.get(key, default), np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape != default.shape or not np.isfinite(array).all():
        raise AvatarkitError(f"{path}: {key} must hold {' x '.join(map(str, default.shape))} finite numbers")
    return array
