"""The work behind ``demo``: film, then run the other commands on the film as a user would."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avatarkit.commands import console
from avatarkit.files.errors import AvatarkitError

if TYPE_CHECKING:
    from avatarkit.rendering.demo_clip import TrackingError

FPS = 25.0
_TELLING = ("jawOpen", "eyeBlinkLeft", "mouthSmileLeft", "browInnerUp")
"""Expressions whose own correlation is printed beside the median."""


@dataclass(frozen=True)
class Job:
    """The options of one ``demo``; see the command for their meaning."""

    output: Path
    only_video: bool = False
    seconds: float = 16.0
    size: int = 512
    resolution: int = 256
    minutes: float = 1.6
    seed: int = 7
    threads: int = 0


@dataclass(frozen=True)
class Paths:
    """What the demo leaves in its folder."""

    folder: Path

    @property
    def photo(self) -> Path:
        """The photo that is moved first."""
        return self.folder / "photo.png"

    @property
    def moved(self) -> Path:
        """That photo, and what it says."""
        return self.folder / "photo_talks.mp4"

    @property
    def video(self) -> Path:
        """The film."""
        return self.folder / "person.mp4"

    @property
    def truth(self) -> Path:
        """The film's true motion, as a track."""
        return self.folder / "truth.track.npz"

    @property
    def track(self) -> Path:
        """What ``track`` found."""
        return self.folder / "person.track.npz"

    @property
    def segmented(self) -> Path:
        """The track with mattes."""
        return self.folder / "person.segment.track.npz"

    @property
    def avatar(self) -> Path:
        """What ``fit`` made."""
        return self.folder / "person.safetensors"

    @property
    def side_by_side(self) -> Path:
        """Film and avatar next to each other."""
        return self.folder / "side_by_side.mp4"

    @property
    def picture(self) -> Path:
        """One held-out frame of that."""
        return self.folder / "side_by_side.png"

    @property
    def table(self) -> Path:
        """The metrics."""
        return self.folder / "metrics.csv"

    @property
    def sheet(self) -> Path:
        """Truth, avatar and error at some held-out frames."""
        return self.folder / "sheet.png"


def run(job: Job, json: bool, quiet: bool) -> None:
    """Run the demo and print where it stands. Raises AvatarkitError where a step fails."""
    from avatarkit.ops import set_threads

    if job.threads:
        set_threads(job.threads)
    begin = time.perf_counter()
    paths = Paths(job.output)
    try:
        paths.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AvatarkitError(f"{paths.folder}: cannot be made: {error.strerror}") from error
    summary: dict[str, Any] = {"output": str(paths.folder)}
    if not job.only_video:
        summary |= _move(job, paths, quiet)
    summary |= _film(job, paths, quiet)
    if not job.only_video:
        summary |= _learn(job, paths, quiet)
    summary["seconds"] = round(time.perf_counter() - begin, 1)
    if json:
        console.emit_json(summary)
        return
    console.note(f"done in {summary['seconds']:.0f} s; look at:", quiet)
    for path in (paths.moved, paths.side_by_side, paths.picture, paths.sheet, paths.table, paths.video):
        if path.exists():
            console.note(f"  {path}", quiet)


def _move(job: Job, paths: Paths, quiet: bool) -> dict[str, Any]:
    """A photo talks: scikit-image's portrait of an astronaut (NASA, public domain), from its wheel."""
    from skimage import data

    from avatarkit.commands import reenactment
    from avatarkit.files.images import write_image

    console.note("1/7 reenact: a photo talks, without any training", quiet)
    write_image(paths.photo, data.astronaut())
    made = reenactment.run(
        reenactment.Job((paths.photo,), ("talk",), paths.moved, side_by_side=True, threads=job.threads),
        json=False, quiet=quiet,
    )  # fmt: skip
    return {"reenact": made}


