"""Avatars, and videos of the same frames, judged on a track's clip beside two baselines."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avatarkit.commands import console, scores
from avatarkit.files.errors import AvatarkitError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from avatarkit.data.clip import ClipFrames
    from avatarkit.files.track import Track
    from avatarkit.methods.registry import Drive
    from avatarkit.methods.stage import Stage
    from avatarkit.metrics.evaluate import Evaluation, Truth

    Image = NDArray[np.uint8]
    Positions = NDArray[np.int64]
    Points = NDArray[np.float32]

BASELINES = ("mean_image", "nearest_frame")


@dataclass(frozen=True)
class Job:
    """The options of one ``eval``; see the command for their meaning."""

    inputs: tuple[Path, ...] = ()
    track: Path | None = None
    video: Path | None = None
    frames: str | None = None
    at_most: int | None = None
    holdout: float | None = None
    resolution: int | None = None
    lpips: str = "auto"
    weights: Path | None = None
    download: bool = False
    sheet: Path | None = None
    csv: Path | None = None
    compare: bool = False
    refit: bool = False
    certain: bool = False
    markdown: Path | None = None
    threads: int = 0
    device: str = "cpu"


@dataclass
class _Rival:
    """An avatar or a video to be judged; exactly one of ``stage`` and ``video`` is there."""

    name: str
    stage: Stage | None = None
    video: Path | None = None
    frames: Iterator[tuple[int, Image]] = field(default_factory=lambda: iter(()))
    seconds: list[float] = field(default_factory=list)
    """that each picture took"""

    def known(self) -> dict[str, Any]:
        """What ``standings`` shows of an avatar beside its quality."""
        if self.stage is None:
            return {}
        header = self.stage.avatar.header
        metrics = header.get("metrics") or {}
        spent = metrics.get("seconds")
        return {
            "method": header.get("method"),
            "fit_minutes": None if spent is None else spent / 60,
            "steps": metrics.get("steps"),
            "frames_per_second": 1 / max(statistics.median(self.seconds), 1e-9) if self.seconds else None,
            "train_psnr_head": metrics.get("train_psnr_head"),
        }


def compare(
    job: Job, stack: ExitStack, evaluation: Evaluation, gallery: scores.Gallery | None, quiet: bool
) -> dict[str, Any]:
    """Avatars (and videos of the same frames) against the head crops of a track's video, with the baselines."""
    import numpy as np

    from avatarkit.data.clip import ClipFrames
    from avatarkit.files.source import resolve_video
    from avatarkit.methods.session import some

    rivals = _rivals(job, stack)
    track = _track(job)
    source = resolve_video(track, job.video, job.track)
    stages = [rival.stage for rival in rivals if rival.stage is not None]
    share = job.holdout
    if share is None:
        share = float(stages[0].avatar.header.get("config", {}).get("holdout", 0.1)) if stages else 0.1
    chosen, training, split = _chosen(track, job.frames, share)
    chosen = some(chosen, job.at_most or len(chosen))
    if track.mattes is None:
        track = _segmented(track, source, quiet)
    resolution = job.resolution or max(
        (stage.resolution for stage in stages), default=min(int(track.crop[2]), 512)
    )
    needed = np.union1d(chosen, training)
    with console.progress("reading frames", len(needed), quiet) as bar:
        clip = stack.enter_context(ClipFrames(track, source, resolution, bar, needed))
    drives: dict[str, list[Drive | None]] = {}
    for rival in rivals:
        if rival.stage is not None:
            rival.stage, drives[rival.name] = at(rival.stage, track, quiet)
            if job.refit and not hasattr(rival.stage.avatar, "refitted"):
                console.note(f"{rival.name}: cannot be fitted to single frames: judged as tracked", quiet)
    _open_videos(rivals, track, chosen, quiet)
    baselines = _Baselines(clip, training, chosen)
    with console.progress("comparing", len(chosen), quiet) as bar:
        for i, position in enumerate(chosen):
            pictures = baselines.pictures(i)
            for rival in rivals:
                if job.refit:
                    _refit(rival, clip, drives, int(position))
                began = time.perf_counter()
                pictures[rival.name] = _picture(rival, clip, drives, int(position))
                rival.seconds.append(time.perf_counter() - began)
            truth = _truth(clip, int(position), job.certain)
            evaluation.add(truth, pictures)
            if gallery is not None:
                shown = {rival.name: pictures[rival.name] for rival in rivals}
                gallery.offer(i, len(chosen), truth.rgb, shown)
            bar.advance()
    return {
        "split": split, "refit": job.refit, "truth": str(source), "resolution": resolution,
        "training_frames": len(training),
        "avatars": {rival.name: rival.known() for rival in rivals if rival.stage is not None},
    }  # fmt: skip


