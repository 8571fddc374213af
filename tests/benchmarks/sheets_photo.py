"""Every photo moved by every clip, and turntables, to look at: ``python tests/benchmarks/sheets_photo.py OUT``.

``OUT/photo01_by_person02.jpg``: the photo, then the driver's most telling frames above what becomes of the photo.
``OUT/photo01_turntable.jpg``: yaw from -35 to 35 degrees above pitch from -20 to 20. ``OUT/self_person02.jpg``: the
clip's own neutral frame as photo, the truth above the result.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from avatarkit.files.images import write_image
from avatarkit.methods.stage import Stage
from avatarkit.ops import set_threads
from tests.benchmarks import photo_cases as cases
from tests.benchmarks import photo_measures as measures
from tests.benchmarks.photo_cases import Act, Square

Image = NDArray[np.uint8]
TILE = 256
YAWS = (-35, -25, -15, -7, 0, 7, 15, 25, 35)
PITCHES = (-20, -15, -10, -5, 0, 5, 10, 15, 20)


def tile(picture: Image, side: int = TILE) -> Image:
    """The picture scaled into a square, on grey."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    square = np.full((side, side, 3), 128, np.uint8)
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = small
    return square


def sheet(rows: Sequence[Sequence[Image]], side: int = TILE) -> Image:
    """Tiles in rows."""
    return np.vstack([np.hstack([tile(picture, side) for picture in row]) for row in rows])


def telling(act: Act, count: int) -> list[int]:
    """The frames with the widest mouth, the broadest, closed and wide eyes, the largest turns, and some between."""
    looks = {i: measures.Look.of(np.asarray(d.landmarks, np.float64)) for i, d in act.drives.items()}
    turns = {
        i: measures.motion_of(np.asarray(act.neutral.landmarks, np.float64), look.points).rotation
        for i, look in looks.items()
    }
    keys = (
        lambda i: looks[i].gap, lambda i: looks[i].width, lambda i: -looks[i].width, lambda i: -looks[i].aperture,
        lambda i: turns[i][0, 2], lambda i: -turns[i][0, 2], lambda i: turns[i][1, 2], lambda i: -turns[i][1, 2],
        lambda i: looks[i].aperture,
    )  # fmt: skip
    chosen = [max(looks, key=key) for key in keys][:count]
    return sorted({*chosen, *act.spread(max(2, count - len(set(chosen))))})[:count]


def pair(photo: Image, stage: Stage, act: Act, count: int, head: bool) -> Image:
    """The photo and, frame by frame, the driver above the result."""
    begun = stage.begun(act.neutral, act.camera)
    frames = telling(act, count)
    pictures = act.pictures(frames)
    square = Square.of(act)
    view = (TILE * 2, "crop") if head else (None, "frame")
    made = [begun.frame(act.drives[i], *view) for i in frames]
    rest = stage.begun(None, None).frame(measures.turned_drive(stage, 0), *view)
    return sheet([[photo, *(square.cut(pictures[i]) for i in frames)], [rest, *made]])


def turntable(stage: Stage) -> Image:
    """Yaw above pitch, the head crop."""
    begun = stage.begun(None, None)
    return sheet(
        [
            [begun.frame(measures.turned_drive(stage, yaw), TILE, "crop") for yaw in YAWS],
            [begun.frame(measures.turned_drive(stage, 0, pitch), TILE, "crop") for pitch in PITCHES],
        ]
    )


def main() -> None:
    """Write the sheets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=9, help="columns")
    parser.add_argument("--photos", nargs="*", type=Path)
    parser.add_argument("--clips", nargs="*", type=Path)
    parser.add_argument("--parts", default="cross,turn,self", help="of cross,turn,self")
    parser.add_argument("--whole", action="store_true", help="whole frames instead of head crops")
    given = parser.parse_args()
    set_threads(1)
    given.folder.mkdir(parents=True, exist_ok=True)
    photos = given.photos or sorted(cases.data().glob("photo*"))
    clips = given.clips or sorted(cases.data().glob("person*.mp4"))
    needed = {"cross", "self"} & set(given.parts.split(","))
    acts = [cases.acted(clip) for clip in clips] if needed else []
    for photo in photos if {"cross", "turn"} & set(given.parts.split(",")) else ():
        stage = cases.prepared(photo)
        source = stage.avatar.layers.photo  # type: ignore[attr-defined]
        if "turn" in given.parts:
            write_image(given.folder / f"{photo.stem}_turntable.jpg", turntable(stage))
        for act in acts if "cross" in given.parts else ():
            name = f"{photo.stem}_by_{act.clip.stem}.jpg"
            write_image(given.folder / name, pair(source, stage, act, given.frames, not given.whole))
    for act in acts if "self" in given.parts else ():
        result = measures.self_reenacted(act, max(given.frames, 2), given.frames)
        shown = result.pictures
        rows = [[*shown["photo"], *shown["driver"]], [*shown["photo"], *shown["result"]]]
        write_image(given.folder / f"self_{act.clip.stem}.jpg", sheet(rows))


if __name__ == "__main__":
    main()