def _film(job: Job, paths: Paths, quiet: bool) -> dict[str, Any]:
    from avatarkit import heads
    from avatarkit.files.probe import probe
    from avatarkit.files.track import save_track
    from avatarkit.files.video import VideoWriter
    from avatarkit.rendering.demo_clip import Clip
    from avatarkit.rendering.performance import performance
    from avatarkit.rendering.subject import DemoSubject

    console.note("2/7 film: the built-in head acts", quiet)
    head = heads.load("builtin")
    clip = Clip.of(performance("demo", FPS, job.seconds, pivot=[float(c) for c in head.joints[0]]), job.size)
    subject = DemoSubject(head, seed=job.seed)
    begin = time.perf_counter()
    with (
        console.progress("filming", len(clip.performance), quiet) as bar,
        VideoWriter(paths.video, job.size, job.size, FPS) as writer,
    ):
        for frame in clip.frames(subject, job.threads or None):
            writer.write(frame)
            bar.advance()
    milliseconds = 1000 * (time.perf_counter() - begin) / len(clip.performance)
    info = probe(paths.video)
    video = {
        "name": paths.video.name, "path": str(paths.video.resolve()), "sha256": info.sha256, "width": info.width,
        "height": info.height, "fps": info.fps, "frames": info.frames, "rotation": info.rotation,
        "has_audio": info.has_audio,
    }  # fmt: skip
    save_track(clip.truth(head, video), paths.truth)
    return {"frames": info.frames, "ms_per_frame_film": round(milliseconds, 2), "video": str(paths.video)}


def _learn(job: Job, paths: Paths, quiet: bool) -> dict[str, Any]:
    from avatarkit.commands import comparison, fitting, playback, segment, track

    console.note("3/7 track: find the head's motion in the film", quiet)
    track.command(paths.video, output=paths.track, quiet=quiet)
    error = _judge(paths)
    _tell(error, quiet)
    console.note("4/7 segment: cut the head out", quiet)
    segment.command(paths.track, output=paths.segmented, quiet=quiet)
    console.note("5/7 fit: learn the avatar from the first 90 % of the film", quiet)
    options: dict[str, Any] = {"resolution": job.resolution, "minutes": job.minutes, "seed": job.seed}
    if job.threads:
        options["threads"] = job.threads
    fit = fitting.run(
        fitting.Job((str(paths.segmented),), "nerfblendshape", None, paths.avatar, False, options),
        json=False,
        quiet=quiet,
    )
    console.note("6/7 render: the avatar acts the film again", quiet)
    playback.run(
        playback.Job(paths.avatar, str(paths.segmented), paths.side_by_side, side_by_side=True, threads=job.threads),
        json=False, quiet=quiet,
    )  # fmt: skip
    _picture(paths)
    console.note("7/7 eval: measure it on the last 10 %, which it has not seen", quiet)
    judged = comparison.run(
        comparison.Job((paths.avatar,), track=paths.segmented, sheet=paths.sheet, csv=paths.table, threads=job.threads),
        json=False, quiet=quiet,
    )  # fmt: skip
    return {"tracking": asdict(error), "fit": fit, "eval": judged}


def _judge(paths: Paths) -> TrackingError:
    from avatarkit.files.track import load_track
    from avatarkit.rendering.demo_clip import tracking_error

    return tracking_error(load_track(paths.track), load_track(paths.truth))


def _tell(error: TrackingError, quiet: bool) -> None:
    shown = [f"{n} {error.correlations[n]:.2f}" for n in _TELLING if n in error.correlations]
    medians = (
        f"rotation {error.rotation_degrees:.2f} degrees, coefficients r {error.coefficient_r:.2f}, "
        f"landmarks {error.landmark_pixels:.2f} px"
    )
    console.note(
        f"against the truth, {error.frames} frames, medians: {medians}; r of {', '.join(shown)}", quiet
    )


def _picture(paths: Paths) -> None:
    """Save the most telling held-out frame of the side-by-side video: the one with the widest open mouth."""
    import numpy as np

    from avatarkit.files.images import write_image
    from avatarkit.files.probe import probe
    from avatarkit.files.track import load_track
    from avatarkit.files.video import read_frames_at

    truth = load_track(paths.truth)
    frames = min(probe(paths.side_by_side).frames, len(truth))
    jaw = truth.expression[:frames, truth.expression_names.index("jawOpen")]
    first = int(0.9 * frames)
    chosen = first + int(np.argmax(jaw[first:])) if first < frames else 0
    for _, frame in read_frames_at(paths.side_by_side, [chosen]):
        write_image(paths.picture, frame)
