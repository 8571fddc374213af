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
from avatarkit.tracking.observed import observations
from avatarkit.tracking.solver import Settings, fit_person, solve_motion
from tests.conftest import shared_folder
from tests.tracking import measures
from tests.tracking.synthetic import ACTIVE, make
from tests.tracking.test_solver import shape_error

Demand = tuple[str, tuple[float, ...]]
DEMANDS: dict[str, Demand] = {
    "refined": ("<=", (0.5, 1.5)), "plain": ("<=", (1.3, 4.0)), "60/40": ("<=", (0.9, 2.8)),
    "ms landmarks only": ("<=", (25,)), "ms everything": ("<=", (60,)), "jitter": ("<=", (0.025,)),
    "blink": (">=", (0.9,)), "jaw": (">=", (0.75,)), "smile": (">=", (0.7,)), "peaks": (">=", (0.95,)),
}  # fmt: skip
TRUTH: dict[str, Demand] = {
    "neutral / template": ("<=", (1.0,)), "rotation deg": ("<=", (0.5,)), "lowest r": (">=", (0.9,)),
}  # fmt: skip
SEEDS = 5
SHORT, LONG = 500, 4800
"""Frames of person06 between which memory may grow by the track alone."""


def judged(demand: Demand, *found: float) -> str:
    """The figures, and whether they meet the ``demand`` (nan: nothing to judge)."""
    sign, bounds = demand
    text = " / ".join(f"{value:.3g}" for value in found)
    if any(np.isnan(value) for value in found):
        return f"{text}\n-"
    kept = all(v <= b if sign == "<=" else v >= b for v, b in zip(found, bounds, strict=True))
    return f"{text}\n{'ok' if kept else '[bold]MISSED[/]'}"


def titled(demands: dict[str, Demand]) -> list[str]:
    """Column headings: what is measured and what is demanded."""
    return [
        f"{name}\n{sign} {' / '.join(f'{b:g}' for b in bounds)}" for name, (sign, bounds) in demands.items()
    ]


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
    person, _ = fit_person(template, seen.part(slice(0, split)), Settings(), silent)
    motion = solve_motion(person, seen.part(slice(split, None)), Settings(), silent)
    scale = pixels_per_unit(motion.translation, float(track.intrinsics[0, 0]), person.unit)
    error = motion.error * scale[:, None] * 480 / track.meta["video"]["width"]
    return float(np.median(error)), float(np.percentile(error, 95))


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
    for column in ("clip", "frames", *titled(DEMANDS), "each eye's\nblink", "chin and lips\n(r of the two)"):
        table.add_column(column, justify="right")
    folder = shared_folder()
    if folder is None:
        raise SystemExit("no shared clips: set AVATARKIT_SHARED")
    for name in names:
        clip = folder / "data" / f"{name}.mp4"
        track, summary = command(clip)
        _, plain = command(clip, "--no-refine", "--no-photometric", "--no-torso")
        _, bare = command(clip, "--no-photometric", "--no-torso")
        points = track.landmarks
        apertures = {s: measures.aperture(points, s) for s in ("Left", "Right")}
        each = [measures.correlation(track, f"eyeBlink{s}", -a) for s, a in apertures.items()]
        both = measures.correlation(track, "eyeBlink", -sum(apertures.values()))
        table.add_row(
            name, str(summary["frames"]),
            *(judged(DEMANDS[column], *found) for column, found in (
                ("refined", (summary["residual_median_px480"], summary["residual_p95_px480"])),
                ("plain", (plain["residual_median_px480"], plain["residual_p95_px480"])),
                ("60/40", generalization(track)),
                ("ms landmarks only", (bare["ms_per_frame"],)),
                ("ms everything", (summary["ms_per_frame"],)),
                ("jitter", (measures.jitter(track),)),
                ("blink", (both,)),
                ("jaw", (measures.correlation(track, "jawOpen", measures.lip_gap(points)),)),
                ("smile", (measures.correlation(track, "mouthSmile", measures.mouth_width(points)),)),
                ("peaks", (peaks_kept(track),)),
            )),
            " / ".join(f"{r:.2f}" for r in each),
            f"{measures.chin_and_lips(track):.2f}",
        )  # fmt: skip
    return table


def synthetic() -> Table:
    """One row per made-up person."""
    table = Table(title="synthetic truth: +-8 degrees of yaw, 0.5 px noise")
    for column in ("seed", "neutral mm", "template mm", *titled(TRUTH)):
        table.add_column(column, justify="right")
    for seed in range(SEEDS):
        truth = make(seed=seed)
        person, known = fit_person(truth.template, truth.seen, Settings(), silent)
        motion = solve_motion(person, truth.seen, Settings(), silent, known)
        found, real = Rotation.from_matrix(motion.rotation), Rotation.from_matrix(truth.rotation)
        error = np.degrees((found * (found.inv() * real).mean() * real.inv()).magnitude())
        columns = [truth.template.names.index(n) for n in ACTIVE]
        r = [np.corrcoef(motion.expression[:, c], truth.expression[:, c])[0, 1] for c in columns]
        table.add_row(
            str(seed), f"{(mine := shape_error(person.neutral, truth)):.2f}",
            f"{(before := shape_error(truth.template.neutral, truth)):.2f}",
            judged(TRUTH["neutral / template"], mine / before), judged(TRUTH["rotation deg"], float(error.mean())),
            judged(TRUTH["lowest r"], float(min(r))),
        )  # fmt: skip
    return table


def memory() -> Table:
    """Peak memory of the whole command against the clip's length, in a process of its own each."""
    table = Table(title="peak memory of avatarkit track on person06")
    for column in ("frames", "peak MiB", "track in memory MiB"):
        table.add_column(column, justify="right")
    folder = shared_folder()
    assert folder is not None
    for frames in (SHORT, LONG):
        with tempfile.TemporaryDirectory() as out:
            target = Path(out) / "out.npz"
            clip = folder / "data" / "person06.mp4"
            process = subprocess.Popen(
                [sys.executable, "-m", "avatarkit", "track", str(clip), "-o", str(target), "--quiet",
                 "--max-frames", str(frames)], stdout=subprocess.DEVNULL,
            )  # fmt: skip
            _, status, usage = os.wait4(process.pid, 0)
            if status:
                raise SystemExit(f"avatarkit track failed on {frames} frames")
            track = load_track(target)
            size = sum(v.nbytes for v in vars(track).values() if isinstance(v, np.ndarray))
        table.add_row(str(frames), f"{usage.ru_maxrss / 1024:.0f}", f"{size / 2**20:.0f}")
    return table


if __name__ == "__main__":
    console = Console(width=180)
    console.print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    console.print(clips(sys.argv[1:] or [f"person0{i}" for i in range(1, 7)]))
    console.print(synthetic())
    console.print(memory())
