"""``avatarkit export``: tracks as face capture or data sets for other programs, captures as each other, splats."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avatarkit.commands import console, moving
from avatarkit.files.errors import AvatarkitError, UsageError

if TYPE_CHECKING:
    from avatarkit.files.facecap import FaceCapture
    from avatarkit.files.streams import Output


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
            help="Track (*.track.npz), face capture (*.csv, *.jsonl) or Gaussian avatar (*.safetensors); left out "
            "or '-': a track (for a .ply an avatar) on standard input.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="face.csv (Live Link Face), face.jsonl (JSON lines), me.ply (an avatar's 3D Gaussian splats), or a "
            "new folder for a data set.",
            show_default=False,
        ),
    ] = None,
    layout: Annotated[Layout, typer.Option(help="Whose data set goes into the folder.")] = Layout.nerfstudio,
    resolution: Annotated[int, typer.Option(min=16, max=2048, help="Pixels of a data set's pictures.")] = 512,
    holdout: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of the frames, the last ones, that is for testing.")
    ] = 0.1,
    set_: moving.Settings = None,
    yaw: Annotated[float, typer.Option(help="Splats: turn the head to its left, degrees.")] = 0.0,
    pitch: Annotated[float, typer.Option(help="Splats: bow the head, degrees.")] = 0.0,
    roll: Annotated[float, typer.Option(help="Splats: tilt the head to its right shoulder, degrees.")] = 0.0,
    identity: Annotated[
        int, typer.Option(min=0, help="Splats: which avatar of a file that holds several, from 0.")
    ] = 0,
    video: console.Video = None,
    json: console.Json = False,
    quiet: console.Quiet = False,
) -> None:
    """Hand tracks and avatars on to other programs.

    A track becomes face capture, or a data set with pictures and poses; a Gaussian avatar becomes the splats of one
    expression and pose.
    """
    from avatarkit.files import facecap, streams

    if output is None:
        raise UsageError("no output: give -o face.csv, -o face.jsonl, -o me.ply, or -o FOLDER for a data set")
    splats = output.suffix.lower() == ".ply"
    if not splats and (set_ or yaw or pitch or roll or identity):
        raise UsageError("--set, --yaw, --pitch, --roll and --identity are for splats: give -o me.ply")
    given = streams.input_path(source, "an avatar" if splats else "a track")
    if splats:
        target = streams.output(output, "", "", ".ply")
        written = _splats(given, target, moving.settings(tuple(set_ or ())), (yaw, pitch, roll), identity)
        console.summary({"gaussians": written, "output": target.name}, json, target, quiet)
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
        raise UsageError(f"{output}: name a .csv, a .jsonl, a .ply, or a folder without a dot")
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


def _splats(
    given: Path | None,
    target: Output,
    settings: dict[str, float],
    turn: tuple[float, float, float],
    identity: int,
) -> int:
    """Writes the splats of an avatar's expression and pose; returns how many."""
    from avatarkit.files import streams
    from avatarkit.files.avatar import load_avatar_file
    from avatarkit.files.identities import chosen
    from avatarkit.files.ply import save_splats
    from avatarkit.methods import registry
    from avatarkit.methods.driving import still

    with streams.spooled(given, ".safetensors") as path:
        tensors, header = chosen(*load_avatar_file(path), identity)
        name = streams.STANDARD if given is None else given
    kind: Any = registry.get(header["method"]).Avatar
    if not hasattr(kind, "splats"):
        raise AvatarkitError(
            f"{name}: an avatar by {header['method']} has no Gaussians to export: make some of it with "
            f"'avatarkit distill {name}' and export those"
        )
    mean, covariance, color, opacity = kind.from_state(tensors, header, "cpu").splats(
        still(header, settings, *turn)
    )
    with target.stream() as stream:
        return save_splats(mean, covariance, color, opacity, stream)


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
