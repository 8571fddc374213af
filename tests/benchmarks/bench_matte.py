"""Mattes of real clips against the raw network's: how they flicker where nothing moves, how wide their soft edge is.

    python tests/benchmarks/bench_matte.py [person01 ...] [--tracks FOLDER] [--frames 400] [--sheets OUT]

Flicker: mean absolute difference of the person matte (in per cent) from one frame to the next, over the band around
the outline, of those 15 % of neighboring frames between which the landmarks move least. The band is the same for both
mattes: within ``BAND`` of 256 pixels of either's half-way line. "still": what is left when the earlier matte is first
carried along the optical flow of the pictures, since the stillest frames move a little and no matte may stay behind.
"soft": share of the band's pixels between .05 and .95.
Sheets show frame, raw matte, ours, and the clean plate with the frame it belongs to.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from avatarkit.data.labels import decode, encode
from avatarkit.data.plate import background_plate, pull_push
from avatarkit.files.images import write_image
from avatarkit.files.mediapipe import silenced, solution
from avatarkit.files.track import Track
from avatarkit.files.video import read_frames_at
from avatarkit.segmentation.window import GRID, Window
from tests.benchmarks.bench_fit import subject
from tests.benchmarks.sheets_photo import sheet

Image = NDArray[np.uint8]
CLIPS = ("person01", "person02", "person05", "person06")
BAND, STILL, SHOWN = 8, 0.15, 6


def raw_persons(track: Track, source: Path, rows: NDArray[np.int64]) -> Iterator[tuple[int, Image, Image]]:
    """(position, crop [S, S, 3], matte [S, S]) of the network as it is, on what ``segment`` shows it of a frame."""
    video = track.meta["video"]
    side = int(track.meta["segment"]["size"])
    window = Window.of(track.crop, int(video["width"]), int(video["height"]), side)
    at = {int(track.frame[t]): int(t) for t in rows}
    with silenced():
        network = solution("selfie_segmentation").SelfieSegmentation(model_selection=0)
    for index, frame in read_frames_at(source, at):
        mask = np.asarray(network.process(window.grid_of(frame, GRID)).segmentation_mask, np.float32)
        matte = window.grid_to_canvas(np.ascontiguousarray(mask * 255 + 0.5).astype(np.uint8))
        yield at[index], window.canvas_of(frame), matte
    network.close()


def raw_track(track: Track, source: Path) -> Track:
    """The track with the raw network's mattes; which part of the person is the head stays as ``segment`` found it."""
    assert track.mattes is not None
    mattes = list(track.mattes)
    for t, _, person in raw_persons(track, source, np.arange(len(track))):
        known = {
            name: decode(mattes[t][name]).astype(np.float32)
            for name in ("person", "head")
            if name in mattes[t]
        }
        made = {**mattes[t], "person": encode(person)}
        if "head" in known:
            sure = (known["person"] > 128).astype(np.float32)
            share = known["head"] / np.maximum(known["person"], 1)
            share = pull_push(share[..., None], sure)[..., 0]
            made["head"] = encode(np.asarray(np.clip(person * share + 0.5, 0, 255), np.uint8))
        mattes[t] = made
    return replace(track, mattes=mattes)


@dataclass(frozen=True)
class Flicker:
    """Of one clip: [2] the raw network's and ours."""

    pairs: int
    change: NDArray[np.float64]
    """per cent."""
    still: NDArray[np.float64]
    """per cent, beyond what the picture moves."""
    soft: NDArray[np.float64]
    """share of the band."""


