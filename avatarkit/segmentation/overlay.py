"""A video that shows a segmentation: labels tinted over the frame, the head matte's outline, the cut-out head."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.data.labels import PALETTE, decode
from avatarkit.files.errors import AvatarkitError
from avatarkit.files.track import Track
from avatarkit.files.video import VideoWriter, probe, read_frames_at
from avatarkit.segmentation.window import Window

Image = NDArray[np.uint8]
SIDE = 512
BEHIND = (90, 200, 120)
"""Color behind the cut-out head."""


def write_overlay(
    track: Track, source: Path, target: Path, progress: Callable[[dict[str, Any]], None] | None = None
) -> None:
    """Write an mp4 of the tracked frames' crops: labels with the head's outline left, the cut-out head right.

    Raises AvatarkitError when the track holds no mattes.
    """
    if track.mattes is None:
        raise AvatarkitError("the track holds no mattes: run 'avatarkit segment' on it first")
    info = probe(source)
    window = Window.of(track.crop, info.width, info.height, SIDE)
    at = {int(index): t for t, index in enumerate(track.frame)}
    with VideoWriter(
        target, 2 * window.size, window.size, info.fps, audio_from=source, synthetic=False
    ) as writer:
        for done, (index, frame) in enumerate(read_frames_at(source, at), 1):
            writer.write(pictured(window.canvas_of(frame), track.mattes[at[index]]))
            if progress is not None:
                progress({"stage": "drawing", "step": done, "steps": len(track)})


def pictured(canvas: Image, mattes: dict[str, bytes]) -> Image:
    """[S, 2 S, 3] of one crop [S, S, 3]: tinted labels, then the head before a plain color."""
    size = canvas.shape[0]
    if "head" not in mattes:
        return np.hstack([canvas // 2, np.full_like(canvas, BEHIND)])
    labels = cv2.resize(decode(mattes["labels"]), (size, size), interpolation=cv2.INTER_NEAREST)
    head = cv2.resize(decode(mattes["head"]), (size, size))
    tinted = np.asarray(cv2.addWeighted(canvas, 0.45, PALETTE[labels], 0.55, 0))
    tinted[labels == 0] = canvas[labels == 0]
    outline, _ = cv2.findContours((head > 127).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(tinted, outline, -1, (255, 255, 255), 1, cv2.LINE_AA)
    alpha = head[..., None].astype(np.float32) / 255
    alone = canvas * alpha + np.asarray(BEHIND, np.float32) * (1 - alpha)
    return np.hstack([tinted, alone.astype(np.uint8)])
