"""Segmentation: person and head mattes, and label maps, of tracked clips."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from avatarkit.segmentation.pipeline import SegmentOptions, segment

__all__ = ["SegmentOptions", "segment"]


def __getattr__(name: str) -> Any:
    """Import the work on first use, so that ``avatarkit --help`` stays quick."""
    if name in __all__:
        from avatarkit.segmentation import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
