"""Temporal jitter: how much the error of consecutive frames trembles."""

from __future__ import annotations

from collections import deque

from torch import Tensor


class Jitter:
    """Mean absolute second difference in time of the error image, in grey levels of [0, 1] (design section 7).

    Feed consecutive frames with ``add``; a gap in the frame numbers starts anew. The error image, and not
    the picture, is differenced, so that motion which the truth shows too costs nothing.
    """

    def __init__(self) -> None:
        self._recent: deque[tuple[int, Tensor, Tensor | None]] = deque(maxlen=3)
        self._sum = 0.0
        self._count = 0

    def add(self, index: int, pred: Tensor, truth: Tensor, mask: Tensor | None = None) -> None:
        """Take frame ``index``: images [C, H, W] in [0, 1] and a mask [1, H, W]."""
        if self._recent and index != self._recent[-1][0] + 1:
            self._recent.clear()
        self._recent.append((index, (pred - truth).float(), mask))
        if len(self._recent) < 3:
            return
        (_, before, _), (_, now, weight), (_, after, _) = self._recent
        second = (after - 2 * now + before).abs()
        if weight is None:
            self._sum += float(second.mean())
        else:
            total = float(weight.sum()) * second.shape[0]
            if total <= 0:
                return
            self._sum += float((second * weight).sum()) / total
        self._count += 1

    def value(self) -> float:
        """The mean over all triples of consecutive frames; NaN when there was none."""
        return self._sum / self._count if self._count else float("nan")


def jitter(pred: Tensor, truth: Tensor, mask: Tensor | None = None) -> float:
    """``Jitter`` of a whole run of frames [N, C, H, W]."""
    meter = Jitter()
    for i in range(pred.shape[0]):
        meter.add(i, pred[i], truth[i], None if mask is None else mask[i])
    return meter.value()
