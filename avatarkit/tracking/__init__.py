"""From video to track: landmarks, solver, smoothing."""

from __future__ import annotations

from avatarkit.tracking.options import TrackOptions
from avatarkit.tracking.tracker import track

__all__ = ["TrackOptions", "track"]
