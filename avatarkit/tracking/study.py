"""A person learned from a few frames, here or in another process.

Python runs one thread at a time: what is learned in this process holds up the frames that come meanwhile. The other
process, ``python -m avatarkit.tracking.study``, reads npz on standard input and writes it on standard output.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import numpy as np

from avatarkit.tracking import solver
from avatarkit.tracking.basis import Basis
from avatarkit.tracking.observed import Observations
from avatarkit.tracking.solver import Known, Motion, Settings

Record = TypeVar("Record")

NICENESS = 10
"""Of the other process: frames come first."""
ALONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Lesson:
    """What a person is learned from."""

    template: Basis
    seen: Observations
    settings: Settings
    most: int
    """frames the person is learned from; the motion is solved for all"""

    def learned(self) -> tuple[Basis, Motion]:
        """The person, and their motion in the frames seen."""
        rows = self.seen.sampled(self.most)
        person, known = solver.fit_person(
            self.template, self.seen.at(rows), self.settings, lambda share: None
        )
        known = Known(rows, known.expression)
        return person, solver.solve_motion(person, self.seen, self.settings, lambda share: None, known)


@dataclass
class Tutor:
    """Learns lessons in other processes, until it is told to ``stop``."""

    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _stopped: bool = field(default=False, init=False)

    def learned(self, lesson: Lesson) -> tuple[Basis, Motion] | None:
        """As of ``Lesson``, waiting for it; None where it was stopped or failed."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # of a program that ends meanwhile nobody wants to hear
            env={**os.environ, **ALONE},
            start_new_session=True,  # Ctrl-C is for us
        )
        if self._stopped:  # before there was anything to end
            self._process.kill()
        answer, _ = self._process.communicate(_packed(lesson))
        return _answered(answer) if self._process.returncode == 0 else None

    def stop(self) -> None:
        """Learn no further, now or later."""
        self._stopped = True
        if self._process is not None:
            self._process.kill()


def _packed(lesson: Lesson) -> bytes:
    parts = (
        _flat("template", lesson.template) | _flat("seen", lesson.seen) | _flat("settings", lesson.settings)
    )
    return _npz({**parts, "most": lesson.most})


def _answered(data: bytes) -> tuple[Basis, Motion]:
    found = _arrays(data)
    return _made(Basis, "person", found), _made(Motion, "motion", found)


def _flat(name: str, record: Any) -> dict[str, Any]:
    """Fields of a dataclass that are not None, by ``name.field``."""
    values = {f"{name}.{part.name}": getattr(record, part.name) for part in fields(record)}
    return {key: value for key, value in values.items() if value is not None}


def _made(kind: type[Record], name: str, found: Mapping[str, Any]) -> Record:
    """The inverse of ``_flat``."""
    values: dict[str, Any] = {}
    for part in fields(kind):  # type: ignore[arg-type]
        value = found.get(f"{name}.{part.name}")
        if value is not None:
            if value.ndim == 0:
                value = value.item()
            elif value.dtype.kind == "U":  # names
                value = tuple(value.tolist())
            values[part.name] = value
    return kind(**values)


def _npz(parts: Mapping[str, Any]) -> bytes:
    packed = io.BytesIO()
    np.savez(packed, **parts)
    return packed.getvalue()


def _arrays(data: bytes) -> dict[str, Any]:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return dict(arrays)


def main() -> None:
    """Learn what standard input holds."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    given = _arrays(sys.stdin.buffer.read())
    lesson = Lesson(
        _made(Basis, "template", given), _made(Observations, "seen", given),
        _made(Settings, "settings", given), int(given["most"]),
    )  # fmt: skip
    person, motion = lesson.learned()
    sys.stdout.buffer.write(_npz(_flat("person", person) | _flat("motion", motion)))


if __name__ == "__main__":
    main()
