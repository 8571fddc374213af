"""One person's landmarks frame by frame, as the frames come: what ``follow`` gathers, without the gathering."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avatarkit.heads.landmarks import COUNT
from avatarkit.tracking.detectors import MOST_FACES, LandmarkDetector
from avatarkit.tracking.follow import LOOK_AROUND, Chooser, Cutter, Image, _ahead, leaps
from avatarkit.tracking.torso import TorsoFollower

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Sight:
    """What was seen in one frame."""

    index: int
    """the frame's number in the clip."""
    points: Float
    """[478, 3] pixels of the image given; NaN where no face was found."""
    linked: bool
    """whether it continues the frame before: both hold a face and there is no cut between them."""
    torso: Float | None = None
    """[2, 3] the torso's similarity from the first frame with a face, pixels; None: not followed, or not seen."""
    torso_share: float = 0.0
    """of the points followed, those that agree with it."""

    @property
    def found(self) -> bool:
        """Whether there is a face."""
        return not bool(np.isnan(self.points[0, 0]))


def sights(
    frames: Iterable[tuple[int, Image]],
    open_detector: Callable[[int], LandmarkDetector],
    count_faces: Callable[[Image], int],
    face: str = "largest",
    torso: TorsoFollower | None = None,
) -> Iterator[Sight]:
    """See one person in ``frames``, a few of which are decoded ahead; nothing is kept.

    Arguments as of ``follow.follow``, and who follows the ``torso``, if anybody. The detector is closed when the
    iterator ends or is closed.
    """
    cutter, chooser = Cutter(), Chooser(face)
    many = face.isdecimal() and int(face) > 1
    detector = open_detector(MOST_FACES if many else 1)
    found_before = False
    try:
        for row, (index, image) in enumerate(_ahead(frames)):
            cut = cutter.cut(image)
            if cut:
                detector.reset()
                chooser.forget()
            if not many and (cut or row % LOOK_AROUND == 0) and count_faces(image) > 1:
                many = True
                detector.close()
                detector = open_detector(MOST_FACES)
            before = chooser.last
            chosen = chooser.choose(detector.detect(image), image.shape[1], image.shape[0])
            if chosen is None:
                found_before = False
                yield Sight(index, np.full((COUNT, 3), np.nan, np.float32), False)
                continue
            leapt = before is not None and leaps(before, chosen)
            body = None if torso is None else torso(image, chosen.points)
            yield Sight(index, chosen.points, found_before and not cut and not leapt, *(body or (None, 0.0)))
            found_before = True
    finally:
        detector.close()
