"""What ``render`` and ``reenact`` share: the options that say how an avatar moves, and how frames reach the viewer."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avatarkit.files.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]

PERFORMANCES = ("talk", "smile", "turn", "blink", "idle")
"""Drivers that need no file."""


class Transfer(StrEnum):
    """How a driver's motion becomes the avatar's."""

    auto = "auto"
    relative = "relative"
    absolute = "absolute"


Transferred = Annotated[
    Transfer,
    typer.Option(
        "--transfer",
        help="relative: the driver's change since its neutral frame, inside what the avatar can show; "
        "absolute: the driver's own face; auto: absolute for the avatar's own clip, else relative.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="NAME=VALUE of an expression; repeat for more.", show_default=False),
]
ExpressionScale = Annotated[
    float, typer.Option("--expression-scale", min=0.0, help="Factor on the driver's expression.")
]
PoseScale = Annotated[
    float, typer.Option("--pose-scale", min=0.0, help="Factor on the driver's head motion.")
]
SideBySide = Annotated[bool, typer.Option("--side-by-side", help="The driver's video to the left.")]
Rate = Annotated[
    float | None,
    typer.Option("--fps", min=1.0, max=240.0, help="Frame rate (default: the driver's).", show_default=False),
]
MaxFrames = Annotated[
    int | None,
    typer.Option("--max-frames", min=1, help="Stop after this many frames.", show_default=False),
]
Audio = Annotated[bool, typer.Option("--audio/--no-audio", help="Keep the driver's audio.")]


def settings(pairs: tuple[str, ...]) -> dict[str, float]:
    """Coefficients by name of ``NAME=NUMBER`` texts. Raises UsageError for anything else."""
    values = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        try:
            values[name] = float(value)
        except ValueError as error:
            raise UsageError(f"--set {pair}: write NAME=NUMBER, as in --set jawOpen=.6") from error
    return values


def beside(left: Image, right: Image) -> Image:
    """[H, W + w, 3] two pictures next to each other, as high as ``right`` [H, W, 3]."""
    import cv2
    import numpy as np

    height = right.shape[0]
    width = max(1, round(left.shape[1] * height / left.shape[0]))
    scaled = cv2.resize(left, (width, height), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(np.hstack([scaled, right]).astype(np.uint8))


def has_sound(video: Path | None) -> bool:
    """Whether there is a video, and it has an audio track."""
    from avatarkit.files.video import probe

    return video is not None and probe(video).has_audio


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
