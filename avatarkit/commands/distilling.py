"""The work behind ``distill``: teachers one by one, their students in one file."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avatarkit.commands import console, fitting
from avatarkit.files.errors import UsageError

if TYPE_CHECKING:
    from avatarkit.files.track import Track

SUMMARY = (
    "teacher_psnr",
    "teacher_psnr_frame",
    "teacher_ssim",
    "tested_frames",
    "steps",
    "seconds",
    "ms_per_step",
)


@dataclass(frozen=True)
class Job:
    """The options of one ``distill``; ``options`` are those of the method."""

    teachers: tuple[Path, ...]
    tracks: tuple[Path, ...]
    output: Path | None
    frames: int
    device: str
    options: dict[str, Any]


def run(job: Job, json: bool, quiet: bool) -> dict[str, Any]:
    """Teach a student for every teacher, write them, and print the summary, which is also returned."""
    from avatarkit.files import identities, streams
    from avatarkit.files.avatar import save_avatar
    from avatarkit.files.track_io import load_track
    from avatarkit.methods.gaussians import config as configs
    from avatarkit.methods.gaussians.distillation import distill
    from avatarkit.methods.stage import Stage

    if job.tracks and len(job.tracks) != len(job.teachers):
        raise UsageError(f"{len(job.tracks)} tracks for {len(job.teachers)} teachers: give one each, or none")
    config = configs.make(**job.options)
    target = streams.output(job.output, job.teachers[0].name.split(".")[0], "distill", ".safetensors")
    stages = [Stage.load(path, job.device) for path in job.teachers]
    tracks: list[Track | None] = [load_track(path) for path in job.tracks]
    tracks = tracks or [None] * len(stages)
    states, rows = [], []
    for path, stage, track in zip(job.teachers, stages, tracks, strict=True):
        with ExitStack() as stack:
            avatar = distill(stage, track, config, job.frames, fitting.reporter(stack, quiet))
        states.append(avatar.state())
        metrics = avatar.header["metrics"]
        rows.append({"teacher": path.name, **{key: metrics[key] for key in SUMMARY}})
    with target.stream() as out:
        save_avatar(out, *identities.together(states))
    summary = {"method": "gaussians", **rows[0], "output": target.name}
    if len(rows) > 1:
        summary = {"method": "gaussians", "students": rows, "output": target.name}
        for row in rows if not json else ():
            console.note("  ".join(f"{key} {value}" for key, value in row.items()), quiet)
    console.summary(
        {key: value for key, value in summary.items() if json or key != "students"}, json, target, quiet
    )
    return summary
