"""``avatarkit render``: an avatar and a driver to video, pictures or raw frames."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from avatarkit.commands import console


class Transfer(StrEnum):
    """How a driver's motion becomes the avatar's."""

    auto = "auto"
    relative = "relative"
    absolute = "absolute"


@console.run
def command(
    avatar: Annotated[Path, typer.Argument(help="Avatar (*.safetensors).", show_default=False)],
    driver: Annotated[
        str | None,
        typer.Option(
            help="Track, video (tracked on the fly), - for a track on standard input, or a built-in "
            "performance: talk, smile, turn, blink, idle."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="out.mp4, out.png, frames/%05d.png, or - for raw rgb24 frames."),
    ] = None,
    transfer: Annotated[
        Transfer,
        typer.Option(
            help="relative: the driver's change since its neutral frame, inside what the avatar has "
            "seen; absolute: as tracked; auto: absolute for the avatar's own clip."
        ),
    ] = Transfer.auto,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE of an expression; repeat for more.")
    ] = None,
    yaw: Annotated[float, typer.Option(help="Turn the head to its left, degrees.")] = 0.0,
    pitch: Annotated[float, typer.Option(help="Bow the head, degrees.")] = 0.0,
    roll: Annotated[float, typer.Option(help="Tilt the head to its right shoulder, degrees.")] = 0.0,
    expression_scale: Annotated[float, typer.Option(min=0.0, help="Factor on a driver's expression.")] = 1.0,
    pose_scale: Annotated[float, typer.Option(min=0.0, help="Factor on a driver's head motion.")] = 1.0,
    orbit: Annotated[
        float, typer.Option(help="Swing the camera this many degrees to both sides (head alone).")
    ] = 0.0,
    camera: Annotated[
        str,
        typer.Option(
            help="frame: the whole original frame; crop: the square head crop; view.json: a camera of your "
            "own (see the README)."
        ),
    ] = "frame",
    background: Annotated[
        str, typer.Option(help="plate (the clip's own), white, black, or a picture file.")
    ] = "plate",
    resolution: Annotated[
        int | None, typer.Option(min=16, max=2048, help="Pixels of the head crop (default: as fitted).")
    ] = None,
    side_by_side: Annotated[bool, typer.Option(help="The driver's video to the left.")] = False,
    fps: Annotated[
        float | None, typer.Option(min=1.0, max=240.0, help="Frame rate (default: the driver's).")
    ] = None,
    max_frames: Annotated[int | None, typer.Option(min=1, help="Stop after this many frames.")] = None,
    audio: Annotated[bool, typer.Option("--audio/--no-audio", help="Keep the driver's audio.")] = True,
    video: console.Video = None,
    threads: console.Threads = 0,
    device: console.Device = "cpu",
    json: console.Json = False,
    quiet: console.Quiet = False,
) -> None:
    """Render an avatar: with a driver a video, without one a still."""
    from avatarkit.commands import playback

    playback.run(
        playback.Job(
            avatar=avatar,
            driver=driver,
            output=output,
            transfer=transfer.value,
            settings=tuple(set_ or ()),
            turn=(yaw, pitch, roll),
            scales=(expression_scale, pose_scale),
            orbit=orbit,
            camera=camera,
            background=background,
            resolution=resolution,
            side_by_side=side_by_side,
            fps=fps,
            max_frames=max_frames,
            audio=audio,
            video=video,
            threads=threads,
            device=device,
        ),
        json=json,
        quiet=quiet,
    )
