"""What tracking reaches on real clips and on synthetic truth: ``python tests/benchmarks/bench_track.py [clip ...]``.

Landmarks are detected once per clip; the whole command is timed in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from avatarkit.files.track import Track, load_track
from avatarkit.tracking.basis import Basis
from avatarkit.tracking.camera import pixels_per_unit
from avatarkit.tracking.solver import Observations, Settings, fit_person, solve_motion
from avatarkit.tracking.tracker import observations
from tests.conftest import shared_folder
from tests.tracking import measures
from tests.tracking.synthetic import ACTIVE, make
from tests.tracking.test_solver import shape_error

TARGETS = {
    "refined": "<= .5 / 1.5", "plain": "<= 1.3 / 4", "60/40": "<= .9 / 2.8", "ms": "<= 25", "jitter": "<= .025",
    "blink": ">= .9", "jaw": ">= .75", "smile": ">= .7", "peaks": ">= .95",
}  # fmt: skip


def silent(share: float) -> None:
    """Report nothing."""


def command(clip: Path, *options: str) -> tuple[Track, dict[str, float]]:
    """The track and summary of ``avatarkit track`` on ``clip``."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.npz"
        done = subprocess.run(
            [sys.executable, "-m", "avatarkit", "track", str(clip), "-o", str(out), "--json", "--quiet", *options],
            capture_output=True, check=True, env=os.environ,
        )  # fmt: skip
        return load_track(out), json.loads(done.stdout.decode().splitlines()[-1])


def generalization(track: Track) -> tuple[float, float]:
    """Median and 95th percentile error (px at 480) on the last 40 % of a person learned on the first 60 %."""
    from avatarkit import heads

    seen = observations(track.landmarks[track.valid], track.intrinsics, np.ones(int(track.valid.sum()), bool))
    split = int(0.6 * len(seen))
    template = Basis.of(heads.load("builtin"))
    person = fit_person(template, part(seen, slice(0, split)), Settings(), silent)
    motion = solve_motion(person, part(seen, slice(split, None)), Settings(), silent)
    scale = pixels_per_unit(motion.translation, float(track.intrinsics[0, 0]), person.unit)
    error = motion.error * scale[:, None] * 480 / track.meta["video"]["width"]
    return float(np.median(error)), float(np.percentile(error, 95))


def part(seen: Observations, rows: slice) -> Observations:
    """The frames ``rows`` of ``seen``."""
    return Observations(
        seen.plane[rows], seen.depth[rows], seen.iris[rows], seen.open_eyes[rows], seen.linked[rows]
    )


def peaks_kept(track: Track) -> float:
    """How much of each blink's height without temporal smoothing is left with it."""
    from avatarkit import heads

    head = heads.load("builtin")
    rows = head.landmarks[:468]
    person = replace(
        Basis.of(head), neutral=track.neutral[rows],
        shapes=(head.shapes if track.shapes is None else track.shapes)[:, rows].astype(np.float32),
    )  # fmt: skip
    seen = observations(track.landmarks[track.valid], track.intrinsics, np.ones(int(track.valid.sum()), bool))
    column = track.expression_names.index("eyeBlinkLeft")
    raw, calm = (
        solve_motion(person, seen, Settings.of(smooth, True), silent).expression[:, column]
        for smooth in (0.0, 1.0)
    )
    around = np.array([raw[max(t - 3, 0) : t + 4].max() for t in range(len(raw))])
    peak = np.flatnonzero((raw == around) & (raw > 0.4))
    kept = [min(calm[max(t - 1, 0) : t + 2].max() / raw[t], 1.0) for t in peak]
    return float(np.mean(kept)) if kept else float("nan")


def clips(names: list[str]) -> Table:
    """One row per clip."""
    table = Table(title="avatarkit track, residuals in px at 480 wide: median / 95th percentile")
    for column in ("clip", "frames", *(f"{k}\n{v}" for k, v in TARGETS.items())):
        table.add_column(column, justify="right")
    folder = shared_folder()
    if folder is None:
        raise SystemExit("no shared clips: set AVATARKIT_SHARED")
    for name in names:
        clip = folder / "data" / f"{name}.mp4"
        track, summary = command(clip)
        _, plain = command(clip, "--no-refine")
        points = track.landmarks
        blink = [
            measures.correlation(track, f"eyeBlink{s}", -measures.aperture(points, s))
            for s in ("Left", "Right")
        ]
        table.add_row(
            name, str(summary["frames"]),
            f"{summary['residual_median_px480']:.2f} / {summary['residual_p95_px480']:.2f}",
            f"{plain['residual_median_px480']:.2f} / {plain['residual_p95_px480']:.2f}",
            "{:.2f} / {:.2f}".format(*generalization(track)),
            f"{summary['ms_per_frame']:.1f}",
            f"{measures.jitter(track):.3f}",
            f"{np.mean(blink):.2f}",
            f"{measures.correlation(track, 'jawOpen', measures.lip_gap(points)):.2f}",
            f"{measures.correlation(track, 'mouthSmile', measures.mouth_width(points)):.2f}",
            f"{peaks_kept(track):.3f}",
        )  # fmt: skip
    return table


def synthetic() -> Table:
    """One row per made-up person."""
    table = Table(title="synthetic truth: +-8 degrees of yaw, 0.5 px noise")
    for column in ("seed", "neutral mm", "template mm", "rotation deg", "lowest r"):
        table.add_column(column, justify="right")
    for seed in range(3):
        truth = make(seed=seed)
        person = fit_person(truth.template, truth.seen, Settings(), silent)
        motion = solve_motion(person, truth.seen, Settings(), silent)
        found, real = Rotation.from_matrix(motion.rotation), Rotation.from_matrix(truth.rotation)
        error = np.degrees((found * (found.inv() * real).mean() * real.inv()).magnitude())
        columns = [truth.template.names.index(n) for n in ACTIVE]
        r = [np.corrcoef(motion.expression[:, c], truth.expression[:, c])[0, 1] for c in columns]
        table.add_row(
            str(seed), f"{shape_error(person.neutral, truth):.2f}", f"{shape_error(truth.template.neutral, truth):.2f}",
            f"{error.mean():.2f}", f"{min(r):.2f}",
        )  # fmt: skip
    return table


if __name__ == "__main__":
    console = Console(width=140)
    console.print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    console.print(clips(sys.argv[1:] or [f"person0{i}" for i in range(1, 6)]))
    console.print(synthetic())
