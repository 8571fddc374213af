"""``avatarkit reenact``: a photo, or an avatar, moves like a driver."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from avatarkit.commands import console, moving


class Crop(StrEnum):
    """What of the photo the result shows."""

    head = "head"
    full = "full"


class Mouth(StrEnum):
    """What shows in an open mouth."""

    photo = "photo"
    generic = "generic"
    driver = "driver"


class Stream(StrEnum):
    """How frames go to standard output."""

    raw = "raw"
    y4m = "y4m"


@console.run
def command(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="Photos or avatars (*.safetensors) and their drivers: videos, tracks, - or a performance "
            "(talk, smile, turn, blink, idle). Folders stand for what they hold.",
            show_default=False,
        ),
    ],
    driver: Annotated[
        list[str] | None,
        typer.Option(
            help="A driver, as above, or a folder of images as one clip; repeat for more.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="out.mp4, frames/%05d.png, a folder for several, or - for raw rgb24 frames.",
            show_default=False,
        ),
    ] = None,
    set_: moving.Settings = None,
    transfer: moving.Transferred = moving.Transfer.auto,
    expression_scale: moving.ExpressionScale = 1.0,
    pose_scale: moving.PoseScale = 1.0,
    parts: Annotated[
        str, typer.Option(help="Motion that is taken over, of face,lips,eyes,pose.")
    ] = "face,lips,eyes,pose",
    crop: Annotated[Crop, typer.Option(help="The whole photo, or the square around the head.")] = Crop.full,
    size: Annotated[
        int | None,
        typer.Option(
            min=64, max=2048, help="Pixels of the longer side (default for photos: 512).", show_default=False
        ),
    ] = None,
    mouth: Annotated[
        Mouth,
        typer.Option(
            help="Inside of an open mouth: the photo's own where it shows, generic, or the driver's."
        ),
    ] = Mouth.photo,
    background: Annotated[str, typer.Option(help="keep, white, black, blur, or a picture file.")] = "keep",
    live_smoothing: Annotated[
        bool, typer.Option(help="Every frame two frames after the driver's, instead of a window later.")
    ] = False,
    live: Annotated[
        bool,
        typer.Option(help="Standard input as it happens: frames that come too quickly are dropped."),
    ] = False,
    input_size: Annotated[
        str | None,
        typer.Option(help="WIDTHxHEIGHT: standard input is raw rgb24 frames.", show_default=False),
    ] = None,
    stream: Annotated[
        Stream, typer.Option(help="What standard output carries: raw rgb24 or y4m, which ffplay knows.")
    ] = Stream.raw,
    side_by_side: Annotated[
        bool, typer.Option(help="The driver's video to the left; of a performance, the photo.")
    ] = False,
    mark: Annotated[bool, typer.Option(help="Write 'synthetic' into the corner.")] = False,
    audio: moving.Audio = True,
    face: Annotated[
        str, typer.Option(help="Whose face in a photo: largest, center, or its number from the left.")
    ] = "largest",
    driver_face: Annotated[
        str, typer.Option(help="Whose face in a driver's video: as for --face.")
    ] = "largest",
    start: Annotated[float, typer.Option(min=0.0, help="Seconds into the driver to begin at.")] = 0.0,
    end: Annotated[
        float | None, typer.Option(help="Seconds into the driver to end at.", show_default=False)
    ] = None,
    fps: moving.Rate = None,
    max_frames: moving.MaxFrames = None,
    video: console.Video = None,
    threads: console.Threads = 0,
    device: console.Device = "cpu",
    json: console.Json = False,
    quiet: console.Quiet = False,
) -> None:
    """Make a photo (or an avatar) move like the driver: hair, shoulders, background and sound included."""
    from avatarkit.commands import reenactment

    reenactment.run(
        reenactment.Job(
            inputs=tuple(inputs),
            drivers=tuple(driver or ()),
            output=output,
            transfer=transfer.value,
            settings=tuple(set_ or ()),
            scales=(expression_scale, pose_scale),
            parts=tuple(part.strip() for part in parts.split(",") if part.strip()),
            crop=crop.value,
            size=size,
            mouth=mouth.value,
            background=background,
            side_by_side=side_by_side,
            audio=audio,
            face=face,
            driver_face=driver_face,
            start=start,
            end=end,
            mark=mark,
            live=live_smoothing,
            newest=live,
            input_size=input_size,
            y4m=stream.value == "y4m",
            fps=fps,
            max_frames=max_frames,
            video=video,
            threads=threads,
            device=device,
        ),
        json=json,
        quiet=quiet,
    )
