"""The work behind ``reenact``: prepare the face, follow the driver, draw and write as frames come."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from avatarkit.commands import casting, moving
from avatarkit.files.errors import NoFaceError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from avatarkit.commands.acting import Acting, Wishes
    from avatarkit.commands.early import Early
    from avatarkit.methods.registry import Drive
    from avatarkit.methods.stage import Stage
    from avatarkit.tracking.stream import TrackStream

    Image = NDArray[np.uint8]

SIZE = 512
"""Pixels of the longer side of what a photo becomes, where ``--size`` does not say."""


@dataclass(frozen=True)
class Job:
    """The options of one ``reenact``; see the command for their meaning."""

    inputs: tuple[Path, ...]
    drivers: tuple[str, ...] = ()
    output: Path | None = None
    transfer: str = "auto"
    settings: tuple[str, ...] = ()
    scales: tuple[float, float] = (1.0, 1.0)
    parts: tuple[str, ...] = ("face", "lips", "eyes", "pose")
    crop: str = "full"
    size: int | None = None
    mouth: str = "photo"
    background: str = "keep"
    side_by_side: bool = False
    audio: bool = True
    face: str = "largest"
    driver_face: str = "largest"
    start: float = 0.0
    end: float | None = None
    mark: bool = False
    live: bool = False
    fps: float | None = None
    max_frames: int | None = None
    video: Path | None = None
    threads: int = 0
    device: str = "cpu"


def run(job: Job, json: bool, quiet: bool) -> dict[str, Any]:
    """Reenact every source with every driver; print the summary and return it.

    Raises AvatarkitError where it cannot be done.
    """
    # Read when numpy is imported: for matrices this small, BLAS's threads would only spin beside those that work.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from avatarkit.commands import console
    from avatarkit.files.streams import output, spooled
    from avatarkit.methods.steering import Steering
    from avatarkit.ops import set_threads

    began = time.perf_counter()
    _warm_up()
    import cv2

    steering = Steering(job.parts, *job.scales, moving.settings(job.settings))
    cast = casting.cast(job.inputs, job.drivers, bool(job.settings))
    alone = len(cast.pairs) == 1
    targets = [
        output(casting.target(job.output, pair, alone), casting.stem(*pair), "reenact", _suffix(pair))
        for pair in cast.pairs
    ]
    # the driver is followed in another thread than the one that draws
    threads = job.threads or max(1, moving.cores() - 1)
    set_threads(threads)
    cv2.setNumThreads(threads)
    from avatarkit.commands import acting

    watched = job.side_by_side or job.mouth == "driver"
    wishes = acting.Wishes(
        job.transfer,
        steering,
        job.live,
        job.fps,
        job.max_frames,
        job.start,
        job.end,
        job.driver_face,
        job.video,
        watched,
    )
    summaries: list[dict[str, Any]] = []
    stages: dict[Path, Stage] = {}
    told: dict[str, None] = {}
    with ExitStack() as stack:
        # standard input can be read once, however many faces it moves
        piped = stack.enter_context(spooled(None)) if casting.STANDARD in cast.drivers else None
        for pair, target in zip(cast.pairs, targets, strict=True):
            source, driver = pair
            making = time.perf_counter()
            path = piped if driver == casting.STANDARD and piped is not None else Path(driver or "")
            early = None
            if source not in stages and driver is not None and not casting.is_avatar(source):
                early = _early(driver, path, wishes, stack)
            if source not in stages:
                stages = {source: prepared(job, source, quiet)}
            making = time.perf_counter() - making
            summary = _reenact(job, stages[source], driver, path, wishes, target.path, began, quiet, early)
            summary |= {"photo_seconds": round(making, 3), "output": target.name}
            if target.chosen or not alone:
                typer.echo(target.name, err=json)
            summaries.append(summary)
            told |= dict.fromkeys(getattr(stages[source].avatar, "notes", list)())
            began = time.perf_counter()
    for line in told:
        console.note(line, quiet)
    joined = _joined(summaries)
    if json:
        console.emit_json(joined, targets[0].stdout_free)
    return joined


def _early(driver: str, path: Path, wishes: Wishes, stack: ExitStack) -> Early[TrackStream] | None:
    """The driver's beginning, watched while its photo is prepared; None for drivers without a clip."""
    from avatarkit.commands import acting
    from avatarkit.commands.early import Early

    if acting.performs(driver, path) or acting.is_track(path):
        return None
    return stack.enter_context(Early(acting.watched(path, wishes, True)))