def _rivals(job: Job, stack: ExitStack) -> list[_Rival]:
    from avatarkit.files.streams import STANDARD, input_path, spooled
    from avatarkit.methods.stage import Stage

    rivals = []
    paths = job.inputs or (STANDARD,)
    names = distinct(["avatar" if path == STANDARD else path.stem for path in paths])
    for path, name in zip(paths, names, strict=True):
        if path == STANDARD and job.track == STANDARD:
            raise UsageError("standard input cannot be both the avatar and the track: name one of them")
        real = stack.enter_context(spooled(input_path(path, "an avatar")))
        if is_avatar(real):
            rivals.append(_Rival(name, stage=Stage.load(real, job.device)))
        else:
            rivals.append(_Rival(name, video=real))
    return rivals


def _track(job: Job) -> Track:
    from avatarkit.files.streams import input_path, input_stream
    from avatarkit.files.track import load_track

    path = input_path(job.track, "a track")
    if path is not None:
        return load_track(path)
    with input_stream(None) as stream:
        return load_track(stream)


def _chosen(track: Track, frames: str | None, share: float) -> tuple[Positions, Positions, str]:
    """(positions to compare on, training positions, name of the split)."""
    import numpy as np

    from avatarkit.data.clip import split, valid_positions

    training, heldout = split(track, share)
    name = frames or "heldout"
    if name == "heldout":
        chosen = heldout
    elif name == "train":
        chosen = training
    elif name == "all":
        chosen = valid_positions(track)
    else:
        start, end = span(name, int(track.frame[-1]) + 1)
        chosen = valid_positions(track)
        chosen = chosen[(track.frame[chosen] >= start) & (track.frame[chosen] < end)]
    if len(chosen) == 0:
        raise AvatarkitError(f"no valid frame to compare on in '{name}': choose others with --frames")
    return np.asarray(chosen, np.int64), training, name


def _segmented(track: Track, source: Path, quiet: bool) -> Track:
    from avatarkit.segmentation import segment

    console.note("the track holds no mattes: segmenting it for the comparison", quiet)
    with console.progress("segmenting", len(track), quiet) as bar:
        return segment(track, source, None, bar)


def at(stage: Stage, track: Track, quiet: bool) -> tuple[Stage, list[Drive | None]]:
    """The stage as the track's camera sees it, and the drives of the track as tracked (no transfer)."""
    import cv2
    import numpy as np

    from avatarkit.methods.driving import drives
    from avatarkit.rendering.camera import Camera

    video = track.meta["video"]
    own = stage.avatar.header.get("clip", {}).get("sha256") == video.get("sha256")
    if not own:
        console.note(
            "the avatar was fitted on another clip: its torso and background may not fit this one", quiet
        )
    camera = Camera(np.asarray(track.intrinsics, np.float32), int(video["width"]), int(video["height"]))
    crop = (int(track.crop[0]), int(track.crop[1]), int(track.crop[2]))
    plate, torso = stage.scene.plate, stage.scene.torso
    size = (camera.width, camera.height)
    if plate.shape[1::-1] != size:
        plate = np.asarray(cv2.resize(plate, size, interpolation=cv2.INTER_AREA), np.uint8)
        torso = (
            None
            if torso is None
            else np.asarray(cv2.resize(torso, size, interpolation=cv2.INTER_AREA), np.uint8)
        )
    scene = replace(stage.scene, plate=plate, torso=torso, crop=crop)
    return replace(stage, camera=camera, scene=scene), drives(track, stage.avatar.header, "absolute")


def _open_videos(rivals: list[_Rival], track: Track, chosen: Positions, quiet: bool) -> None:
    """Videos that are as long as the track are its frames one by one, others go by the frame's number."""
    from avatarkit.files.video import probe, read_frames_at

    video = track.meta["video"]
    for rival in rivals:
        if rival.video is None:
            continue
        info = probe(rival.video)
        by_row = info.frames == len(track)
        wanted = [int(p) if by_row else int(track.frame[p]) for p in chosen]
        size = (int(video["width"]), int(video["height"]))
        if (info.width, info.height) != size:
            console.note(
                f"{rival.video.name}: {info.width}x{info.height} pixels, scaled to {size[0]}x{size[1]}", quiet
            )
        rival.frames = read_frames_at(
            rival.video, wanted, None if (info.width, info.height) == size else size
        )


def _refit(rival: _Rival, clip: ClipFrames, drives: dict[str, list[Drive | None]], position: int) -> None:
    """Puts the frame's own pose and expression in place of the tracked ones, where the avatar can find them."""
    drive = drives.get(rival.name, [None] * (position + 1))[position]
    if rival.stage is None or drive is None or not hasattr(rival.stage.avatar, "refitted"):
        return
    drives[rival.name][position] = rival.stage.avatar.refitted(
        drive, clip.camera, clip.rgb(position), clip.head(position), clip.labels(position),
        clip.points(position), clip.visible,
    )  # fmt: skip


