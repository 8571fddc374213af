"""The work behind ``render``: load the avatar, make its drives, draw, and write as frames come."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from avatarkit.commands import moving
from avatarkit.files.errors import NoFaceError, UsageError
from avatarkit.files.facecap import is_capture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from avatarkit.files.track import Track
    from avatarkit.methods.registry import Drive
    from avatarkit.methods.stage import Stage

    Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Job:
    """The options of one ``render``; see the command for their meaning."""

    avatar: Path
    driver: str | None = None
    output: Path | None = None
    transfer: str = "auto"
    settings: tuple[str, ...] = ()
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scales: tuple[float, float] = (1.0, 1.0)
    orbit: float = 0.0
    camera: str = "frame"
    """``frame``, ``crop`` or the path of a view (files/viewpoint.py)."""
    background: str = "plate"
    resolution: int | None = None
    side_by_side: bool = False
    fps: float | None = None
    max_frames: int | None = None
    audio: bool = True
    video: Path | None = None
    threads: int = 0
    device: str = "cpu"
    identity: int = 0
    """which avatar of a file of several."""


@dataclass
class Motion:
    """What an avatar is to do: ``drives`` at ``fps``, and the clip they come from, if any."""

    drives: list[Drive]
    fps: float
    stem: str
    held: int = 0
    """frames without a usable face, for which the last good drive is held."""
    frames: NDArray[np.int32] | None = None
    """index of each drive's frame in ``video``."""
    video: Path | None = None
    start: float = 0.0
    """seconds into ``video`` of the first drive."""


def run(job: Job, json: bool, quiet: bool) -> None:
    """Render ``job`` and print its summary. Raises AvatarkitError where it cannot be done."""
    from avatarkit.commands import console
    from avatarkit.files.sinks import holds_one_frame, open_sink
    from avatarkit.files.streams import output
    from avatarkit.methods.stage import Stage
    from avatarkit.ops import set_threads

    began = time.perf_counter()
    set_threads(job.threads or moving.cores())
    stage = Stage.load(job.avatar, job.device, job.identity).with_background(job.background)
    if job.camera not in ("frame", "crop"):
        stage = _elsewhere(stage, job)
    with _driver(job, stage, quiet) as motion:
        if job.orbit:
            motion.drives, stage = _orbiting(motion.drives, job.orbit), stage.without_torso()
        if job.output is not None and "%" in job.output.name and job.output.parent.parent.is_dir():
            job.output.parent.mkdir(exist_ok=True)
        target = output(job.output, motion.stem, "render", ".png" if len(motion.drives) == 1 else ".mp4")
        if holds_one_frame(target.path) and len(motion.drives) > 1:
            raise UsageError(
                f"{target.name}: {len(motion.drives)} frames need .mp4, or %05d in a picture's name"
            )
        images = _images(job, stage, motion)
        first = next(images)
        prepared = time.perf_counter() - began
        height, width = first[0].shape[:2]
        sound = motion.video if job.audio and moving.has_sound(motion.video) else None
        sink = open_sink(target.path, width, height, motion.fps, sound, motion.start)
        drawing, count = first[1], 0
        with sink as frames, console.progress("rendering", len(motion.drives), quiet) as bar:
            frames.write(first[0])
            count += 1
            bar.advance()
            for image, seconds in images:
                frames.write(image)
                drawing += seconds
                count += 1
                bar.advance()
    total = time.perf_counter() - began
    if motion.held:
        message = (
            f"{motion.held} of {count} driver frames hold no usable face: the last good pose is held there"
        )
        console.note(message, quiet)
    if target.chosen:
        typer.echo(target.name)
    if json:
        summary = {
            "frames": count,
            "size": [width, height],
            "ms_per_frame_render": round(1000 * drawing / count, 2),
            "ms_per_frame_total": round(1000 * total / count, 2),
            "prepare_seconds": round(prepared, 3),
            "held": motion.held,
            "output": target.name,
        }
        console.emit_json(summary, target.stdout_free)


def _elsewhere(stage: Stage, job: Job) -> Stage:
    """The stage before the camera of a view file. Raises UsageError for options that would fight over the size."""
    from avatarkit.files.viewpoint import load_view
    from avatarkit.rendering.camera import Camera
    from avatarkit.rendering.viewpoint import Viewpoint

    if job.resolution is not None:
        raise UsageError("--resolution: the size is that of --camera's file; leave one of the two out")
    view = load_view(Path(job.camera))
    camera = Camera(view.intrinsics.astype("float32"), view.width, view.height)
    return stage.seen_from(Viewpoint(camera, view.rotation, view.translation))


def _images(job: Job, stage: Stage, motion: Motion) -> Iterator[tuple[Image, float]]:
    """Each finished frame with the seconds its drawing took."""
    sources: Iterator[Image | None] = repeat(None)
    if job.side_by_side:
        if motion.video is None or motion.frames is None:
            raise UsageError("--side-by-side needs a driver with a video: give one, or name it with --video")
        sources = _at(motion.video, motion.frames.tolist())
    for drive, source in zip(motion.drives, sources, strict=False):
        began = time.perf_counter()
        image = stage.frame(drive, job.resolution, job.camera)
        seconds = time.perf_counter() - began
        yield (image if source is None else moving.beside(source, image)), seconds


