"""Speed, memory and quality of ``fit --method nerfblendshape`` on the shared clips: one table, medians, the machine.

    python tests/benchmarks/bench_fit.py [--speed] [--memory] [--quality person01 person02 ...] [--minutes 10]

Speed: milliseconds an iteration at 4096 rays, 256^2, every coefficient of the clip, after surfaces have formed,
and where they go. Quality: PSNR on the head, training and held-out, and held-out over the head above the jaw with the
matte eroded, the hull of the face and the whole crop, each against the nearest training frame. Tracks are made where
they are not given: ``--tracks FOLDER`` holds ``<clip>.track.npz`` with mattes.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from avatarkit.data.clip import ClipFrames, split
from avatarkit.files.track import Track
from avatarkit.files.track_io import load_track
from avatarkit.losses.perceptual import patch_loss
from avatarkit.methods import registry
from avatarkit.methods.nerfblendshape import config
from avatarkit.methods.nerfblendshape.trainer import Trainer
from avatarkit.methods.quality import Quality, quality_of
from avatarkit.methods.registry import Subject
from avatarkit.metrics.evaluate import motion_features, nearest_rows
from avatarkit.ops import set_threads
from tests.conftest import shared_folder

REGIONS = ("head", "above_jaw", "face", "frame")


def subject(name: str, tracks: Path | None) -> Subject:
    """A segmented clip, from ``tracks`` or made now."""
    folder = shared_folder()
    if folder is None:
        raise SystemExit("no shared clips: set AVATARKIT_SHARED to their folder")
    source = folder / "data" / f"{name}.mp4"
    path = None if tracks is None else tracks / f"{name}.track.npz"
    if path is not None and path.exists():
        track = load_track(path)
    else:
        from avatarkit.tracking import TrackOptions
        from avatarkit.tracking import track as follow

        track = follow(source, TrackOptions())
    if track.mattes is None:
        from avatarkit.segmentation import segment

        track = segment(track, source)
    return Subject(track, source)


def nearest(track: Track, source: Path, holdout: float, resolution: int) -> Quality:
    """Of the training frame nearest by pose and expression, over the held-out frames."""
    training, heldout = split(track, holdout)
    everything = np.union1d(training, heldout)
    motion = (track.rotation, track.translation, track.expression, track.eyes)
    rows = nearest_rows(motion_features(*motion, training, everything), training, heldout)
    with ClipFrames(track, source, resolution) as clip:
        pairs = ((int(p), clip.rgb(int(row)) / np.float32(255)) for p, row in zip(heldout, rows, strict=True))
        return quality_of(pairs, clip)


def speed(person: Subject, threads: int, steps: int) -> None:
    """Prints the cost of an iteration in the middle of a fit, and of its parts."""
    from torch.profiler import ProfilerActivity, profile

    set_threads(threads)
    settings = config.make(threads=threads, expressions=52, patches_from=1.0)
    loss, _ = patch_loss(settings.perceptual)
    with ClipFrames(person.track, person.source, settings.resolution) as clip:
        trainer = Trainer.create(settings, clip, split(person.track, settings.holdout)[0], loss)
        print(f"{'iterations':>14} {'ms median':>10} {'ms best':>8} {'samples':>9}")
        for first in range(0, steps, steps // 4):
            times, before = [], trainer.samples
            for _ in range(steps // 4):
                start = time.perf_counter()
                trainer.advance()
                times.append(1000 * (time.perf_counter() - start))
            samples = (trainer.samples - before) // len(times)
            print(
                f"{first:6}-{trainer.step - 1:<7} {statistics.median(times):10.1f} {min(times):8.1f} {samples:9}"
            )
        with profile(activities=[ProfilerActivity.CPU]) as record:
            for _ in range(20):
                trainer.advance()
    print(record.key_averages().table(sort_by="self_cpu_time_total", row_limit=14, max_name_column_width=44))


def quality(name: str, person: Subject, threads: int, minutes: float, preset: str) -> None:
    """Prints one row: what a fit of ``minutes`` reaches, and in the next what the nearest training frame does."""
    settings = config.make(preset, threads=threads, minutes=minutes)
    avatar = registry.get("nerfblendshape").fit(person, settings, lambda at: None)
    found = avatar.header["metrics"]
    baseline = nearest(person.track, person.source, settings.holdout, settings.resolution)
    values = [found[f"heldout_psnr_{region}"] for region in REGIONS]
    print(
        f"{name:10} {found['steps']:6} {found['seconds']:7.0f} {found['ms_per_step']:7.1f} "
        f"{found['train_psnr_head']:7.2f} " + " ".join(f"{value:9.2f}" for value in values),
        f"\n{'  nearest frame':41} " + " ".join(f"{getattr(baseline, region):9.2f}" for region in REGIONS),
        flush=True,
    )


def memory(person: Subject, threads: int, steps: int) -> None:
    """Prints the peak memory of a fit at 512^2, apart from the track itself; run it alone in a process."""

    def peak() -> float:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    before = peak()
    settings = config.make(threads=threads, steps=steps, resolution=512)
    registry.get("nerfblendshape").fit(person, settings, lambda at: None)
    print(
        f"512^2, {len(person.track)} frames, {steps} steps: peak {peak():.0f} MB ({before:.0f} MB before the fit)"
    )


def main() -> None:
    """Parses the command line and prints the tables asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--speed", action="store_true", help="only the speed table")
    parser.add_argument("--quality", nargs="*", help="only the quality table, of these clips")
    parser.add_argument("--memory", action="store_true", help="only the memory of a fit at 512^2")
    parser.add_argument("--clip", default="person01", help="clip of the speed and memory tables")
    parser.add_argument("--preset", default=config.DEFAULT, help="of the quality table")
    parser.add_argument("--tracks", type=Path, help="folder of <clip>.track.npz")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--minutes", type=float, default=10.0, help="of every fit")
    parser.add_argument("--steps", type=int, default=2000, help="of the speed table")
    chosen = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, {chosen.threads} threads, load {os.getloadavg()[0]:.1f}"
    )
    if chosen.memory:
        memory(subject(chosen.clip, chosen.tracks), chosen.threads, 60)
        return
    if chosen.speed or chosen.quality is None:
        speed(subject(chosen.clip, chosen.tracks), chosen.threads, chosen.steps)
    if not chosen.speed:
        names = chosen.quality or ["person01", "person02", "person05", "person06"]
        titles = ("steps", "seconds", "ms/step", "train", *REGIONS)
        widths = (6, 7, 7, 7, 9, 9, 9, 9)
        heading = " ".join(f"{title:>{width}}" for title, width in zip(titles, widths, strict=True))
        print(f"{'clip':10} {heading}   (PSNR; train: head, the rest held out)")
        for name in names:
            quality(name, subject(name, chosen.tracks), chosen.threads, chosen.minutes, chosen.preset)


if __name__ == "__main__":
    main()
