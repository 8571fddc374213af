"""What each part of the robust recipe brings on frames never seen: one fit a row, one part left out in each.

    python tests/benchmarks/bench_ablation.py [person01 ...] [--steps 500] [--rays 2048] [--tracks FOLDER]

PSNR in dB on the held-out frames: the head above the jaw with the matte eroded, the hull of the face, the design's
own head, the frame with its torso and plate. "transferable" is what any driver has: coefficients and pose, without
the clip's own residual. The last row is the whole recipe with another seed: differences below its own are noise.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from avatarkit.files.track_io import load_track, save_track
from avatarkit.methods import registry
from avatarkit.methods.nerfblendshape import config
from avatarkit.methods.registry import Subject
from avatarkit.segmentation import segment
from avatarkit.tracking import TrackOptions
from avatarkit.tracking import track as follow
from tests.benchmarks.bench_fit import REGIONS, nearest, subject

CLIPS = ("person01", "person02", "person05", "person06")
# (row, options of the fit that differ, what the track is robbed of)
ROWS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("robust, transferable", {}, ""),
    ("+ the clip's own residual", {"residual": True}, ""),
    ("- photometric alignment", {}, "photometric"),
    ("- torso's own motion", {}, "torso"),
    ("- warp to the resting face", {"warp": False}, ""),
    ("- 8 levels (16)", {"levels": 16, "basis_levels": 9}, ""),
    ("- coarse bases (all levels)", {"basis_levels": 8}, ""),
    ("- finest 512 (1,024)", {"finest": 1024}, ""),
    ("- L2 on the bases", {"basis_l2": 0.0}, ""),
    ("- hull of the tracked face", {"mesh_hull": False}, ""),
    ("- more rays on mouth and eyes", {"focus": 0.0}, ""),
    ("- head rotation as driver", {"pose_bases": False}, ""),
    ("robust, seed 1", {"seed": 1}, ""),
)


def without(person: Subject, part: str, name: str, folder: Path | None) -> Subject:
    """The same clip as a tracker without ``part`` would have left it."""
    if part == "torso":
        return replace(person, track=replace(person.track, torso=None, torso_confidence=None))
    if part != "photometric":
        return person
    path = None if folder is None else folder / f"{name}.landmarks.track.npz"
    if path is not None and path.exists():
        return replace(person, track=load_track(path))
    options = TrackOptions(photometric=False, max_frames=int(person.track.frame[-1]) + 1)
    plain = segment(follow(person.source, options, lambda at: None), person.source)
    if path is not None:
        save_track(plain, path)
    return replace(person, track=plain)


def main() -> None:
    """Parses the command line and prints one table a clip."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", nargs="*", default=CLIPS)
    parser.add_argument("--tracks", type=Path, help="folder of <clip>.track.npz")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--rays", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args()
    for name in given.clips:
        person = subject(name, given.tracks)
        print(f"{name}, {given.steps} steps of {given.rays} rays")
        print(f"{'':30}" + "".join(f"{region:>10}" for region in REGIONS) + f"{'training':>10}")
        base = nearest(person.track, person.source, 0.1, 256)
        print(
            f"{'nearest training frame':30}" + "".join(f"{getattr(base, r):10.2f}" for r in REGIONS),
            flush=True,
        )
        for row, options, part in ROWS:
            one = without(person, part, name, given.tracks)
            settings = config.make(steps=given.steps, rays=given.rays, threads=given.threads, **options)
            found = registry.get("nerfblendshape").fit(one, settings, lambda at: None).header["metrics"]
            values = [*(found[f"heldout_psnr_{region}"] for region in REGIONS), found["train_psnr_head"]]
            print(f"{row:30}" + "".join(f"{value:10.2f}" for value in values), flush=True)


if __name__ == "__main__":
    main()