def _at(video: Path, indices: list[int]) -> Iterator[Image]:
    """The frames at ascending ``indices``, repeated where an index repeats."""
    from avatarkit.files.video import read_frames_at

    frames = read_frames_at(video, indices)
    index, image = next(frames)
    for wanted in indices:
        while index < wanted:
            index, image = next(frames)
        yield image


def _driver(job: Job, stage: Stage, quiet: bool) -> AbstractContextManager[Motion]:
    settings = moving.settings(job.settings)
    if job.driver is None:
        from avatarkit.methods.driving import still

        drive = still(stage.avatar.header, settings, *job.turn)
        frames = 1
        if job.orbit:
            frames = job.max_frames or round(4 * (job.fps or 25))
        return nullcontext(Motion([drive] * frames, job.fps or 25.0, job.avatar.stem))
    if settings or any(job.turn):
        raise UsageError(
            "--set, --yaw, --pitch and --roll make a still: leave them out, or leave --driver out"
        )
    if job.driver in moving.PERFORMANCES or is_capture(Path(job.driver)):
        return nullcontext(_performed(job, stage))
    return _tracked(job, stage, quiet)


def _performed(job: Job, stage: Stage) -> Motion:
    """A built-in performance or a face capture, on top of the avatar's own rest."""
    from avatarkit.methods.driving import performed
    from avatarkit.rendering.captured import acted

    acting, lost = acted(str(job.driver), job.fps)
    made = performed(acting, stage.avatar.header, *job.scales)[: job.max_frames]
    held = int(lost[: len(made)].sum())
    return Motion(made, acting.fps, f"{job.avatar.stem}.{acting.name}", held)


class _tracked(AbstractContextManager[Motion]):
    """A driver from a track, or from a video that is tracked first; its video stays at hand while drawing."""

    def __init__(self, job: Job, stage: Stage, quiet: bool) -> None:
        self.job, self.stage, self.quiet = job, stage, quiet

    def __enter__(self) -> Motion:
        from contextlib import ExitStack

        from avatarkit.files.source import resolve_video
        from avatarkit.files.streams import input_path, spooled
        from avatarkit.methods.driving import drives

        with ExitStack() as stack:
            path = stack.enter_context(spooled(input_path(Path(str(self.job.driver)), "a driver")))
            track, video = self._track(path)
            if video is None and (self.job.side_by_side or self.job.audio):
                wanted = self.job.side_by_side or self.job.video is not None
                video = resolve_video(track, self.job.video) if wanted else _quietly(track)
            made = drives(track, self.stage.avatar.header, self.job.transfer, *self.job.scales)
            fps = float(track.meta["video"]["fps"])
            motion = _motion(made, track, self.job, fps)
            motion.video = video
            motion.stem = Path(track.meta["video"]["name"]).stem
            self._open = stack.pop_all()
        return motion

    def _track(self, path: Path) -> tuple[Track, Path | None]:
        from avatarkit.files.track import load_track

        with open(path, "rb") as file:
            zipped = file.read(2) == b"PK"
        if zipped:
            return load_track(path), None
        from avatarkit.commands import console
        from avatarkit.tracking import TrackOptions, track

        with console.progress("tracking the driver", None, self.quiet) as bar:
            options = replace(TrackOptions(), max_frames=self.job.max_frames)
            return track(path, options, bar), path

    def __exit__(self, *details: Any) -> None:
        self._open.close()


def _quietly(track: Track) -> Path | None:
    """The track's video for its sound, where it is still to be found."""
    from avatarkit.files.errors import AvatarkitError
    from avatarkit.files.source import resolve_video

    try:
        return resolve_video(track, None)
    except AvatarkitError:
        return None


def _motion(made: list[Drive | None], track: Track, job: Job, fps: float) -> Motion:
    """Drives at the wanted rate; frames without a face hold the last good drive, and are counted."""
    import numpy as np

    good = [drive for drive in made if drive is not None]
    if not good:
        raise NoFaceError("the driver holds no usable face: give a clip in which the face can be seen")
    rate = job.fps or fps
    span = np.arange(len(made)) if rate == fps else np.arange(int(len(made) * rate / fps)) * fps / rate
    rows = np.round(span).astype(int).clip(0, len(made) - 1)[: job.max_frames]
    filled, last = [], good[0]
    for drive in made:
        last = drive or last
        filled.append(last)
    start = float(track.frame[0]) / fps if len(track) else 0.0
    held = sum(made[row] is None for row in rows)
    return Motion([filled[row] for row in rows], rate, str(job.driver), held, track.frame[rows], start=start)


def _orbiting(drives: list[Drive], degrees: float) -> list[Drive]:
    """The camera swings around the head: seen from it, the head turns the other way."""
    import numpy as np

    from avatarkit.methods.driving import turned

    phases = np.sin(np.linspace(0, 2 * np.pi, len(drives), endpoint=False))
    return [turned(drive, -degrees * phase) for drive, phase in zip(drives, phases, strict=True)]


__all__ = ["Job", "Motion", "run"]
