"""Avatars driven by other people's clips: what the landmarker sees in the output, and sheets to look at.

    python tests/benchmarks/bench_cross.py AVATAR.safetensors ... --drivers TRACK.npz ... [--frames 60] [--sheets OUT]

Every avatar is moved by every track as ``render`` moves it (relative transfer), but not by its own clip. Pose and
expression are measured again on the output, by the landmarks that the detector finds there, and compared with the
driver's own landmarks. "held back": share of frames whose turn the avatar's clip does not know, so that the transfer
saturates it; "free" counts the others alone. "asked" is the driver's landmarks against the turn that the avatar was
given on free frames, what no avatar can undercut by more than it errs itself; "drawn" that turn against the output.
"r own gap", "r own eyes" judge the measurement: the driver's own crops, at the avatar's resolution, looked at again.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from avatarkit.files.images import write_image
from avatarkit.files.source import resolve_video
from avatarkit.files.track import Track
from avatarkit.files.track_io import load_track
from avatarkit.files.video import read_frames_at
from avatarkit.methods.driving import drives, neutral_drive, neutral_frame, of_own_clip
from avatarkit.methods.photo.frames import motion_of
from avatarkit.methods.registry import Drive
from avatarkit.methods.stage import Stage
from avatarkit.ops import set_threads
from tests.benchmarks.photo_cases import Looker
from tests.benchmarks.photo_measures import Look, angle, follows
from tests.benchmarks.sheets_photo import sheet

Image = NDArray[np.uint8]
HELD = 1.0
"""Degrees by which a turn must be held back to count as such."""
# Name, the demand if there is one, whether it is the most allowed.
COLUMNS = (
    ("rotation °", 2.5, True), ("free", 2.5, True), ("held back", None, True), ("asked", None, True),
    ("drawn", None, True), ("r gap", 0.9, False), ("r eyes", 0.85, False), ("r own gap", None, False),
    ("r own eyes", None, False), ("lost", 0, True),
)  # fmt: skip


@dataclass(frozen=True)
class Crossed:
    """One avatar moved by one clip."""

    name: str
    rotation: float
    """mean degrees between the turns that the driver and the output made since rest."""
    free: float
    """the same over frames that are not held back."""
    held: float
    asked: float
    drawn: float
    gap: float
    aperture: float
    own_gap: float
    own_aperture: float
    lost: int
    theirs: list[Image]
    """the driver's own crops"""
    pictures: list[Image]


def crossed(stage: Stage, name: str, track: Track, path: Path, count: int, look: Looker) -> Crossed:
    """``count`` frames spread over the driver, the landmarker run on every one of them."""
    moves = drives(track, stage.avatar.header)
    begin = neutral_drive(stage.avatar.header).rotation
    start = neutral_frame(track)
    rows = np.flatnonzero([move is not None for move in moves])
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, count).round().astype(int))]
    rest = looked(stage, neutral_drive(stage.avatar.header), look)
    if rest is None:
        raise SystemExit(f"{name}: the landmarker finds no face in the avatar at rest")
    theirs = pictured(track, path, rows)
    turns, held, asked, drawn, pairs, own, pictures, lost = [], [], [], [], [], [], [], 0
    for row, crop in zip(rows, theirs, strict=True):
        move = moves[int(row)]
        assert move is not None
        picture = stage.frame(move, view="crop")
        pictures.append(picture)
        seen = look(enlarged(picture))
        if seen is None:
            lost += 1
            continue
        now, before = (track.landmarks[i].astype(np.float64) for i in (row, start))
        driver, output = motion_of(before, now).rotation, motion_of(rest, seen).rotation
        given, wished = move.rotation @ begin.T, track.rotation[row] @ track.rotation[start].T
        turns.append(angle(output, driver))
        held.append(angle(given, wished) > HELD)
        asked.append(angle(wished, driver))
        drawn.append(angle(given, output))
        pairs.append((Look.of(now), Look.of(seen)))
        again = look(enlarged(shrunk(crop, len(picture))))
        if again is not None:
            own.append((Look.of(now), Look.of(again)))
    free = ~np.array(held)
    return Crossed(
        name, float(np.mean(turns)), float(np.mean(np.array(turns)[free])), float(np.mean(held)),
        float(np.mean(np.array(asked)[free])), float(np.mean(np.array(drawn)[free])),
        *(follows([(getattr(a, part), getattr(b, part)) for a, b in both])
          for both in (pairs, own) for part in ("gap", "aperture")),
        lost, theirs, pictures,
    )  # fmt: skip


def shrunk(picture: Image, side: int) -> Image:
    """[side, side, 3]"""
    return np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def looked(stage: Stage, drive: Drive, look: Looker) -> NDArray[np.float64] | None:
    """Landmarks of the avatar's crop."""
    return look(enlarged(stage.frame(drive, view="crop")))


def enlarged(picture: Image) -> Image:
    """Twice as large: the landmarker wants faces of 200 pixels."""
    return np.asarray(cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC), np.uint8)


def pictured(track: Track, path: Path, rows: NDArray[np.int64]) -> list[Image]:
    """The driver's own crops at ``rows``."""
    source = resolve_video(track, beside=path)
    x, y, side = (int(v) for v in track.crop[:3])
    numbers = [int(track.frame[row]) for row in rows]
    frames = dict(read_frames_at(source, sorted(set(numbers))))
    return [np.ascontiguousarray(frames[n][y : y + side, x : x + side]) for n in numbers]


def judged(value: float, demand: float | None, most: bool) -> str:
    """A cell of the table."""
    if demand is None:
        return f"{value:.2f}"
    return f"{value:.2f} {'ok' if (value <= demand if most else value >= demand) else 'MISSED'}"


def main() -> None:
    """Print the table and write the sheets asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("avatars", nargs="+", type=Path)
    parser.add_argument("--drivers", nargs="+", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--sheets", type=Path, help="folder for one sheet a pair: driver above avatar")
    given = parser.parse_args()
    set_threads(given.threads)
    look = Looker()
    table = Table(title="driven by others, the landmarker run on the output")
    heads = (n if d is None else f"{n} {'<=' if most else '>='} {d:g}" for n, d, most in COLUMNS)
    for column in ("pair", *heads):
        table.add_column(column, justify="right")
    for avatar in given.avatars:
        stage = Stage.load(avatar)
        for driver in given.drivers:
            track = load_track(driver)
            if of_own_clip(track, stage.avatar.header):
                continue
            found = crossed(
                stage, f"{avatar.stem} by {driver.name.split('.')[0]}", track, driver, given.frames, look
            )
            values = (
                found.rotation, found.free, found.held, found.asked, found.drawn, found.gap, found.aperture,
                found.own_gap, found.own_aperture, found.lost,
            )  # fmt: skip
            table.add_row(
                found.name, *(judged(v, d, most) for v, (_, d, most) in zip(values, COLUMNS, strict=True))
            )
            if given.sheets is not None:
                given.sheets.mkdir(parents=True, exist_ok=True)
                shown = np.linspace(0, len(found.pictures) - 1, 10).round().astype(int)
                path = given.sheets / f"{found.name.replace(' ', '_')}.png"
                write_image(
                    path, sheet([[part[i] for i in shown] for part in (found.theirs, found.pictures)])
                )
    Console(width=170).print(table)


if __name__ == "__main__":
    main()
