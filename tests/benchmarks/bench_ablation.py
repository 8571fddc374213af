"""What each part of the robust recipe brings on frames never seen: one part left out in each row.

    python tests/benchmarks/bench_ablation.py [person01 ...] [--steps 400] [--rays 2048] [--tracks FOLDER]

PSNR in dB over held-out frames of each clip, all rows judged by the same mattes and landmarks; regions as in
``bench_heldout.py``. The numbers in brackets are those of the six parts: 1 photometric alignment, 2 the torso's own
motion, 3 mattes, 4 what expression is (gaze, the clip's own residual), 5 the field, 6 mouth and lids. Every fit makes
the same number of steps and keeps its last one. The row with another seed says which differences are noise.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from avatarkit.data.clip import ClipFrames, split
from avatarkit.files.track import Track
from avatarkit.files.track_io import load_track, save_track
from avatarkit.losses.perceptual import patch_loss
from avatarkit.methods.driving import NECK_PIVOT, neutral_frame
from avatarkit.methods.nerfblendshape import config
from avatarkit.methods.nerfblendshape.trainer import Trainer
from avatarkit.methods.quality import Draw, Gauge
from avatarkit.methods.registry import Subject
from avatarkit.methods.scenery import scenery
from avatarkit.methods.session import some
from avatarkit.ops import set_threads
from avatarkit.tracking import TrackOptions
from avatarkit.tracking import track as follow
from tests.benchmarks.bench_fit import subject
from tests.benchmarks.bench_heldout import REGIONS, Scores, nearest, scored
from tests.benchmarks.bench_matte import raw_track

CLIPS = ("person01", "person02", "person05", "person06")
ROBUST = "robust"


@dataclass(frozen=True)
class Row:
    """A row of the table: options of the fit that differ, or what the track is robbed of."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    robbed: str = ""


FITS = (
    Row(ROBUST),
    Row("robust, seed 1", {"seed": 1}),
    Row("- photometric alignment (1)", robbed="photometric"),
    Row("- mattes: the raw network's (3)", robbed="mattes"),
    Row("- warp to the resting face (5)", {"warp": False}),
    Row("- coarse bases: all 16 levels (5)", {"levels": 16, "basis_levels": 16, "finest": 1024}),
    Row("- rays on mouth and eyes (5, 6)", {"focus": 0.0}),
    Row("- gaze (4)", robbed="gaze"),
    Row("+ the clip's own residual (4)", {"residual": True}),
    Row("- L2 on the bases (5)", {"basis_l2": 0.0}),
    Row("- hull of the tracked face (5)", {"mesh_hull": False}),
)


def robbed(person: Subject, part: str, cache: Path | None, name: str) -> Track:
    """The same clip as a tool without ``part`` would have left it."""
    track = person.track
    if part == "gaze":
        looks = np.array([name.startswith("eyeLook") for name in track.expression_names])
        return replace(track, expression=np.where(looks, np.float32(0), track.expression))
    if part == "mattes":
        return raw_track(track, person.source)
    if part != "photometric":
        return track
    path = None if cache is None else cache / f"{name}.landmarks.npz"
    if path is not None and path.exists():
        plain = load_track(path)
    else:
        options = TrackOptions(photometric=False, max_frames=int(track.frame[-1]) + 1)
        plain = follow(person.source, options)
        if path is not None:
            save_track(plain, path)
    # Crop, mattes and torso stay: only where the head is taken to be, and with what expression, is exchanged.
    names = ("rotation", "translation", "expression", "neck", "jaw", "eyes", "neutral", "shapes")
    taken = {name: getattr(plain, name) for name in names}
    return replace(track, valid=track.valid & plain.valid, extra=None, extra_names=(), **taken)


@dataclass
class Bench:
    """One clip, what its rows are judged by, and what they are made with."""

    name: str
    person: Subject
    truth: ClipFrames
    settings: dict[str, Any]
    cache: Path | None
    training: NDArray[np.int64]
    positions: NDArray[np.int64]

    def row(self, row: Row) -> None:
        """Prints the row of a fit, and below the first one those that need no fit of their own."""
        started = time.perf_counter()
        track = robbed(self.person, row.robbed, self.cache, self.name)
        settings = config.make(**self.settings, **row.options)
        training = self.training[track.valid[self.training]]
        seen = replace(track, valid=np.isin(np.arange(len(track)), training))
        rest = neutral_frame(seen)
        scene = scenery(seen, self.person.source, rest, settings.background, lambda at: None)[0]
        with ClipFrames(track, self.person.source, settings.resolution, positions=training) as clip:
            trainer = Trainer.create(settings, clip, training, patch_loss(settings.perceptual)[0])
            while not trainer.finished:
                trainer.advance()
            draw = trainer.drawing(trainer.grid.final(trainer.field, trainer.tables, trainer.probes))
            gauge = Gauge(clip, scene, np.asarray(NECK_PIVOT, np.float32), rest)
            self.told(row.name, self.judged(gauge, draw), time.perf_counter() - started)
            if row.name == ROBUST:
                self.told("- widened grid at the end (5)", self.judged(gauge, trainer.drawing()))
                clip.track = replace(track, torso=None, torso_confidence=None)
                self.told("- torso's own motion (2)", self.judged(gauge, draw))

    def judged(self, gauge: Gauge, draw: Draw) -> Scores:
        """Held-out frames against the truth."""
        return scored(((int(p), gauge.picture(draw, int(p))) for p in self.positions), self.truth)

    @staticmethod
    def told(name: str, found: Scores, seconds: float | None = None) -> None:
        """Prints a row."""
        values = "".join(f"{psnr:10.2f}" for psnr, _ in found.values())
        print(f"{name:36}{values}" + ("" if seconds is None else f"{seconds:8.0f} s"), flush=True)


def main() -> None:
    """Parses the command line and prints one table a clip."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", nargs="*", default=CLIPS)
    parser.add_argument("--tracks", type=Path, help="folder of <clip>.track.npz")
    parser.add_argument("--cache", type=Path, help="folder where tracks made on the way are kept")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rays", type=int, default=2048)
    parser.add_argument("--frames", type=int, default=24, help="held-out frames judged")
    parser.add_argument("--rows", type=int, default=len(FITS), help="only so many of the fits")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    set_threads(given.threads)
    settings = {"steps": given.steps, "rays": given.rays, "threads": given.threads}
    for name in given.clips:
        person = subject(name, given.tracks)
        training, heldout = split(person.track)
        positions = some(heldout, given.frames)
        print(f"{name}, {given.steps} steps of {given.rays} rays, {len(positions)} held-out frames")
        print(f"{'':36}" + "".join(f"{region:>10}" for region in REGIONS))
        resolution = config.make().resolution
        with ClipFrames(person.track, person.source, resolution) as truth:
            bench = Bench(name, person, truth, settings, given.cache, training, positions)
            bench.told("nearest training frame", nearest(truth, training, positions))
            for row in FITS[: given.rows]:
                bench.row(row)


if __name__ == "__main__":
    main()
