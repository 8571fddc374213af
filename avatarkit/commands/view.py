"""``avatarkit view``: an avatar in the browser, on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avatarkit.commands import console, moving
from avatarkit.files.errors import AvatarkitError, NoFaceError

if TYPE_CHECKING:
    from avatarkit.methods.stage import Stage
    from avatarkit.viewing.session import Clip


PERFORMED_FPS = 30.0
"""Frames a second of the built-in performances."""


@console.run
def command(
    avatar: Annotated[Path, typer.Argument(help="Avatar (*.safetensors).", show_default=False)],
    driver: Annotated[
        list[str] | None,
        typer.Option(
            help="Video, track or face capture to play; repeat for more. The built-in performances are there anyway.",
            show_default=False,
        ),
    ] = None,
    transfer: moving.Transferred = moving.Transfer.auto,
    max_frames: moving.MaxFrames = None,
    background: Annotated[
        str, typer.Option(help="plate (the clip's own), white, black, or a picture file.")
    ] = "plate",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0: any free one.")] = 8008,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page.")] = True,
    threads: console.Threads = 0,
    device: console.Device = "cpu",
    json: console.Json = False,
    quiet: console.Quiet = False,
) -> None:
    """Show an avatar in the browser: turn it, move its face, let it play a driver. Ctrl-C ends it."""
    from avatarkit.methods.stage import Stage
    from avatarkit.ops import set_threads
    from avatarkit.viewing.server import Server
    from avatarkit.viewing.session import Session

    set_threads(threads or moving.cores())
    stage = Stage.load(avatar, device).with_background(background)
    clips = [
        _clip(stage, name, transfer.value, max_frames, quiet)
        for name in (*(driver or ()), *moving.PERFORMANCES)
    ]
    try:
        server = Server(Session(stage, clips), port)
    except OSError as error:
        raise AvatarkitError(f"port {port} is taken ({error.strerror}): give another with --port") from error
    with server:
        if json:
            console.emit_json({"url": server.url, "clips": [clip.name for clip in clips]})
        else:
            typer.echo(server.url)
        console.note("Ctrl-C ends the viewer", quiet)
        if browser:
            typer.launch(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:  # the way to end it, not a failure
            console.note("", quiet)


def _clip(stage: Stage, driver: str, transfer: str, max_frames: int | None, quiet: bool) -> Clip:
    """The drives of one driver, made before anything is shown."""
    from avatarkit.commands import acting
    from avatarkit.methods.steering import Steering
    from avatarkit.viewing.session import Clip

    path = Path(driver)
    if not path.exists() and driver not in moving.PERFORMANCES:
        raise AvatarkitError(f"{driver}: no such file, and no performance ({', '.join(moving.PERFORMANCES)})")
    fps = None if path.exists() else PERFORMED_FPS
    wishes = acting.Wishes(transfer, Steering(), fps=fps, max_frames=max_frames)
    actor = acting.opened(driver, path, stage.avatar.header, wishes, stage.rigged)
    with actor, console.progress(f"following {path.name}", actor.frames, quiet) as bar:
        drives, last, waiting, lost = [], None, 0, 0
        for _, drive in actor.drives():
            lost += drive is None
            last = drive or last
            if last is None:
                waiting += 1
            else:
                drives += [last] * (1 + waiting)
                waiting = 0
            bar.advance()
        if not drives:
            raise NoFaceError(
                f"{driver}: the driver holds no usable face: give a clip in which it can be seen"
            )
        if lost:
            console.note(f"{path.name}: {lost} frames hold no usable face; the last good pose is held", quiet)
        ready = stage.begun(actor.neutral, actor.camera)
        return Clip(path.stem, actor.fps, drives, ready, actor.neutral is not None)
