"""The work behind ``eval``: who is compared with what, on which frames, and how the result is shown."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avatarkit.commands import console, contest, scores, standings
from avatarkit.commands.contest import Job, distinct, is_avatar, span
from avatarkit.files.errors import AvatarkitError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from avatarkit.metrics.evaluate import Evaluation

    Image = NDArray[np.uint8]
    Positions = NDArray[np.int64]


def run(job: Job, json: bool, quiet: bool) -> dict[str, Any]:
    """Compare, print the table (with ``json`` the summary instead) and return the summary."""
    from avatarkit.ops.native import set_threads

    began = time.perf_counter()
    if job.threads:
        set_threads(job.threads)
    if job.markdown is not None and not job.compare:
        raise UsageError("--markdown writes the table of --compare: add that")
    for path in (job.csv, job.sheet, job.markdown):
        if path is not None:
            scores.check_writable(path)
    videos = job.track is None and _all_videos(job.inputs)
    if videos and job.compare:
        raise UsageError("--compare is for avatars: give them, and --track")
    if videos and len(job.inputs) < 2:
        raise UsageError(
            f"nothing to compare {job.inputs[0]} with: give a second video, or an avatar and --track"
        )
    if job.track is None and not videos:
        raise UsageError("an avatar is compared with a clip: name its track with --track FILE")
    evaluation, net = _evaluation(job, quiet)
    gallery = scores.Gallery(6) if job.sheet is not None else None
    with ExitStack() as stack:
        if videos:
            details = _compare_videos(job, evaluation, gallery, quiet)
        else:
            details = contest.compare(job, stack, evaluation, gallery, quiet)
    rows = evaluation.rows(details["split"])
    summary = {
        **details,
        "frames": evaluation.frames,
        "lpips_network": net,
        "seconds": round(time.perf_counter() - began, 2),
        "rows": rows,
    }
    lines = standings.standings(rows, details.get("avatars", {})) if job.compare else rows
    if job.compare:
        summary["standings"] = lines
    if job.csv is not None:
        scores.write_csv(job.csv, lines)
    if job.markdown is not None:
        standings.write_markdown(job.markdown, lines, summary)
    if gallery is not None and job.sheet is not None:
        gallery.write(job.sheet)
        summary["sheet"] = str(job.sheet)
    if json:
        console.emit_json(summary)
    elif job.compare:
        standings.print_standings(lines, summary)
    else:
        scores.print_table(rows, summary)
    return summary


def _evaluation(job: Job, quiet: bool) -> tuple[Evaluation, str | None]:
    """The metrics with the networks whose weights are at hand, and the name of LPIPS' backbone."""
    from avatarkit.metrics import csim, lpips
    from avatarkit.metrics.evaluate import Evaluation

    network = None
    if job.lpips != "none":
        wanted: Any = ("alex", "vgg", "squeeze") if job.lpips == "auto" else (job.lpips,)
        network = lpips.load(wanted, job.weights)
        if network is None and job.download:
            console.note(f"downloading {lpips.SOURCES[wanted[0]].url}", quiet)
            network = lpips.load(wanted, job.weights, download=True)
        if network is None and job.lpips != "auto":
            raise AvatarkitError(
                f"the weights of LPIPS-{job.lpips} are not there: add --download, or name --weights"
            )
        if network is None:
            console.note("LPIPS is left out: no weights at hand (--download fetches them)", quiet)
    return Evaluation(network, csim.load(job.weights)), None if network is None else network.backbone


def _all_videos(inputs: tuple[Path, ...]) -> bool:
    if not inputs:
        return False
    for path in inputs:
        if not path.exists():
            raise AvatarkitError(f"{path}: no such file")
    return not any(is_avatar(path) for path in inputs)


def _compare_videos(
    job: Job, evaluation: Evaluation, gallery: scores.Gallery | None, quiet: bool
) -> dict[str, Any]:
    """The second and further videos against the first: whole frames, and mouth and eyes where a face is found."""
    import numpy as np

    from avatarkit.files.video import probe, read_frames
    from avatarkit.methods.session import some
    from avatarkit.metrics.evaluate import Truth
    from avatarkit.tracking.detectors import FaceMesh

    infos = [probe(path) for path in job.inputs]
    first, count = infos[0], min(info.frames for info in infos)
    for info in infos[1:]:
        _tell_differences(first, info, quiet)
    start, end = span(job.frames, count) if job.frames not in (None, "all") else (0, count)
    names = distinct([path.stem for path in job.inputs[1:]])
    size = (first.width, first.height)
    streams = [
        read_frames(path, start, end, size=None if (info.width, info.height) == size else size)
        for path, info in zip(job.inputs, infos, strict=True)
    ]
    whole = np.ones((first.height, first.width), np.float32)
    frames = np.arange(start, end)
    chosen = {int(number): i for i, number in enumerate(some(frames, job.at_most or len(frames)))}
    with closing(FaceMesh()) as mesh, console.progress("comparing", len(chosen), quiet) as bar:
        for (index, truth), *others in zip(*streams, strict=False):
            if index not in chosen:
                continue
            pictures = {name: picture for name, (_, picture) in zip(names, others, strict=True)}
            faces = mesh.detect(truth)
            regions, points = {"frame": whole}, None
            if faces:
                points = faces[0].points[:, :2]
                regions.update(contest.detail_regions(points, whole))
            evaluation.add(Truth(index, truth, regions, points), pictures)
            if gallery is not None:
                gallery.offer(chosen[index], len(chosen), truth, pictures)
            bar.advance()
    if evaluation.frames == 0:
        raise AvatarkitError(f"{job.inputs[0]}: no frame in {job.frames}: the clip has {count}")
    return {"split": job.frames or "all", "truth": str(job.inputs[0])}


def _tell_differences(first: Any, other: Any, quiet: bool) -> None:
    if (other.width, other.height) != (first.width, first.height):
        console.note(
            f"{other.path.name}: {other.width}x{other.height} pixels, scaled to {first.width}x{first.height}",
            quiet,
        )
    if other.frames != first.frames:
        fewer = min(other.frames, first.frames)
        console.note(
            f"{other.path.name}: {other.frames} frames against {first.frames}: the first {fewer} count", quiet
        )
