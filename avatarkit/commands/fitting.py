"""The work behind ``fit``: options to a config, track and mattes to a subject, progress, summary."""

from __future__ import annotations

import math
import sys
from contextlib import ExitStack
from dataclasses import MISSING, Field, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avatarkit.commands import console
from avatarkit.files.errors import UsageError

if TYPE_CHECKING:
    from avatarkit.files.track import Track
    from avatarkit.methods.registry import Progress

SUMMARY = (
    "steps", "seconds", "ms_per_step", "samples_per_second", "train_psnr_head", "heldout_psnr_head",
    "heldout_psnr_frame", "kept_step", "perceptual", "peak_rss_mb",
)  # fmt: skip
# Fields of a config that are options of the command itself, or not the user's business.
COMMON = {
    "preset", "resolution", "steps", "minutes", "rays", "expressions", "seed", "device", "threads", "resume",
    "checkpoint", "checkpoint_every", "holdout", "background", "preview",
}  # fmt: skip
DEFAULTS: dict[str, Any] = {
    "seed": 0, "device": "cpu", "threads": 0, "checkpoint_every": 0, "holdout": 0.1, "background": "plate",
    "resume": False,
}  # fmt: skip
# Names of the types in annotations, which stay text under postponed evaluation.
TYPES: dict[str, type] = {"int": int, "float": float, "bool": bool, "str": str}


@dataclass(frozen=True)
class Job:
    """The options of one ``fit``; ``options`` left at None keep the preset's value.

    ``words``: the track and options of the method, in any order.
    """

    words: tuple[str, ...]
    method: str
    video: Path | None
    output: Path | None
    resume: bool
    options: dict[str, Any]


def run(job: Job, json: bool, quiet: bool) -> dict[str, Any]:
    """Fit an avatar and print its summary, which is also returned. Raises AvatarkitError where it cannot be done."""
    from avatarkit.files import streams
    from avatarkit.files.avatar import save_avatar
    from avatarkit.files.source import resolve_video
    from avatarkit.files.track_io import load_track
    from avatarkit.methods import registry
    from avatarkit.methods.registry import Subject

    method = registry.get(job.method)
    argument, own = parse(job.words, method.Config)
    options = _known(job.options | {"resume": job.resume}, job.method, method.Config) | own
    config = _make(method, options)
    path = streams.input_path(argument, "a track")
    tracked = path is None or _is_track(path)
    if path is not None and not tracked:
        track, source = _tracked(path, quiet), path
    else:
        with streams.input_stream(path) as stream:
            track = load_track(path if path is not None else stream)
    stem = (path.name if path else str(track.meta.get("video", {}).get("name", "clip"))).split(".")[0]
    target = streams.output(job.output, stem, "fit", ".safetensors")
    if tracked:
        source = resolve_video(track, job.video, beside=path)
    checkpoint = Path(f"{target.path if target.path else stem + '.fit.safetensors'}.checkpoint")
    if hasattr(config, "checkpoint"):
        config = replace(config, checkpoint=str(checkpoint))
    if track.mattes is None:
        track = _segmented(track, source, quiet)
    with ExitStack() as stack:
        try:
            avatar = method.fit(Subject(track, source), config, reporter(stack, quiet))
        except KeyboardInterrupt:
            if checkpoint.exists():
                console.note(
                    f"the work so far is in {checkpoint}; the same command with --resume goes on", quiet
                )
            raise
    with target.stream() as out:
        save_avatar(out, *avatar.state())
    checkpoint.unlink(missing_ok=True)
    metrics = avatar.header.get("metrics", {})
    summary = {"method": job.method, **{key: metrics.get(key) for key in SUMMARY}, "output": target.name}
    console.summary(summary, json, target, quiet)
    return summary


def _is_track(path: Path) -> bool:
    """Whether the file is, or calls itself, a track; anything else is a video, a photo or a folder of images."""
    if path.is_dir():
        return False
    with open(path, "rb") as file:
        return file.read(2) == b"PK" or path.suffix == ".npz"


def _tracked(path: Path, quiet: bool) -> Track:
    from avatarkit.tracking import TrackOptions, track

    with console.progress("tracking", None, quiet) as bar:
        return track(path, TrackOptions(), bar)


