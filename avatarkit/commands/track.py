"""``avatarkit track``: a video, image folder or photo to a track."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from avatarkit.commands import console
from avatarkit.files.errors import UsageError

if TYPE_CHECKING:
    from avatarkit.files.streams import Output
    from avatarkit.files.track import Track


class Detector(StrEnum):
    """What finds the landmarks."""

    mediapipe = "mediapipe"
    landmarker = "landmarker"
    face_alignment = "face-alignment"


@console.run
def command(
    source: Annotated[
        Path | None,
        typer.Argument(
            help="Video, folder of images, or photo; left out or '-': a video on standard input.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The track; '-' is standard output. face.csv and face.jsonl hold a face capture instead (see export).",
            show_default=False,
        ),
    ] = None,
    start: Annotated[float, typer.Option(help="Begin this many seconds into the clip.")] = 0.0,
    end: Annotated[float | None, typer.Option(help="End at this second.", show_default=False)] = None,
    max_frames: Annotated[
        int | None, typer.Option(help="Stop after this many frames.", show_default=False)
    ] = None,
    fps: Annotated[
        float | None, typer.Option(help="Track at this lower rate, skipping frames.", show_default=False)
    ] = None,
    crop: Annotated[
        str | None,
        typer.Option(
            help="X,Y,SIZE of the head crop in pixels (default: around the head).", show_default=False
        ),
    ] = None,
    focal: Annotated[
        float | None,
        typer.Option(help="Focal length in pixels (default: 1.6 times the width).", show_default=False),
    ] = None,
    head: Annotated[str, typer.Option(help="Head model: builtin, ict, or a *.head.npz.")] = "builtin",
    smooth: Annotated[float, typer.Option(help="Factor on the smoothing over time; 0: none.")] = 1.0,
    refine: Annotated[
        bool, typer.Option("--refine/--no-refine", help="Refine the expression shapes on this person.")
    ] = True,
    photometric: Annotated[
        bool,
        typer.Option(
            "--photometric/--no-photometric", help="Steady the head's pose by the picture of its skull."
        ),
    ] = True,
    torso: Annotated[
        bool, typer.Option("--torso/--no-torso", help="Follow the torso below the chin.")
    ] = True,
    embed: Annotated[bool, typer.Option("--embed", help="Put the video's bytes into the track.")] = False,
    overlay: Annotated[
        Path | None,
        typer.Option(help="Also draw mesh and landmarks over the video, to this mp4.", show_default=False),
    ] = None,
    face: Annotated[
        str, typer.Option(help="Which face: largest, center, or its number from the left, from 1 on.")
    ] = "largest",
    detector: Annotated[
        Detector, typer.Option(help="What finds the landmarks; mediapipe needs nothing more.")
    ] = Detector.mediapipe,
    landmarker: Annotated[
        Path | None,
        typer.Option(help="Task file of the Face Landmarker (chooses that detector).", show_default=False),
    ] = None,
    json: console.Json = False,
    quiet: console.Quiet = False,
) -> None:
    """Track the head in a video: pose, expression, gaze and the person's own face, frame by frame."""
    began = time.perf_counter()
    from avatarkit.files import streams
    from avatarkit.files.probe import probe
    from avatarkit.tracking import TrackOptions, track

    options = TrackOptions(
        start=start, end=end, max_frames=max_frames, fps=fps, crop=_crop(crop), focal=focal, head=head,
        smooth=smooth, refine=refine, photometric=photometric, torso=torso, embed=embed, face=face,
        detector=detector.value, landmarker=landmarker,
    )  # fmt: skip
    given = streams.input_path(source, "a video")
    target = streams.output(
        output, "stdin" if given is None else given.stem or given.resolve().name, "track", ".npz"
    )
    with streams.spooled(given) as path:
        for line in probe(path).notes:
            console.note(line, quiet)
        with console.progress("tracking", None, quiet) as bar:
            result = track(path, options, bar)
        if given is None:
            _make_portable(result, path)
        with target.stream() as stream:
            _save(result, target, stream)
        if overlay is not None:
            from avatarkit.tracking.overlay import write_overlay

            with console.progress("drawing", len(result), quiet) as bar:
                write_overlay(result, path, overlay, bar)
    milliseconds = 1000 * (time.perf_counter() - began) / len(result)
    _tell(result, quiet)
    if target.chosen:
        typer.echo(target.name)
    if json:
        console.emit_json(summary(result, milliseconds, target.name), target.stdout_free)


def _save(track: Track, target: Output, stream: BinaryIO) -> None:
    """The track file, or for a name like face.csv what a face capture holds of it."""
    from avatarkit.files.facecap import is_capture, save_capture
    from avatarkit.files.track import save_track

    if target.path is None or not is_capture(target.path):
        save_track(track, stream)
        return
    from avatarkit.rendering.captured import capture_of

    save_capture(capture_of(track), target.path.suffix, float(track.meta["video"]["fps"]), stream)


def summary(track: Track, milliseconds: float, name: str) -> dict[str, Any]:
    """What ``--json`` prints of ``track``, made in ``milliseconds`` a frame."""
    return {
        "frames": len(track),
        "valid": int(track.valid.sum()),
        "residual_median_px480": track.meta["residual_median_px480"],
        "residual_p95_px480": track.meta["residual_p95_px480"],
        "ms_per_frame": round(milliseconds, 2),
        "cuts": track.meta["cuts"],
        "people": track.meta["people"],
        "crop": track.crop,
        "output": name,
    }


def _crop(text: str | None) -> tuple[int, int, int] | None:
    if text is None:
        return None
    try:
        x, y, size = (int(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"--crop {text}: give X,Y,SIZE in pixels, as in --crop 100,40,512") from error
    return x, y, size


def _make_portable(track: Track, spool: Path) -> None:
    """A clip that came through standard input is nowhere to be found again: the track carries it."""
    track.video = spool.read_bytes()
    track.meta["video"]["name"] = "stdin"
    track.meta["video"].pop("path", None)


def _tell(track: Track, quiet: bool) -> None:
    lost = int((~track.valid).sum())
    if lost:
        console.note(f"{lost} of {len(track)} frames hold no usable face: they are marked invalid", quiet)
    cuts = track.meta["cuts"]
    if cuts:
        console.note(f"cuts at frames {', '.join(map(str, cuts))}: motion is not smoothed across them", quiet)
    if track.meta["people"] > 1:
        console.note("more than one face was seen: one is tracked, see --face", quiet)
