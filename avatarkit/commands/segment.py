"""``avatarkit segment``: person and head mattes and label maps for a track."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from avatarkit.commands import console


class Matting(StrEnum):
    """Which network mattes the person."""

    selfie = "selfie"
    modnet = "modnet"


class Parsing(StrEnum):
    """What tells skin, hair and clothes apart."""

    mesh = "mesh"
    bisenet = "bisenet"


@console.run
def command(
    track: Annotated[
        Path | None,
        typer.Argument(help="Track (*.track.npz); left out or '-': standard input.", show_default=False),
    ] = None,
    video: console.Video = None,
    output: console.Out = None,
    overlay: Annotated[
        Path | None,
        typer.Option(help="Also draw labels and the cut-out head to this mp4.", show_default=False),
    ] = None,
    matting: Annotated[
        Matting, typer.Option(help="selfie comes with mediapipe; modnet needs its checkpoint.")
    ] = Matting.selfie,
    parsing: Annotated[
        Parsing,
        typer.Option(help="mesh: the tracked mesh and the clip's own colors; bisenet needs its checkpoint."),
    ] = Parsing.mesh,
    weights: Annotated[
        list[Path] | None,
        typer.Option(
            help="Checkpoint of modnet or bisenet; repeat for both. Left out: downloaded.", show_default=False
        ),
    ] = None,
    size: Annotated[int, typer.Option(min=64, max=2048, help="Largest side of the mattes, pixels.")] = 512,
    steady: Annotated[
        int, typer.Option(min=0, max=8, help="Frames to both sides that steady a matte against flicker.")
    ] = 2,
    json: console.Json = False,
    quiet: console.Quiet = False,
) -> None:
    """Cut the person, the head and its parts out of a tracked clip; the track with mattes is the result."""
    from avatarkit.files import streams
    from avatarkit.files.source import resolve_video
    from avatarkit.files.track_io import load_track, save_track
    from avatarkit.segmentation import SegmentOptions, segment
    from avatarkit.segmentation.overlay import write_overlay

    path = streams.input_path(track, "track")
    with streams.input_stream(path) as stream:
        loaded = load_track(path if path is not None else stream)
    stem = (path.name if path else str(loaded.meta.get("video", {}).get("name", "clip"))).split(".")[0]
    target = streams.output(output, stem, "segment", ".track.npz")
    source = resolve_video(loaded, video, beside=path)
    if overlay is not None:
        streams.temporary_beside(overlay)  # a wrong folder is told before the work

    options = SegmentOptions(matting.value, parsing.value, tuple(weights or ()), size, steady)
    begin = time.perf_counter()
    with console.progress("segmenting", len(loaded), quiet) as bar:
        result = segment(loaded, source, options, lambda at: bar.to(at["step"]))
    seconds = time.perf_counter() - begin
    with target.stream() as out:
        save_track(result, out)
    if overlay is not None:
        with console.progress("drawing", len(result), quiet) as bar:
            write_overlay(result, source, overlay, lambda at: bar.to(at["step"]))
    console.summary(
        {
            "frames": len(result),
            "segmented": sum("head" in mattes for mattes in result.mattes or ()),
            "ms_per_frame": 1000 * seconds / len(result),
            "matte_bytes_per_frame": sum(len(b) for m in result.mattes or () for b in m.values())
            // len(result),
            "overlay": overlay,
            "output": target.name,
        },
        json,
        target,
        quiet,
    )
