"""``avatarkit eval``: avatars or videos against the truth, beside two baselines."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from avatarkit.commands import console


class Perceptual(StrEnum):
    """Which LPIPS."""

    auto = "auto"
    alex = "alex"
    vgg = "vgg"
    squeeze = "squeeze"
    none = "none"


@console.run
def command(
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Avatars, or videos. Without --track: the true video first, then those to judge.",
            show_default=False,
        ),
    ] = None,
    track: Annotated[
        Path | None,
        typer.Option(
            "--track", help="Track of the clip to compare with; '-' is standard input.", show_default=False
        ),
    ] = None,
    video: console.Video = None,
    frames: Annotated[
        str | None,
        typer.Option(
            help="heldout, train, all, or A:B in frame numbers of the video.", show_default="heldout"
        ),
    ] = None,
    at_most: Annotated[
        int | None,
        typer.Option(min=1, help="Judge this many of those frames, evenly spread.", show_default="all"),
    ] = None,
    holdout: Annotated[
        float | None,
        typer.Option(min=0.0, max=0.9, help="Share held out at the end.", show_default="as fitted"),
    ] = None,
    resolution: Annotated[
        int | None,
        typer.Option(min=32, max=2048, help="Pixels of the head crop.", show_default="the avatar's own"),
    ] = None,
    lpips: Annotated[
        Perceptual, typer.Option(help="Network of LPIPS; auto: the first whose weights are at hand.")
    ] = Perceptual.auto,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Folder with weights for LPIPS and CSIM (default: AVATARKIT_HOME).", show_default=False
        ),
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch the weights LPIPS lacks.")] = False,
    sheet: Annotated[
        Path | None, typer.Option(help="Picture of truth, avatars and errors to write.", show_default=False)
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="One line an avatar, with the time of its fit and its frames/s.")
    ] = False,
    refit: Annotated[
        bool,
        typer.Option(
            "--refit", help="Fit pose and expression to every frame first (avatars by nha; seconds each)."
        ),
    ] = False,
    certain: Annotated[
        bool,
        typer.Option(
            "--certain",
            help="Also where the matte leaves no doubt: the head above the jaw, the face, all outside the head.",
        ),
    ] = False,
    csv: Annotated[Path | None, typer.Option(help="Table to write as CSV.", show_default=False)] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="The table of --compare to write as Markdown.", show_default=False)
    ] = None,
    threads: console.Threads = 0,
    device: console.Device = "cpu",
    json: console.Json = False,
    quiet: console.Quiet = False,
) -> None:
    """Measure avatars on frames they have not seen, or one video against another."""
    from avatarkit.commands import comparison

    comparison.run(
        comparison.Job(
            inputs=tuple(inputs or ()), track=track, video=video, frames=frames, at_most=at_most, holdout=holdout,
            resolution=resolution, lpips=lpips.value, weights=weights, download=download, sheet=sheet, csv=csv,
            compare=compare, refit=refit, certain=certain, markdown=markdown,
            threads=threads, device=device,
        ),
        json=json,
        quiet=quiet,
    )  # fmt: skip
