"""The method ``gaussians``: what a frame and a training step cost, and what a fit of a real clip reaches.

    python tests/benchmarks/bench_gaussians.py [--parts speed,fit] [--threads 1 2] [--tracks a.track.npz ...]

``speed`` renders the painted head of the tests with 10,000 Gaussians (no clip needed), from a drive to the picture, and
times a training step. ``fit`` fits each track for ``--minutes``, and prints held-out figures (last tenth) beside the
nearest training frame. Every figure stands beside what is demanded of it.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from avatarkit.data.clip import ClipFrames, split
from avatarkit.files.source import resolve_video
from avatarkit.files.track import Track
from avatarkit.files.track_io import load_track
from avatarkit.heads import load
from avatarkit.methods import registry
from avatarkit.methods.driving import performed
from avatarkit.methods.gaussians import config
from avatarkit.methods.gaussians.avatar import GaussiansAvatar
from avatarkit.methods.gaussians.trainer import Trainer
from avatarkit.methods.registry import Subject
from avatarkit.methods.stage import Stage
from avatarkit.metrics.evaluate import motion_features, nearest_rows
from avatarkit.ops import set_threads
from avatarkit.rendering.performance import performance
from tests.methods.gaussians import person

FRAMES_PER_SECOND = {(512, 1): 100.0, (512, 2): 150.0, (256, 2): 300.0}
"""Demanded by size and threads."""
STEP = {2: 6.5}
"""Milliseconds a step at 256 pixels, by threads."""
HELD_OUT = {"person01": (27.0, 26.0), "person02": (25.0, 25.0), "person05": (33.0, 31.0)}
"""Frame and head, dB, demanded with the photometric track."""


def median(work: Callable[[int], Any], times: int) -> float:
    """Milliseconds."""
    work(0)
    spent = []
    for i in range(times):
        began = time.perf_counter()
        work(i)
        spent.append(time.perf_counter() - began)
    return 1000 * float(np.median(spent))


def judged(value: float, demand: float | None, least: bool) -> str:
    """What is demanded and whether it is met."""
    if demand is None:
        return ""
    met = value >= demand if least else value <= demand
    return f"{'>=' if least else '<='} {demand:g} {'ok' if met else 'MISSED'}"


def show(table: Table) -> None:
    """Print wide, whatever the terminal."""
    console = Console()
    (console if console.is_terminal else Console(width=120)).print(table)


def speed(threads: list[int]) -> None:
    """Frames from drives, and training steps."""
    table = Table(
        title=f"10,000 Gaussians, {platform.processor() or platform.machine()}", title_justify="left"
    )
    for title in ("what", "pixels", "threads", "ms", "frames/s", "demanded"):
        table.add_column(title)
    with tempfile.TemporaryDirectory() as folder:
        track = person.make(Path(folder), 24, 256)
        head = load()
        made = config.make(minutes=0, coarse=0.0)
        with ClipFrames(track, Path(folder), 256) as clip:
            plate = np.full((256, 256, 3), 0.5, np.float32)
            trainer = Trainer.create(made, clip, np.arange(24), head, 0, plate)
            for count in threads:
                set_threads(count)
                for _ in range(20):
                    trainer.advance()
                cost = median(lambda _: trainer.advance(), 60)
                table.add_row(
                    "step", "256", str(count), f"{cost:.2f}", "", judged(cost, STEP.get(count), False)
                )
            header = _header(track)
            trainer.learner.finish()
            learned = trainer.learner
            avatar = GaussiansAvatar.quantized(header, trainer.puppet, learned.base, learned.residual, {})
    drives = performed(performance("talk"), header)
    stage = Stage.of(avatar, {})
    for size in (256, 512):
        for count in threads:
            set_threads(count)
            cost = median(lambda i, size=size: stage.frame(drives[i % len(drives)], size, "crop"), 60)
            wanted = FRAMES_PER_SECOND.get((size, count))
            table.add_row(
                "drive to picture", str(size), str(count), f"{cost:.2f}", f"{1000 / cost:.0f}",
                judged(1000 / cost, wanted, True),
            )  # fmt: skip
    show(table)


def _header(track: Track) -> dict[str, Any]:
    from avatarkit.methods.driving import reference

    return {
        "method": "gaussians",
        "expression_names": list(track.expression_names),
        "reference": reference(track, np.arange(len(track))),
        "camera": {"intrinsics": track.intrinsics.tolist(), "width": 256, "height": 256},
        "crop": [int(v) for v in track.crop],
        "resolution": 256,
    }


def fit(tracks: list[Path], minutes: float, threads: int) -> None:
    """Held-out figures of real clips."""
    table = Table(
        title=f"fit for {minutes:g} minutes, {threads} threads, last tenth held out", title_justify="left"
    )
    for title in (
        "clip",
        "steps",
        "ms a step",
        "nearest frame",
        "frame dB",
        "demanded",
        "head dB",
        "demanded",
        "MB",
    ):
        table.add_column(title)
    for path in tracks:
        track = load_track(path)
        source = resolve_video(track, None, beside=path)
        options = config.make(minutes=minutes, steps=10**6, threads=threads)
        avatar = registry.get("gaussians").fit(Subject(track, source), options, lambda at: None)
        found = avatar.header["metrics"]
        name = str(track.meta["video"]["name"]).split(".")[0]
        wanted = HELD_OUT.get(name, (None, None))
        size = sum(t.numel() * t.element_size() for t in avatar.state()[0].values()) / 1e6
        frame, head = found["heldout_psnr_frame"], found["heldout_psnr_head"]
        table.add_row(
            name, str(found["steps"]), f"{found['ms_per_step']:.1f}", f"{nearest(track, source):.2f}",
            f"{frame:.2f}", judged(frame, wanted[0], True), f"{head:.2f}", judged(head, wanted[1], True),
            f"{size:.2f}",
        )  # fmt: skip
    show(table)


def nearest(track: Track, source: Path) -> float:
    """Frame PSNR of the nearest training frame by pose and expression, dB."""
    training, heldout = split(track, 0.1)
    features = motion_features(
        track.rotation,
        track.translation,
        track.expression,
        track.eyes,
        training,
        np.union1d(training, heldout),
    )
    chosen = nearest_rows(features, training, heldout)
    with ClipFrames(track, source, 256, positions=np.union1d(chosen, heldout)) as clip:
        errors = [
            np.square((clip.rgb(int(a)).astype(np.float32) - clip.rgb(int(b))) / 255).mean()
            for a, b in zip(heldout, chosen, strict=True)
        ]
    return float(np.mean(-10 * np.log10(errors)))


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", default="speed,fit")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--tracks", type=Path, nargs="*", default=[], help="segmented tracks to fit")
    options = parser.parse_args()
    if "speed" in options.parts:
        speed(options.threads)
    if "fit" in options.parts and options.tracks:
        fit(options.tracks, options.minutes, max(options.threads))


if __name__ == "__main__":
    main()
