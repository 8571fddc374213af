"""``avatarkit distill``: any avatar as a live one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avatarkit.commands import console


@console.run
def command(
    teachers: Annotated[
        list[Path], typer.Argument(help="Avatars to imitate; several become one file.", show_default=False)
    ],
    output: console.Out = None,
    track: Annotated[
        list[Path] | None,
        typer.Option(
            "--track",
            help="Track of a teacher's clip, whose motion and head are used; once for each teacher, in order.",
            show_default=False,
        ),
    ] = None,
    frames: Annotated[int, typer.Option(min=20, help="Pictures that each teacher draws.")] = 400,
    minutes: Annotated[
        float, typer.Option(min=0.0, help="Train each student for this time at most (0: no limit).")
    ] = 1.0,
    steps: Annotated[int, typer.Option(min=1, help="Training iterations.")] = 6000,
    count: Annotated[int, typer.Option(help="Gaussians of a student.")] = 10000,
    resolution: Annotated[
        int | None, typer.Option(help="Pixels a side of the head crop.", show_default="256")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of every draw.")] = 0,
    threads: console.Threads = 0,
    device: console.Device = "cpu",
    json: console.Json = False,
    quiet: console.Quiet = False,
) -> None:
    """Make an avatar that renders in real time of any other: its pictures teach a Gaussian student."""
    from avatarkit.commands import distilling

    distilling.run(
        distilling.Job(
            teachers=tuple(teachers), tracks=tuple(track or ()), output=output, frames=frames, device=device,
            options={
                "minutes": minutes, "steps": steps, "count": count, "seed": seed, "threads": threads,
                **({} if resolution is None else {"resolution": resolution}),
            },
        ),
        json,
        quiet,
    )  # fmt: skip
