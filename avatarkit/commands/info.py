"""``avatarkit info``: what a file is and how it came to be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from avatarkit.commands import console


@console.run
def command(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Track, avatar, head model, video, image folder or photo; '-' is standard input."
        ),
    ] = None,
    json: console.Json = False,
) -> None:
    """Explain a track, an avatar, a head model or a video."""
    from avatarkit.commands.describe import describe, show
    from avatarkit.files.streams import input_path, spooled

    with spooled(input_path(file, "a file")) as path:
        found = describe(path)
    if file is None or str(file) == "-":
        found["file"] = "standard input"
    if json:
        console.emit_json(found)
    else:
        show(found)