def flicker(track: Track, source: Path, most: int) -> tuple[Flicker, list[list[Image]]]:
    """Of the stillest pairs of frames among the first ``most``, and the columns of a sheet."""
    assert track.mattes is not None
    rows = np.flatnonzero(track.valid)[:most]
    rows = rows[:-1][np.diff(track.frame[rows]) == 1]
    steps = track.landmarks[rows + 1, :468, :2] - track.landmarks[rows, :468, :2]
    moved = np.linalg.norm(steps, axis=2).mean(1)
    still = np.sort(rows[np.argsort(moved)[: max(1, round(STILL * len(rows)))]])
    changes, carried, soft, columns = [], [], [], []
    shown = set(still[np.linspace(0, len(still) - 1, SHOWN).round().astype(int)].tolist())
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    here = np.ascontiguousarray(np.mgrid[:GRID, :GRID].astype(np.float32)[::-1].transpose(1, 2, 0))
    last: tuple[int, list[NDArray[np.float32]], Image] | None = None
    for t, picture, raw in raw_persons(track, source, np.union1d(still, still + 1)):
        pair = [_scaled(image) for image in (raw, decode(track.mattes[t]["person"]))]
        small = np.asarray(cv2.resize(picture, (GRID, GRID), interpolation=cv2.INTER_AREA), np.uint8)
        gray = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
        if last is not None and last[0] == t - 1 and t - 1 in still:
            band = np.maximum(*(_band(one) for one in (*pair, *last[1])[:2])) > 0
            changes.append([np.abs(a - b)[band].mean() for a, b in zip(pair, last[1], strict=True)])
            place = here + flow.calc(gray, last[2], None)  # type: ignore[call-overload]
            there = [
                cv2.remap(b, place, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for b in last[1]
            ]
            carried.append([np.abs(a - b)[band].mean() for a, b in zip(pair, there, strict=True)])
            soft.append([((a > 0.05) & (a < 0.95))[band].mean() for a in pair])
        if t in shown:
            columns.append(
                [small]
                           + [_gray(image) for image in pair])  # fmt: skip
        last = (t, pair, gray)
    found = Flicker(len(changes), 100 * np.mean(changes, 0), 100 * np.mean(carried, 0), np.mean(soft, 0))
    return found, columns


def _scaled(matte: Image) -> NDArray[np.float32]:
    return cv2.resize(matte, (GRID, GRID), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def _gray(matte: NDArray[np.float32]) -> Image:
    return np.repeat((matte * 255 + 0.5).astype(np.uint8)[..., None], 3, 2)


def _band(matte: NDArray[np.float32]) -> Image:
    """[GRID, GRID] 1 within ``BAND`` pixels of the half-way line."""
    inside = (matte > 0.5).astype(np.uint8)
    reach = np.ones((2 * BAND + 1, 2 * BAND + 1), np.uint8)
    return np.asarray(cv2.dilate(inside, reach) - cv2.erode(inside, reach), np.uint8)


def main() -> None:
    """Parses the command line, prints the table and writes the sheets asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", nargs="*", default=CLIPS)
    parser.add_argument("--tracks", type=Path, help="folder of <clip>.track.npz")
    parser.add_argument("--frames", type=int, default=400, help="of the clip, from its start")
    parser.add_argument("--sheets", type=Path, help="folder for mattes and plate of every clip")
    given = parser.parse_args()
    heads = ("pairs", "flicker raw", "ours", "ratio", "still raw", "ours", "soft raw", "ours")
    print(f"{'clip':10}" + "".join(f"{head:>13}" for head in heads))
    for name in given.clips:
        person = subject(name, given.tracks)
        found, columns = flicker(person.track, person.source, given.frames)
        raw, ours = found.change
        values = (raw, ours, ours / raw, *found.still, *found.soft)
        print(f"{name:10}{found.pairs:13}" + "".join(f"{value:13.2f}" for value in values), flush=True)
        if given.sheets is not None:
            given.sheets.mkdir(parents=True, exist_ok=True)
            write_image(
                given.sheets / f"{name}_mattes.png", sheet([list(row) for row in zip(*columns, strict=True)])
            )
            plate = background_plate(person.track, person.source)
            first = next(frame for _, frame in read_frames_at(person.source, [int(person.track.frame[0])]))
            write_image(given.sheets / f"{name}_plate.png", np.concatenate([first, plate], 1))


if __name__ == "__main__":
    main()
