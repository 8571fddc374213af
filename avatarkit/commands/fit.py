"""``avatarkit fit``: a track and its video to an avatar."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avatarkit.commands import console


@console.run
def command(
    context: typer.Context,
    track: Annotated[
        Path | None,
        typer.Argument(
            help="Track (*.track.npz), or a video, photo or folder of images, which is tracked first; left out or "
            "'-': a track on standard input.",
            show_default=False,
        ),
    ] = None,
    method: Annotated[str, typer.Option("--method", "-m", help="How to make the avatar.")] = "nerfblendshape",
    video: console.Video = None,
    output: console.Out = None,
    preset: Annotated[
        str | None, typer.Option(help="A method's bundle of options: fast, paper ...", show_default=False)
    ] = None,
    resolution: Annotated[
        int | None, typer.Option(help="Pixels a side of the square head crop.", show_default=False)
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Training iterations.", show_default=False)] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Stop after this time even if steps are left.", show_default=False)
    ] = None,
    rays: Annotated[int | None, typer.Option(help="Rays an iteration.", show_default=False)] = None,
    expressions: Annotated[
        int | None, typer.Option(help="Keep only the N most active coefficients.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of every draw.")] = 0,
    device: console.Device = "cpu",
    threads: console.Threads = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from OUTPUT.checkpoint.")] = False,
    checkpoint_every: Annotated[
        int, typer.Option(min=0, help="Also write OUTPUT.checkpoint every so many iterations.")
    ] = 0,
    holdout: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of the frames, the last ones, kept for measuring.")
    ] = 0.1,
    background: Annotated[
        str, typer.Option(help="Behind the head: plate (the clip's own), white, black or an image file.")
    ] = "plate",
    preview: Annotated[
        Path | None, typer.Option(help="PNG rewritten as the fit goes on.", show_default=False)
    ] = None,
    json: console.Json = False,
    quiet: console.Quiet = False,
    show_help: Annotated[
        bool, typer.Option("--help", "-h", help="Show this message, and the options of the method.")
    ] = False,
) -> None:
    """Make an avatar from a tracked clip or a photo; what is not tracked or segmented yet is so first.

    Options of the method itself (see ``fit --method NAME --help``) are given like the others.
    """
    from avatarkit.commands import fitting

    if show_help:
        typer.echo(context.get_help())
        typer.echo(fitting.method_help(method))
        return
    fitting.run(
        fitting.Job(
            words=((str(track),) if track else ()) + tuple(context.args),
            method=method,
            video=video,
            output=output,
            resume=resume,
            options={
                "preset": preset,
                "resolution": resolution,
                "steps": steps,
                "minutes": minutes,
                "rays": rays,
                "expressions": expressions,
                "seed": seed,
                "device": device,
                "threads": threads,
                "checkpoint_every": checkpoint_every,
                "holdout": holdout,
                "background": background,
                "preview": None if preview is None else str(preview),
            },
        ),
        json,
        quiet,
    )
