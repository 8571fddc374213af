"""``avatarkit export``: tracks and avatars as other programs take them: captures, data sets, splats, meshes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avatarkit.commands import console, handing, moving
from avatarkit.files.errors import AvatarkitError, UsageError

if TYPE_CHECKING:
    from avatarkit.files.facecap import FaceCapture


class Layout(StrEnum):
    """Whose data set."""

    nerfstudio = "nerfstudio"
    nerfblendshape = "nerfblendshape"
    nerface = "nerface"


@console.run
def command(
    source: Annotated[
        Path | None,
        typer.Argument(
            help="Track (*.track.npz), face capture (*.csv, *.jsonl) or avatar (*.safetensors); left out or '-': a "
            "track (for .ply, .glb and .obj an avatar) on standard input.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="face.csv (Live Link Face), face.jsonl (JSON lines), me.glb (an animated head with a mesh), me.obj, "
            "me.ply (its mesh, or the splats of Gaussians), or a new folder for a data set.",
            show_default=False,
        ),
    ] = None,
    layout: Annotated[Layout, typer.Option(help="Whose data set goes into the folder.")] = Layout.nerfstudio,
    resolution: Annotated[int, typer.Option(min=16, max=2048, help="Pixels of a data set's pictures.")] = 512,
    holdout: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of the frames, the last ones, that is for testing.")
    ] = 0.1,
    set_: moving.Settings = None,
    yaw: Annotated[float, typer.Option(help="Avatars: turn the head to its left, degrees.")] = 0.0,
    pitch: Annotated[float, typer.Option(help="Avatars: bow the head, degrees.")] = 0.0,
    roll: Annotated[float, typer.Option(help="Avatars: tilt the head to its right shoulder, degrees.")] = 0.0,
    identity: Annotated[
        int, typer.Option(min=0, help="Avatars: which one of a file that holds several, from 0.")
    ] = 0,
    driver: Annotated[
        Path | None,
        typer.Option(help="Track that animates a .glb (default: no animation).", show_default=False),
    ] = None,
    texture: Annotated[int, typer.Option(min=64, max=8192, help="Pixels a side of a mesh's texture.")] = 1024,
    video: console.Video = None,
    json: console.Json = False,
    quiet: console.Quiet = False,
) -> None:
    """Hand tracks and avatars on to other programs.

    A track becomes face capture, or a data set with pictures and poses. An avatar becomes an animated head (.glb, by
    the method nha), or the mesh or the splats of one expression and pose.
    """
    from avatarkit.files import facecap, streams

    if output is None:
        raise UsageError(
            "no output: give -o face.csv, -o face.jsonl, -o me.glb, -o me.obj, -o me.ply, or -o FOLDER for a data set"
        )
    kind = output.suffix.lower()
    of_avatar = kind in handing.KINDS
    if not of_avatar and (set_ or yaw or pitch or roll or identity):
        raise UsageError(
            "--set, --yaw, --pitch, --roll and --identity are for avatars: give -o me.glb or me.ply"
        )
    if driver is not None and kind != ".glb":
        raise UsageError("--driver animates a .glb: give -o me.glb")
    given = streams.input_path(source, "an avatar" if of_avatar else "a track")
    if of_avatar:
        target = streams.output(output, "", "", kind)
        job = handing.Job(
            given, target, moving.settings(tuple(set_ or ())), (yaw, pitch, roll), identity, driver, texture
        )
        console.summary({**handing.run(job, kind), "output": target.name}, json, target, quiet)
        return
    if facecap.is_capture(output):
        target = streams.output(output, "", "", output.suffix)
        capture, fps = _capture(given)
        with target.stream() as stream:
            facecap.save_capture(capture, output.suffix, fps, stream)
        if capture.valid.mean() < 1:
            console.note(f"{(~capture.valid).sum()} of {len(capture)} frames hold no face: left empty", quiet)
        values: dict[str, Any] = {"frames": len(capture), "valid": int(capture.valid.sum()), "fps": fps}
        console.summary({**values, "output": target.name}, json, target, quiet)
        return
    if output.suffix:
        raise UsageError(f"{output}: name a .csv, .jsonl, .glb, .obj or .ply, or a folder without a dot")
    count = _dataset(given, output, layout.value, resolution, holdout, video, quiet)
    values = {"frames": count, "layout": layout.value, "resolution": resolution, "output": str(output)}
    console.summary(values, json, streams.Output(output), quiet)


def _capture(given: Path | None) -> tuple[FaceCapture, float]:
    from avatarkit.files import facecap, streams
    from avatarkit.files.track import load_track
    from avatarkit.rendering.captured import capture_of, rate_of

    if given is not None and facecap.is_capture(given):
        capture = facecap.load_capture(given)
        return capture, rate_of(capture)
    with streams.spooled(given) as path:
        track = load_track(path)
    return capture_of(track), float(track.meta["video"]["fps"])


def _dataset(
    given: Path | None,
    folder: Path,
    layout: str,
    resolution: int,
    holdout: float,
    video: Path | None,
    quiet: bool,
) -> int:
    """The data set, written beside the folder's name and moved there when it is whole; returns the pictures."""
    import shutil

    from avatarkit.data.datasets import write_dataset
    from avatarkit.files import streams
    from avatarkit.files.source import resolve_video
    from avatarkit.files.track import load_track

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise AvatarkitError(f"{folder}: there is something already: name a new folder")
    if not folder.absolute().parent.is_dir():
        raise AvatarkitError(f"{folder}: the folder {folder.parent} does not exist; make it first")
    with streams.spooled(given) as path:
        track = load_track(path)
        source = resolve_video(track, video, path)
        temporary = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            with console.progress("writing pictures", int(track.valid.sum()), quiet) as bar:
                count = write_dataset(track, source, temporary, layout, resolution, holdout, bar.advance)
            if folder.exists():
                folder.rmdir()
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return count
