"""The 1-euro filter (Casiez, Roussel, Vogel, CHI 2012): smoothing that knows nothing of the future."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatarkit.heads import turns

Array = NDArray[np.floating]


class OneEuro:
    """An exponential average of values whose cutoff rises with their speed: still ones are smooth, quick ones late by
    a fraction of a frame.

    ``cutoff`` in hertz at rest, ``gain`` hertz per unit of speed (units per second), as the paper's f_cmin and beta.
    """

    SPEED_CUTOFF = 1.0
    """Hertz of the average over the speed itself (the paper's d_cutoff)."""

    def __init__(self, rate: float, cutoff: float, gain: float) -> None:
        self.rate, self.cutoff, self.gain = rate, cutoff, gain
        self.forget()

    def forget(self) -> None:
        """The next value begins anew."""
        self.last: Array | None = None
        """the last smoothed values"""
        self._speed: Array | float = 0.0

    def __call__(self, values: Array, steps: int = 1) -> Array:
        """``values`` smoothed (any shape, always the same), ``steps`` frames after the ones before."""
        if self.last is None:
            self.last = np.array(values)
            return self.last
        rate = self.rate / max(steps, 1)
        share = _share(self.SPEED_CUTOFF, rate)
        self._speed = self._speed + share * ((values - self.last) * rate - self._speed)
        # points move in space: their own speed, not that of each coordinate, tells how quick they are
        speed = np.abs(self._speed)
        share = _share(self.cutoff + self.gain * speed, rate)
        self.last = self.last + share * (values - self.last)
        return self.last


def _share(cutoff: Array | float, rate: float) -> Array:
    """Weight of the newest value in an exponential average of a ``cutoff`` in hertz."""
    phase = 2 * np.pi * np.asarray(cutoff) / rate
    return np.asarray(phase / (1 + phase))


class PoseFilter:
    """Poses (rotation [3, 3], translation [3]) through ``OneEuro``: turns as angles from the first one, places in the
    picture, and the logarithm of depth, which is seen only through size, three times as slowly."""

    def __init__(self, rate: float, strength: float) -> None:
        cutoff = 1.5 / max(strength, 1e-6)
        self._turn = OneEuro(rate, cutoff, 25.0)
        self._place = OneEuro(rate, cutoff, 60.0)
        self._depth = OneEuro(rate, cutoff / 3, 20.0)
        self._first: Array | None = None

    def forget(self) -> None:
        """The next pose begins anew."""
        for part in (self._turn, self._place, self._depth):
            part.forget()
        self._first = None

    def __call__(self, rotation: Array, translation: Array, steps: int) -> tuple[Array, Array]:
        """The pose smoothed, ``steps`` frames after the one before."""
        if self._first is None:
            self._first = rotation
        angles = self._turn(turns.between(self._first, rotation), steps)
        place = self._place(translation[:2] / translation[2], steps)
        depth = float(np.exp(self._depth(np.log(translation[2:]), steps))[0])
        smooth = turns.matrix_of(angles) @ self._first
        return smooth.astype(np.float32), np.array([*(place * depth), depth], np.float32)
