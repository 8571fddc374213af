"""The face that ``reenact`` moves: an avatar from a file, or a photo made into one here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from avatarkit.commands import casting
from avatarkit.files.errors import NoFaceError, UsageError

if TYPE_CHECKING:
    from avatarkit.commands.reenactment import Job
    from avatarkit.methods.stage import Stage

SIZE = 512
"""Pixels of the longer side of what a photo becomes, where ``--size`` does not say."""


def prepared(job: Job, source: Path, quiet: bool) -> Stage:
    """The stage of an avatar file, or of a photo that is tracked, matted and prepared here.

    Raises NoFaceError where the photo shows no person.
    """
    from avatarkit.commands import console
    from avatarkit.methods.stage import Stage

    if casting.is_avatar(source):
        if job.mouth != "photo":
            raise UsageError(f"--mouth {job.mouth}: {source} is an avatar already; give the photo")
        stage = Stage.load(source, job.device)
        return _before(stage, job.background)
    from avatarkit.methods import registry
    from avatarkit.methods.photo import config
    from avatarkit.segmentation.pipeline import SegmentOptions, segment
    from avatarkit.tracking import TrackOptions, track

    with console.progress("preparing the photo", None, quiet) as bar:
        try:
            found = track(source, TrackOptions(face=job.face, refine=False, windows=9))
        except NoFaceError as error:
            raise NoFaceError(f"{source}: no person's face was found in the photo: give another") from error
        found = segment(found, source, SegmentOptions(parts=False))
        width, height = (int(found.meta["video"][key]) for key in ("width", "height"))
        longest = job.size or SIZE
        if job.crop == "head":  # the crop is to have that many pixels
            longest = round(longest * max(width, height) / max(int(found.crop[2]), 1))
        chosen = config.make(size=min(max(longest, 64), 4096), mouth=job.mouth)
        avatar = registry.get("photo").fit(registry.Subject(found, source), chosen, bar)
    return _before(Stage.of(avatar, {}), job.background)


def _before(stage: Stage, background: str) -> Stage:
    """The stage before another background: keep, white, blur, or a picture."""
    from avatarkit.rendering.backgrounds import behind

    return stage if background == "keep" else stage.before(lambda plate: behind(background, plate))