def _warm_up() -> None:
    """Import what takes longest in another thread, while the head model is built in this one."""
    from threading import Thread

    from avatarkit.files.mediapipe import solution

    Thread(target=solution, args=("face_mesh",), daemon=True, name="warm-up").start()


def _suffix(pair: tuple[Path, str | None]) -> str:
    return ".png" if pair[1] is None else ".mp4"


def _joined(summaries: list[dict[str, Any]]) -> dict[str, Any]:
    """One summary: that of a single result, or means over several and each of them under ``results``."""
    if len(summaries) == 1:
        return summaries[0]
    frames = sum(s["frames"] for s in summaries)
    return {
        "frames": frames,
        "size": summaries[0]["size"],
        **{
            key: round(sum(s[key] * s["frames"] for s in summaries) / frames, 2)
            for key in ("ms_per_frame_render", "ms_per_frame_total")
        },
        **{key: round(sum(s[key] for s in summaries), 3) for key in ("prepare_seconds", "photo_seconds")},
        "held": sum(s["held"] for s in summaries),
        "output": [s["output"] for s in summaries],
        "results": summaries,
    }


def prepared(job: Job, source: Path, quiet: bool) -> Stage:
    """The stage of an avatar file, or of a photo that is tracked, matted and prepared here.

    Raises NoFaceError where the photo shows no person.
    """
    from avatarkit.commands import console
    from avatarkit.methods.stage import Stage

    if casting.is_avatar(source):
        if job.mouth != "photo":
            raise UsageError(f"--mouth {job.mouth}: {source} is an avatar already; give the photo")
        stage = Stage.load(source, job.device)
        return _before(stage, job.background)
    from avatarkit.methods import registry
    from avatarkit.methods.photo import config
    from avatarkit.segmentation.pipeline import SegmentOptions, segment
    from avatarkit.tracking import TrackOptions, track

    with console.progress("preparing the photo", None, quiet) as bar:
        try:
            found = track(source, TrackOptions(face=job.face, refine=False))
        except NoFaceError as error:
            raise NoFaceError(f"{source}: no person's face was found in the photo: give another") from error
        found = segment(found, source, SegmentOptions(parts=False))
        width, height = (int(found.meta["video"][key]) for key in ("width", "height"))
        longest = job.size or SIZE
        if job.crop == "head":  # the crop is to have that many pixels
            longest = round(longest * max(width, height) / max(int(found.crop[2]), 1))
        chosen = config.make(size=min(max(longest, 64), 4096), mouth=job.mouth)
        avatar = registry.get("photo").fit(registry.Subject(found, source), chosen, bar)
    return _before(Stage.of(avatar, {}), job.background)


def _before(stage: Stage, background: str) -> Stage:
    """The stage before another background: keep, white, blur, or a picture."""
    from avatarkit.rendering.backgrounds import behind

    return stage if background == "keep" else stage.before(lambda plate: behind(background, plate))


def _reenact(
    job: Job,
    stage: Stage,
    driver: str | None,
    path: Path,
    wishes: Wishes,
    target: Path | None,
    began: float,
    quiet: bool,
    early: Early[TrackStream] | None = None,
) -> dict[str, Any]:
    """One result; returns its summary. ``early``: the driver, if it is being watched already."""
    from avatarkit.commands import acting, console
    from avatarkit.files.sinks import holds_one_frame, open_sink

    if driver is None:
        return _still(job, stage, wishes, target, began)
    actor = acting.opened(driver, path, stage.avatar.header, wishes, stage.rigged, early)
    with actor:
        if holds_one_frame(target) and actor.frames != 1:
            raise UsageError(f"{target}: a driver needs .mp4, or %05d in a picture's name")
        stage = stage.begun(actor.neutral, actor.camera)
        counts = {"held": 0}
        images = _images(job, stage, actor, counts)
        image, drawing = next(images)
        height, width = image.shape[:2]
        sound = actor.video if job.audio and moving.has_sound(actor.video) else None
        sink = open_sink(target, width, height, actor.fps, sound, actor.start)
        ready, count = time.perf_counter() - began, 1
        with sink as out, console.progress("reenacting", actor.frames, quiet) as bar:
            out.write(image)
            bar.advance()
            for image, seconds in images:
                out.write(image)
                drawing += seconds
                count += 1
                bar.advance()
    total = time.perf_counter() - began
    if counts["held"]:
        told = (
            f"{counts['held']} of {count} driver frames hold no usable face: the last good pose is held there"
        )
        console.note(told, quiet)
    return _summary(count, (width, height), drawing, total, ready, counts["held"])


