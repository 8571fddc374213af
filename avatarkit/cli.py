"""The command line: which commands exist. Each command lives in ``avatarkit/commands``."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from avatarkit import __version__
from avatarkit.commands import demo, distill, eval, export, fit, info, reenact, render, segment, track, view

app = typer.Typer(
    name="avatarkit",
    help="Make a drivable head avatar from a video, on a laptop CPU, and animate it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # help in boxes loads a Markdown parser: twice the time of everything else --help does
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"avatarkit {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Make a drivable head avatar from a video, on a laptop CPU, and animate it."""


app.command("track")(track.command)
app.command("segment")(segment.command)
app.command("fit", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(fit.command)
app.command("distill")(distill.command)
app.command("render")(render.command)
app.command("reenact")(reenact.command)
app.command("view")(view.command)
app.command("eval")(eval.command)
app.command("export")(export.command)
app.command("info")(info.command)
app.command("demo")(demo.command)


def main() -> None:
    """Entry point of the console script."""
    # Read when numpy is imported. Its matrices are small here: BLAS's threads would wait for one another, and spin
    # beside those of the commands.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    app()
