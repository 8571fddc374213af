"""Avatars on the held-out frames of their clip, region by region, beside the nearest training frame: PSNR / SSIM.

    python tests/benchmarks/bench_heldout.py TRACK.npz AVATAR.safetensors ... [--frames 40]

Any methods, as ``render --driver TRACK --camera crop`` draws them. Regions: ``head`` (the head matte), ``frame`` (the
whole crop, torso and plate), ``mouth`` and ``eyes`` (landmark boxes) are the design's own; ``above jaw`` is the head
above the jaw line with the matte eroded, ``face`` the hull of the landmarks, ``outside`` what the eroded matte leaves:
hair's edge, torso, plate. "transferable": driven by what every driver has, coefficients, gaze and pose, without the
clip's own torso and residual components.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from avatarkit.data.clip import ClipFrames, split
from avatarkit.data.regions import certain_regions
from avatarkit.files.source import resolve_video
from avatarkit.files.track import Track
from avatarkit.files.track_io import load_track
from avatarkit.methods.driving import drives
from avatarkit.methods.session import some
from avatarkit.methods.stage import Stage
from avatarkit.metrics.evaluate import motion_features, nearest_rows
from avatarkit.metrics.image import mse, ssim_maps
from avatarkit.ops import set_threads

Float = NDArray[np.float32]
REGIONS = ("head", "above jaw", "face", "frame", "mouth", "eyes", "outside")
Scores = dict[str, tuple[float, float]]
"""Mean PSNR (dB, at most 100 a frame) and SSIM over the frames, by region."""


def regions(clip: ClipFrames, position: int) -> dict[str, Float]:
    """Weights [R, R] of the pixels of a frame; what lies beyond the video's edges counts nowhere."""
    matte, points, size = clip.head(position), clip.points(position), clip.resolution
    left, top, right, bottom = clip.visible
    seen = np.zeros((size, size), np.float32)
    seen[top:bottom, left:right] = 1
    boxes = []
    for box in clip.boxes(position):
        mask = np.zeros((size, size), np.float32)
        if np.isfinite(box).all():
            x0, y0, x1, y1 = np.clip(box, 0, size).round().astype(int)
            mask[y0:y1, x0:x1] = 1
        boxes.append(mask)
    found = {
        "head": matte.astype(np.float32) / 255,
        **certain_regions(matte, points),
        "frame": seen,
        "mouth": boxes[0],
        "eyes": np.maximum(boxes[1], boxes[2]),
    }
    return {name: weight * seen for name, weight in found.items()}


@torch.no_grad()
def scored(pictures: Iterable[tuple[int, Float]], clip: ClipFrames) -> Scores:
    """Of pictures [R, R, 3] in [0, 1] of the frames at given positions against the clip's own."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in REGIONS}
    for position, picture in pictures:
        ours, truth = (
            torch.from_numpy(np.ascontiguousarray(image, np.float32)).permute(2, 0, 1)[None]
            for image in (picture, clip.rgb(position).astype(np.float32) / 255)
        )
        similar = ssim_maps(ours, truth)[0].mean(1)[0].numpy()
        edge = (clip.resolution - similar.shape[0]) // 2
        for name, weight in regions(clip, position).items():
            inner = weight[edge:-edge, edge:-edge]
            if not inner.sum():
                continue
            error = float(mse(ours, truth, torch.from_numpy(weight)[None, None]))
            value = min(-10 * np.log10(max(error, 1e-10)), 100.0)
            found[name].append((value, float((similar * inner).sum() / inner.sum())))
    empty = (float("nan"), float("nan"))
    return {n: tuple(np.mean(v, 0)) if v else empty for n, v in found.items()}  # type: ignore[misc]


def nearest(clip: ClipFrames, training: NDArray[np.int64], positions: NDArray[np.int64]) -> Scores:
    """Of the training frame nearest by pose and expression."""
    track = clip.track
    rows = np.union1d(training, positions)
    motion = (track.rotation, track.translation, track.expression, track.eyes)
    chosen = nearest_rows(motion_features(*motion, training, rows), training, positions)
    shown = ((int(p), clip.rgb(int(r)) / np.float32(255)) for p, r in zip(positions, chosen, strict=True))
    return scored(shown, clip)


def driven(
    stage: Stage, track: Track, clip: ClipFrames, positions: NDArray[np.int64], anybody: bool
) -> Scores:
    """Of an avatar driven by the clip itself, or by that alone which ``anybody``'s track would say of it."""
    moves = drives(track, stage.avatar.header)

    def shown() -> Iterable[tuple[int, Float]]:
        for position in positions:
            move = moves[int(position)]
            assert move is not None
            if anybody:
                move = replace(move, torso=None, extra=None, landmarks=None)
            picture = stage.frame(move, clip.resolution, view="crop")
            if len(picture) != clip.resolution:
                size = (clip.resolution, clip.resolution)
                picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
            yield int(position), picture / np.float32(255)

    return scored(shown(), clip)


def line(name: str, found: Scores) -> str:
    """A row of the table."""
    return f"{name:34}" + "".join(f"{f'{p:.2f} / {s:.3f}':>15}" for p, s in found.values())


def main() -> None:
    """Parses the command line and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("track", type=Path)
    parser.add_argument("avatars", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=40, help="of the held-out ones, spread evenly")
    parser.add_argument("--holdout", type=float, default=0.1)
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    set_threads(given.threads)
    track = load_track(given.track)
    training, heldout = split(track, given.holdout)
    positions = some(heldout, given.frames)
    needed = np.union1d(training, positions)
    print(f"{given.track.stem:34}" + "".join(f"{name:>15}" for name in REGIONS))
    with ClipFrames(
        track, resolve_video(track, beside=given.track), given.resolution, positions=needed
    ) as clip:
        print(line("nearest training frame", nearest(clip, training, positions)), flush=True)
        for path in given.avatars:
            stage = Stage.load(path)
            for said, anybody in (("", False), (", transferable", True)):
                print(line(path.stem + said, driven(stage, track, clip, positions, anybody)), flush=True)


if __name__ == "__main__":
    main()
