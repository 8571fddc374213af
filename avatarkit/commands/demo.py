"""``avatarkit demo``: everything at once on a person that the tool makes itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avatarkit.commands import console


@console.run
def command(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for what the demo makes.")] = Path(
        "demo"
    ),
    only_video: Annotated[bool, typer.Option("--only-video", help="Film the person and stop there.")] = False,
    seconds: Annotated[
        float, typer.Option(min=1.0, max=16.0, help="Length of the clip; the script has 16 seconds.")
    ] = 16.0,
    size: Annotated[int, typer.Option(min=128, max=2048, help="Pixels a side of the video.")] = 512,
    resolution: Annotated[int, typer.Option(min=32, max=1024, help="Pixels of the head crop to fit.")] = 256,
    minutes: Annotated[float, typer.Option(min=0.01, help="Time for fitting the avatar.")] = 1.6,
    seed: Annotated[int, typer.Option(help="Seed of the person's hair and of the fit.")] = 7,
    threads: console.Threads = 0,
    json: console.Json = False,
    quiet: console.Quiet = False,
) -> None:
    """Film a made-up person, then track, segment, fit, render and measure: no footage and no download needed.

    The person's true motion is known, so the tracking error is measured against it.
    """
    from avatarkit.commands import demonstration

    job = demonstration.Job(output, only_video, seconds, size, resolution, minutes, seed, threads)
    demonstration.run(job, json, quiet)
