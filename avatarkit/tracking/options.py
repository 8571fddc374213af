"""The options of a tracking run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from avatarkit.files.errors import UsageError


@dataclass(frozen=True)
class TrackOptions:
    """What to track and how; the defaults are those of ``avatarkit track``."""

    start: float = 0.0
    """seconds into the clip at which tracking begins."""
    end: float | None = None
    """seconds at which it ends; None: the clip's end."""
    max_frames: int | None = None
    """stop after this many frames."""
    fps: float | None = None
    """track at this rate instead of the clip's own, if it is lower."""
    crop: tuple[int, int, int] | None = None
    """x, y, size of the head crop instead of the one around the tracked head."""
    focal: float | None = None
    """focal length in pixels; None: FOCAL times the width."""
    head: str = "builtin"
    """head model: builtin, ict, or the path of a head file."""
    smooth: float = 1.0
    """factor on the smoothing over time; 0: none."""
    refine: bool = True
    """whether expression shapes are refined on the clip."""
    photometric: bool = True
    """whether poses are steadied by the picture of the skull (clips only)."""
    torso: bool = True
    """whether the torso is followed below the chin (clips only)."""
    embed: bool = False
    """whether the track carries the video's bytes."""
    face: str = "largest"
    """which face: largest, center, or its number from the left, beginning with 1."""
    detector: str = "mediapipe"
    """mediapipe, landmarker or face-alignment."""
    landmarker: Path | None = None
    """the Face Landmarker's task file; choosing one chooses that detector."""
    windows: int = 1
    """windows around the face over which mediapipe's landmarks are averaged: 1, 2 or 9."""

    def __post_init__(self) -> None:
        if self.start < 0 or (self.end is not None and self.end <= self.start):
            raise UsageError(
                f"--start {self.start:g} --end {self.end or 0:g}: the end must come after the start"
            )
        if self.max_frames is not None and self.max_frames < 1:
            raise UsageError(f"--max-frames {self.max_frames}: give at least 1")
        if self.fps is not None and not self.fps > 0:
            raise UsageError(f"--fps {self.fps:g}: give a positive rate")
        if self.focal is not None and not self.focal > 0:
            raise UsageError(f"--focal {self.focal:g}: give a positive number of pixels")
        if self.windows not in (1, 2, 9):
            raise UsageError(f"windows {self.windows}: give 1, 2 or 9")
        if self.smooth < 0:
            raise UsageError(f"--smooth {self.smooth:g}: give 0 or more")
        if self.crop is not None and self.crop[2] < 16:
            raise UsageError(
                f"--crop {','.join(map(str, self.crop))}: give X,Y,SIZE with a size of 16 or more"
            )
        if self.face not in ("largest", "center") and not (self.face.isdecimal() and int(self.face) > 0):
            raise UsageError(f"--face {self.face}: give largest, center, or a number from 1 on")

    def meta(self) -> dict[str, Any]:
        """The ``meta.options`` entry of a track."""
        values = asdict(self)
        values["landmarker"] = None if self.landmarker is None else self.landmarker.name
        return values


FOCAL = 1.6
"""Default focal length over the image's width: it is weakly observable from such clips, so it is fixed.

For an upright clip 1.6 times the width is a telephoto reading of a phone's lens; what is too long in the focal
length ends in the distance, and crops of a frame keep their geometry."""
