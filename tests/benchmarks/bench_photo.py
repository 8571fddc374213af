"""Self-reenactment and speed of the method ``photo``: ``python tests/benchmarks/bench_photo.py [clip ...] [frames]``.

Each clip's most neutral frame, cut to a square of 512 pixels, is the photo; frames spread over the rest drive it
and are what it is measured against. No driver pixels are used. The unmoved photo is the reference of the same run.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.data.clip import landmark_boxes
from avatarkit.files.images import write_image
from avatarkit.files.video import read_frames_at
from avatarkit.heads.landmarks import OVAL
from avatarkit.methods import registry
from avatarkit.methods.driving import neutral_frame
from avatarkit.methods.photo import config
from avatarkit.methods.registry import Drive, Subject
from avatarkit.ops import set_threads
from avatarkit.segmentation.pipeline import segment
from avatarkit.tracking import track

SIZE = 512
Image = NDArray[np.uint8]
Points = NDArray[np.float32]


def psnr(a: Image, b: Image, where: NDArray[np.bool_] | None = None) -> float:
    """In dB, over the pixels ``where``."""
    error = np.square(a.astype(np.float64) - b)
    mean = error.mean() if where is None else error[where].mean()
    return float(10 * np.log10(255**2 / max(mean, 1e-9)))


def regions(points: Points) -> list[NDArray[np.bool_] | None]:
    """Whole frame, head (the face's hull grown by a third), mouth, and both eyes, as masks [SIZE, SIZE]."""
    head = np.zeros((SIZE, SIZE), np.uint8)
    oval = points[list(OVAL), :2]
    center = oval.mean(0)
    cv2.fillPoly(head, [np.round(center + 1.33 * (oval - center)).astype(np.int32)], 1)
    masks = []
    for x0, y0, x1, y1 in landmark_boxes(points[:, :2]):
        mask = np.zeros((SIZE, SIZE), np.bool_)
        mask[max(0, int(y0)) : int(y1) + 1, max(0, int(x0)) : int(x1) + 1] = True
        masks.append(mask)
    return [None, head > 0, masks[0], masks[1] | masks[2]]


def measured(clip: Path, count: int) -> None:
    """Print the row of one clip, and that of the photo left unmoved."""
    found = track(clip)
    neutral = neutral_frame(found)
    valid = np.flatnonzero(found.valid)
    valid = valid[valid != neutral]
    rows = valid[np.linspace(0, len(valid) - 1, count).round().astype(int)]
    frames = dict(read_frames_at(clip, sorted({int(found.frame[t]) for t in [neutral, *rows]})))
    height, width = frames[int(found.frame[neutral])].shape[:2]
    side = min(height, width)
    middle = found.landmarks[neutral, :468, :2].mean(0)
    left, top = (int(np.clip(middle[i] - side / 2, 0, (width, height)[i] - side)) for i in (0, 1))

    def cut(t: int) -> Image:
        part = frames[int(found.frame[t])][top : top + side, left : left + side]
        return np.asarray(cv2.resize(part, (SIZE, SIZE), interpolation=cv2.INTER_AREA))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.png"
        write_image(path, cut(neutral))
        began = time.perf_counter()
        subject = Subject(segment(track(path), path), path)
        avatar = registry.get("photo").fit(subject, config.make(size=SIZE), lambda note: None)
        prepared = time.perf_counter() - began
    motion = avatar.start(Drive.of(found, neutral))  # type: ignore[attr-defined]
    scores, still, times = [], [], []
    for t in rows:
        began = time.perf_counter()
        drawn = avatar.frame(Drive.of(found, t), motion)  # type: ignore[attr-defined]
        times.append(1000 * (time.perf_counter() - began))
        truth = cut(t)
        masks = regions((found.landmarks[t] - (left, top, 0)) * np.float32(SIZE / side))
        scores.append([psnr(drawn, truth, mask) for mask in masks])
        still.append([psnr(cut(neutral), truth, mask) for mask in masks])
    row = " ".join(f"{v:6.2f}" for v in np.mean(scores, 0))
    base = " ".join(f"{v:6.2f}" for v in np.mean(still, 0))
    print(
        f"{clip.stem:12} {row}  | {base}  | {np.median(times):6.1f} {min(times):6.1f} {prepared:6.2f}",
        flush=True,
    )


def main() -> None:
    """Print one table: PSNR in dB over frame, head, mouth and eyes, the unmoved photo's, and times."""
    set_threads(1)
    cv2.setNumThreads(1)
    given = sys.argv[1:]
    count = int(given.pop()) if given and given[-1].isdigit() else 60
    folder = Path(os.environ.get("AVATARKIT_SHARED", "../shared")) / "data"
    clips = [Path(name) for name in given] or sorted(folder.glob("person*.mp4"))
    print(f"{platform.processor() or platform.machine()}, one thread, {SIZE} x {SIZE}, {count} frames")
    print(
        "clip          frame   head  mouth   eyes  | unmoved: the same           | ms: median, best; preparation s"
    )
    for clip in clips:
        measured(clip, count)


if __name__ == "__main__":
    main()