def _summary(
    count: int, size: tuple[int, int], drawing: float, total: float, ready: float, held: int
) -> dict[str, Any]:
    return {
        "frames": count,
        "size": list(size),
        "ms_per_frame_render": round(1000 * drawing / count, 2),
        "ms_per_frame_total": round(1000 * total / count, 2),
        "prepare_seconds": round(ready, 3),
        "held": held,
    }


def _still(job: Job, stage: Stage, wishes: Wishes, target: Path | None, began: float) -> dict[str, Any]:
    """The face at rest with the held coefficients, as one picture."""
    from avatarkit.files.sinks import open_sink
    from avatarkit.methods.driving import still

    stage = stage.begun(None, None)
    ready = time.perf_counter()
    image = _finished(job, stage.frame(still(stage.avatar.header, wishes.steering.held), *_view(job, stage)))
    drawing = time.perf_counter() - ready
    height, width = image.shape[:2]
    with open_sink(target, width, height, 25.0) as out:
        out.write(image)
    return _summary(1, (width, height), drawing, time.perf_counter() - began, ready - began, 0)


def _view(job: Job, stage: Stage) -> tuple[int | None, str]:
    """Resolution and view of ``Stage.frame``."""
    if job.crop == "head":
        return job.size or (SIZE if stage.rigged else None), "crop"
    return None, "frame"


def _images(job: Job, stage: Stage, actor: Acting, counts: dict[str, int]) -> Iterator[tuple[Image, float]]:
    """Each finished frame with the seconds its drawing took; the driver is followed a little ahead."""
    from dataclasses import replace

    from avatarkit.data.ahead import ahead

    view = _view(job, stage)
    last: Drive | None = None
    beside = _watched(job, stage, actor) if job.side_by_side else None
    inside = _watched(job, stage, actor) if job.mouth == "driver" else None
    waiting: list[int] = []
    for index, drive in ahead(actor.drives(), 1 if job.live else 24):
        counts["held"] += drive is None
        if drive is not None:
            last = drive if inside is None else replace(drive, picture=inside(index))
        if last is None:  # before the first face: its frame is drawn for the ones waiting, too
            waiting.append(index)
            continue
        began = time.perf_counter()
        image = _finished(job, stage.frame(last, *view))
        seconds = time.perf_counter() - began
        for number in (*waiting, index):
            yield (image if beside is None else moving.beside(beside(number), image)), seconds
        waiting = []
    if last is None:
        raise NoFaceError("the driver holds no usable face: give a clip in which the face can be seen")


def _watched(job: Job, stage: Stage, actor: Acting) -> Callable[[int], Image]:
    """The driver's picture by frame number, asked for in ascending order; of a performance, the face at rest."""
    if actor.video is None:
        from avatarkit.methods.driving import still

        if job.mouth == "driver":
            raise UsageError("--mouth driver needs a driver with a video: give the video itself")
        rest = stage.begun(None, None).frame(still(stage.avatar.header, {}), *_view(job, stage))
        return lambda number: rest
    from avatarkit.files.video import read_frames

    frames = read_frames(actor.video, actor.first)
    shown = next(frames)

    def at(number: int) -> Image:
        nonlocal shown
        while shown[0] < number:
            shown = next(frames, (number, shown[1]))
        return shown[1]

    return at


def _finished(job: Job, image: Image) -> Image:
    """``image`` at the wanted size, marked where that is wanted."""
    import cv2
    import numpy as np

    from avatarkit.rendering.mark import marked

    height, width = image.shape[:2]
    if job.size and max(height, width) != job.size:
        scale = job.size / max(height, width)
        size = (max(2, 2 * round(width * scale / 2)), max(2, 2 * round(height * scale / 2)))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        image = np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)
    return marked(image) if job.mark else image


__all__ = ["Job", "prepared", "run"]