def parse(words: tuple[str, ...], config: type) -> tuple[Path | None, dict[str, Any]]:
    """The track among ``words``, if any, and the method's options: ``--name value``, ``--name=value``, ``--flag`` or
    ``--no-flag``.

    Raises UsageError for names the method does not have and values of the wrong type.
    """
    known = {field.name: field for field in fields(config) if field.name not in COMMON}
    track: Path | None = None
    result: dict[str, Any] = {}
    left = list(words)
    while left:
        word = left.pop(0)
        name, equals, value = word[2:].partition("=")
        field = known.get(name.replace("-", "_"))
        negated = known.get(name.removeprefix("no-").replace("-", "_")) if name.startswith("no-") else None
        if not word.startswith("--") or (field is None and negated is None and Path(word).exists()):
            if track is not None:
                raise UsageError(f"unexpected argument '{word}'")
            track = Path(word)
        elif field is None and negated is not None and _type(negated) is bool and not equals:
            result[negated.name] = False
        elif field is None:
            raise UsageError(f"no such option: --{name} (see fit --help)")
        elif _type(field) is bool and not equals:
            result[field.name] = True
        else:
            if not equals:
                if not left:
                    raise UsageError(f"--{name} needs a value")
                value = left.pop(0)
            result[field.name] = _value(field, value)
    return track, result


def _value(field: Field[Any], text: str) -> Any:
    kind = _type(field)
    try:
        if kind is bool:
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[
                text.lower()
            ]
        return kind(text)
    except (ValueError, KeyError) as error:
        raise UsageError(f"--{field.name.replace('_', '-')} {text}: not a {kind.__name__}") from error


def _type(field: Field[Any]) -> type:
    return TYPES.get(field.type, str) if isinstance(field.type, str) else field.type


def method_help(name: str) -> str:
    """The options of a method beyond those of the command, one a line, and its presets with their differences."""
    from avatarkit.methods import registry

    method = registry.get(name)
    lines = [f"Options of {name}:", ""]
    for field in fields(method.Config):
        if field.name in COMMON:
            continue
        default = "" if field.default is MISSING else f" [{field.default}]"
        option = f"--{field.name.replace('_', '-')}"
        lines.append(f"  {option:26} {field.metadata.get('help', '')}{default}")
    presets = getattr(sys.modules[method.Config.__module__], "PRESETS", {})
    for preset, values in presets.items():
        shown = ", ".join(f"{key.replace('_', '-')} {value}" for key, value in values.items())
        lines += ["", f"  --preset {preset}: {shown or 'the defaults above'}"]
    return "\n".join(lines)


def _known(options: dict[str, Any], name: str, config: type) -> dict[str, Any]:
    """Those of the command's options that the method called ``name`` has; what was not given keeps its preset's value.

    Raises UsageError for one that was given, and that the method does not have.
    """
    has = {field.name for field in fields(config)}
    for key, value in options.items():
        if key not in has and value not in (None, DEFAULTS.get(key)):
            raise UsageError(f"--{key.replace('_', '-')}: {name} has no such option")
    return {key: value for key, value in options.items() if key in has and value is not None}


def _make(method: Any, options: dict[str, Any]) -> Any:
    """The method's config: through its module's ``make`` where it has presets, else from the fields it knows."""
    make = getattr(sys.modules[method.Config.__module__], "make", None)
    return method.Config(**options) if make is None else make(**options)


def _segmented(track: Track, source: Path, quiet: bool) -> Track:
    from avatarkit.segmentation import segment

    with console.progress("segmenting", len(track), quiet) as bar:
        return segment(track, source, None, lambda at: bar.to(at["step"]))


def reporter(stack: ExitStack, quiet: bool) -> Progress:
    """A progress callback that opens a new bar for every stage of the work."""
    bars: dict[str, console.Progress] = {}

    def report(at: dict[str, Any]) -> None:
        stage = str(at.get("stage", "fitting"))
        if stage not in bars:
            stack.close()
            bars[stage] = stack.enter_context(console.progress(stage, at.get("steps"), quiet))
        shown = {
            "loss": at.get("loss"),
            "held-out dB": at.get("heldout_psnr"),
            "samples/s": at.get("samples_per_second"),
            "left": None if at.get("seconds_left") is None else f"{at['seconds_left']:.0f} s",
        }
        given = {
            key: value
            for key, value in shown.items()
            if not (value is None or (isinstance(value, float) and math.isnan(value)))
        }
        bars[stage].to(at.get("step", 0), at.get("steps"), **given)

    return report
