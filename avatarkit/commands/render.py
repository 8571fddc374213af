"""``avatarkit render``: an avatar and a driver to video, pictures or raw frames."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avatarkit.commands import console, moving


@console.run
def command(
    avatar: Annotated[Path, typer.Argument(help="Avatar (*.safetensors).", show_default=False)],
    driver: Annotated[
        str | None,
        typer.Option(
            help="Track, video (tracked on the fly), - for a track on standard input, face capture (*.csv, "
            "*.jsonl), or a built-in performance: talk, smile, turn, blink, idle."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="out.mp4, out.png, frames/%05d.png, or - for raw rgb24 frames."),
    ] = None,
    transfer: moving.Transferred = moving.Transfer.auto,
    set_: moving.Settings = None,
    yaw: Annotated[float, typer.Option(help="Turn the head to its left, degrees.")] = 0.0,
    pitch: Annotated[float, typer.Option(help="Bow the head, degrees.")] = 0.0,
    roll: Annotated[float, typer.Option(help="Tilt the head to its right shoulder, degrees.")] = 0.0,
    expression_scale: moving.ExpressionScale = 1.0,
    pose_scale: moving.PoseScale = 1.0,
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
    side_by_side: moving.SideBySide = False,
    fps: moving.Rate = None,
    max_frames: moving.MaxFrames = None,
    audio: moving.Audio = True,
    video: console.Video = None,
    threads: console.Threads = 0,
    identity: Annotated[
        int, typer.Option(min=0, help="Which avatar of a file that holds several, from 0.")
    ] = 0,
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
            identity=identity,
        ),
        json=json,
        quiet=quiet,
    )