def _picture(rival: _Rival, clip: ClipFrames, drives: dict[str, list[Drive | None]], position: int) -> Image:
    if rival.stage is not None:
        drive = drives[rival.name][position]
        assert drive is not None  # only valid frames are compared
        return rival.stage.frame(drive, clip.resolution, "crop")
    from avatarkit.data.clip import crop_of

    return crop_of(next(rival.frames)[1], clip.crop, clip.resolution)


def _truth(clip: ClipFrames, position: int, certain: bool) -> Truth:
    """The frame's crop and its regions; only what lies inside the video frame counts."""
    import numpy as np

    from avatarkit.data.regions import certain_regions
    from avatarkit.metrics.evaluate import Truth

    left, top, right, bottom = clip.visible
    frame = np.zeros((clip.resolution, clip.resolution), np.float32)
    frame[top:bottom, left:right] = 1
    regions = {"head": frame * (clip.head(position).astype(np.float32) / 255), "frame": frame}
    scale = clip.resolution / clip.crop[2]
    landmarks = (clip.track.landmarks[position, :, :2] - np.asarray(clip.crop[:2], np.float32)) * scale
    regions.update(detail_regions(landmarks, frame))
    if certain:
        found = certain_regions(clip.head(position), landmarks)
        regions.update({name: weight * frame for name, weight in found.items()})
    return Truth(int(clip.track.frame[position]), clip.rgb(position), regions, landmarks)


def detail_regions(landmarks: Points, frame: Points) -> dict[str, Points]:
    """Weights [H, W] of the mouth's box and of both eyes' within ``frame`` [H, W]; ``landmarks`` [L, 2] pixels."""
    import numpy as np

    from avatarkit.data.clip import landmark_boxes

    boxes = landmark_boxes(landmarks)
    regions = {}
    for name, some in (("mouth", boxes[:1]), ("eyes", boxes[1:])):
        mask = np.zeros_like(frame)
        for box in some[np.isfinite(some).all(1)]:
            x0, x1 = np.clip(np.rint(box[[0, 2]]), 0, frame.shape[1]).astype(int)
            y0, y1 = np.clip(np.rint(box[[1, 3]]), 0, frame.shape[0]).astype(int)
            mask[y0:y1, x0:x1] = 1
        regions[name] = mask * frame
    return regions


class _Baselines:
    """The mean training image, and for each frame the training frame nearest by pose and expression."""

    def __init__(self, clip: ClipFrames, training: Positions, chosen: Positions) -> None:
        import numpy as np

        from avatarkit.metrics.evaluate import motion_features, nearest_rows

        self.clip = clip
        total = np.zeros((clip.resolution, clip.resolution, 3), np.float64)
        for position in training:
            total += clip.rgb(int(position))
        self.mean = np.rint(total / max(len(training), 1)).astype(np.uint8)
        track = clip.track
        features = motion_features(
            track.rotation,
            track.translation,
            track.expression,
            track.eyes,
            training,
            np.union1d(training, chosen),
        )
        self.nearest = nearest_rows(features, training, chosen)

    def pictures(self, i: int) -> dict[str, Image]:
        """Both for the i-th chosen frame."""
        return {"mean_image": self.mean, "nearest_frame": self.clip.rgb(int(self.nearest[i]))}


def is_avatar(path: Path) -> bool:
    """Whether the file begins as safetensors do: eight bytes of length, then JSON."""
    if path.suffix == ".safetensors":
        return True
    if path.is_dir():
        return False
    with open(path, "rb") as file:
        return file.read(10)[8:9] == b"{"


def span(text: str | None, count: int) -> tuple[int, int]:
    """Frame numbers [A, B) of ``A:B``, where either may be left out."""
    parts = (text or ":").split(":")
    try:
        if len(parts) != 2:
            raise ValueError(text)
        start = int(parts[0]) if parts[0] else 0
        end = int(parts[1]) if parts[1] else count
    except ValueError as error:
        raise UsageError(f"--frames {text}: give heldout, train, all, or A:B in frame numbers") from error
    if not 0 <= start < end:
        raise UsageError(f"--frames {text}: holds no frame")
    return start, min(end, count)


def distinct(stems: list[str]) -> list[str]:
    """Distinct names of the competitors, none of them a baseline's."""
    names: list[str] = []
    for stem in stems:
        name, n = stem, 2
        while name in names or name in BASELINES:
            name, n = f"{stem}#{n}", n + 1
        names.append(name)
    return names
