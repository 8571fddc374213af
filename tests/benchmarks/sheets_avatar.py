"""Sheets to look at: ``python tests/benchmarks/sheets_avatar.py me.safetensors ... [--size 168]``.

Of each avatar, beside it: ``me_sliders.png``, every coefficient alone at 1, and ``me_turns.png``, the head turned and
nodding by up to 25 degrees.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from avatarkit.methods.driving import still
from avatarkit.methods.stage import Stage
from avatarkit.ops import set_threads

Image = NDArray[np.uint8]

COLUMNS = 9
ANGLES = (-25, -17, -8, 0, 8, 17, 25)
"""Degrees."""


def sliders(stage: Stage, size: int) -> Image:
    """Every coefficient at 1, by name."""
    tiles = []
    for name in stage.avatar.header["expression_names"]:
        tile = np.ascontiguousarray(stage.frame(still(stage.avatar.header, {name: 1.0}), size, "crop"))
        for color, width in (((255, 255, 255), 2), ((160, 0, 0), 1)):
            cv2.putText(tile, name, (3, size - 6), cv2.FONT_HERSHEY_SIMPLEX, size / 470, color, width)
        tiles.append(tile)
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % COLUMNS)
    rows = [np.concatenate(tiles[i : i + COLUMNS], 1) for i in range(0, len(tiles), COLUMNS)]
    return np.concatenate(rows)


def turns(stage: Stage, size: int) -> Image:
    """Yaw in the upper row, pitch in the lower one."""
    header = stage.avatar.header
    rows = [
        [stage.frame(still(header, {}, **{axis: angle}), size, "crop") for angle in ANGLES]
        for axis in ("yaw", "pitch")
    ]
    return np.concatenate([np.concatenate(row, 1) for row in rows])


def main() -> None:
    """Write both sheets of every avatar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("avatars", type=Path, nargs="+")
    parser.add_argument("--size", type=int, default=168)
    options = parser.parse_args()
    set_threads(1)
    for path in options.avatars:
        stage = Stage.load(path).begun(None, None)
        for name, sheet in (("sliders", sliders(stage, options.size)), ("turns", turns(stage, options.size))):
            target = path.with_name(f"{path.stem}_{name}.png")
            cv2.imwrite(str(target), sheet[..., ::-1])
            print(target)


if __name__ == "__main__":
    main()
