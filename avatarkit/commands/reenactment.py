"""The work behind ``reenact``: prepare the face, follow the driver, draw and write as frames come."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from avatarkit.commands import casting, moving
from avatarkit.commands.staging import SIZE, prepared
from avatarkit.files.errors import NoFaceError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from avatarkit.commands.acting import Acting, Wishes
    from avatarkit.commands.early import Early
    from avatarkit.files.feed import CaptureFeed, Feed
    from avatarkit.methods.registry import Drive
    from avatarkit.methods.stage import Stage
    from avatarkit.tracking.stream import TrackStream

    Image = NDArray[np.uint8]


AHEAD = 96
"""Drives that may wait to be drawn: they come in blocks of half as many, and the next is followed meanwhile."""


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
    newest: bool = False
    """whether standard input is watched as it happens."""
    input_size: str | None = None
    y4m: bool = False
    fps: float | None = None
    max_frames: int | None = None
    video: Path | None = None
    threads: int = 0
    device: str = "cpu"


def run(job: Job, json: bool, quiet: bool) -> dict[str, Any]:
    """Reenact every source with every driver; print the summary and return it.

    Raises AvatarkitError where it cannot be done.
    """
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
    # the driver is followed in another thread than the one that draws; a live one by another program's
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
        feed = _feed(job, cast, targets[0].path is None, stack)
        # standard input can be read once, however many faces it moves
        waits = casting.STANDARD in cast.drivers and feed is None
        piped = stack.enter_context(spooled(None)) if waits else None
        for pair, target in zip(cast.pairs, targets, strict=True):
            source, driver = pair
            making = time.perf_counter()
            path = piped if driver == casting.STANDARD and piped is not None else Path(driver or "")
            early = None
            if source not in stages and driver is not None and not casting.is_avatar(source) and feed is None:
                early = _early(driver, path, wishes, stack)
            if source not in stages:
                stages = {source: prepared(job, source, quiet)}
            making = time.perf_counter() - making
            summary = _reenact(
                job, stages[source], driver, path, wishes, target.path, began, quiet, early, feed
            )
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


def _feed(job: Job, cast: casting.Cast, at_once: bool, stack: ExitStack) -> Feed | CaptureFeed | None:
    """Standard input as a stream, read from now on; None where no driver is one.

    Raises UsageError for options that only a stream has.
    """
    from avatarkit.commands import live

    streaming = job.newest or job.input_size is not None
    if casting.STANDARD not in cast.drivers:
        if streaming:
            raise UsageError("--live and --input-size are for a driver on standard input: name it -")
        return None
    if len(cast.pairs) > 1 or ((job.side_by_side or job.mouth == "driver") and not streaming):
        if streaming:
            raise UsageError("--live and --input-size move one face: name one")
        return None
    feed = live.fed(job.input_size, job.fps, job.newest, at_once)
    if feed is not None:
        stack.enter_context(feed)
    return feed


def _early(driver: str, path: Path, wishes: Wishes, stack: ExitStack) -> Early[TrackStream] | None:
    """The driver's beginning, watched while its photo is prepared; None for drivers without a clip, or on one core."""
    from avatarkit.commands import acting
    from avatarkit.commands.early import Early

    if moving.cores() == 1 or acting.performs(driver, path) or acting.is_track(path):
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
    feed: Feed | CaptureFeed | None = None,
) -> dict[str, Any]:
    """One result; returns its summary. ``early``: the driver, if it is being watched already; ``feed``: a stream."""
    from avatarkit.commands import acting, console, live
    from avatarkit.files.sinks import holds_one_frame, open_sink

    if driver is None:
        return _still(job, stage, wishes, target, began)
    if feed is None:
        actor = acting.opened(driver, path, stage.avatar.header, wishes, stage.rigged, early)
    else:
        actor = live.actor(feed, stage.avatar.header, wishes, stage.rigged)
    with actor, ExitStack() as ending:
        if holds_one_frame(target) and actor.frames != 1:
            raise UsageError(f"{target}: a driver needs .mp4, or %05d in a picture's name")
        stage = stage.begun(actor.neutral, actor.camera)
        if feed is not None:
            live.prompt()
        counts = {"held": 0}
        # whoever leaves early stops what reads first, then what follows it, and only then the driver
        images = ending.enter_context(closing(_images(job, stage, actor, counts)))
        if feed is not None:
            ending.callback(feed.close)
        image, drawing, number = next(images)
        height, width = image.shape[:2]
        sound = actor.video if job.audio and moving.has_sound(actor.video) else None
        sink = open_sink(target, width, height, actor.fps, sound, actor.start, job.y4m)
        ready, count = time.perf_counter() - began, 1
        with sink as out, console.progress("reenacting", actor.frames, quiet) as bar:
            out.write(image)
            actor.wrote(number)
            bar.advance()
            for image, seconds, index in images:
                for _ in range(_times(actor, target, index - number)):
                    out.write(image)
                actor.wrote(index)
                number = index
                drawing += seconds
                count += 1
                bar.advance()
    total = time.perf_counter() - began
    if counts["held"]:
        told = (
            f"{counts['held']} of {count} driver frames hold no usable face: the last good pose is held there"
        )
        console.note(told, quiet)
    if actor.figures().get("torn"):
        console.note("standard input broke off within a frame: what came before it is done", quiet)
    return _summary(count, (width, height), drawing, total, ready, counts["held"]) | actor.figures()


def _times(actor: Acting, target: Path | None, passed: int) -> int:
    """How often a frame is written: in a file, whose frames are equally long, also for those that were dropped."""
    return passed if actor.hurried and target is not None else 1


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


def _images(
    job: Job, stage: Stage, actor: Acting, counts: dict[str, int]
) -> Generator[tuple[Image, float, int], None, None]:
    """Each finished frame, the seconds its drawing took, and its number; the driver is followed a little ahead."""
    from dataclasses import replace

    from avatarkit.data.ahead import ahead

    view = _view(job, stage)
    last: Drive | None = None
    beside = _watched(job, stage, actor) if job.side_by_side else None
    inside = _watched(job, stage, actor) if job.mouth == "driver" else None
    waiting: list[int] = []
    begun = actor.neutral
    for index, drive in actor.drives() if actor.hurried else ahead(actor.drives(), 1 if job.live else AHEAD):
        counts["held"] += drive is None
        if drive is not None:
            last = drive if inside is None else replace(drive, picture=inside(index))
        if last is None:  # before the first face: its frame is drawn for the ones waiting, too
            waiting.append(index)
            continue
        if actor.neutral is not begun:  # a live driver is known better now
            begun = actor.neutral
            stage = stage.begun(begun, actor.camera)
        began = time.perf_counter()
        image = _finished(job, stage.frame(last, *view))
        seconds = time.perf_counter() - began
        for number in (*waiting, index):
            yield (image if beside is None else moving.beside(beside(number), image)), seconds, number
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
