"""Loading mediapipe: quietly, and without what only its drawing helpers and its Tasks would use (half a second).

Everything here may be called by several threads at once.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import TextIO

_lock = threading.Lock()
_hushed = threading.Lock()
_hushing = 0
_heard: _Aside | None = None


def solution(name: str) -> ModuleType:
    """The module ``mediapipe.python.solutions.<name>``.

    While mediapipe is imported for the first time, empty modules stand in for ``matplotlib`` and its ``pyplot`` and
    for mediapipe's own Tasks, as far as they are not there already; afterwards importing them gives everybody else
    the real ones.
    """
    with _lock:
        if "mediapipe" not in sys.modules:
            stood = []
            for package, part in (("matplotlib", "pyplot"), ("mediapipe.tasks", "python")):
                if package not in sys.modules:
                    stood += _stand_in(package, part)
            try:
                mediapipe = import_module("mediapipe")
            finally:
                for module in stood:
                    if sys.modules.get(module.__name__) is module:
                        del sys.modules[module.__name__]
            if getattr(mediapipe, "tasks", None) in stood:
                del mediapipe.tasks
                mediapipe.__getattr__ = _asked_for  # type: ignore[method-assign]
        return import_module(f"mediapipe.python.solutions.{name}")


def _stand_in(package: str, part: str) -> list[ModuleType]:
    """Empty modules under the names ``package`` and ``package.part``."""
    whole, inner = ModuleType(package), ModuleType(f"{package}.{part}")
    setattr(whole, part, inner)
    sys.modules[whole.__name__], sys.modules[inner.__name__] = whole, inner
    return [whole, inner]


def _asked_for(name: str) -> ModuleType:
    """``mediapipe.tasks`` for those who ask for it after all."""
    if name != "tasks":
        raise AttributeError(f"module 'mediapipe' has no attribute '{name}'")
    tasks = import_module("mediapipe.tasks.python")
    sys.modules["mediapipe"].tasks = tasks  # type: ignore[attr-defined]
    return tasks


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keep mediapipe's C++ start-up chatter, which ignores Python's logging, off standard error.

    Its messages are no warnings a user could act on; errors arrive as exceptions. Only loading is to be covered.
    The first thread that comes in turns standard error off, the last that leaves turns it on again. What Python
    itself writes to ``sys.stderr`` meanwhile, in whichever thread, is still heard.
    """
    _hush(1)
    try:
        yield
    finally:
        _hush(-1)


def _hush(step: int) -> None:
    global _hushing, _heard
    with _hushed:
        if _hushing == 0:
            _heard = _Aside()
        _hushing += step
        if _hushing == 0 and _heard is not None:
            _heard.back()


class _Aside:
    """The process's standard error led to nowhere, and Python's past that to where it has always gone."""

    def __init__(self) -> None:
        self._usual = sys.stderr
        self._past: TextIO | None = None
        self._number: int | None = None
        if self._usual is not None:
            self._usual.flush()
        try:
            self._number = os.dup(2)
        except OSError:  # no standard error at all
            return
        if _number(self._usual) == 2:
            self._past = open(  # noqa: SIM115 (who took it from sys.stderr may still write when it is put back)
                os.dup(2), "w", buffering=1, encoding=self._usual.encoding, errors=self._usual.errors
            )
            sys.stderr = self._past
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)

    def back(self) -> None:
        """Undo it."""
        if self._number is None:
            return
        if sys.stderr is not None:
            sys.stderr.flush()
        os.dup2(self._number, 2)
        os.close(self._number)
        if self._past is not None and sys.stderr is self._past:
            sys.stderr = self._usual


def _number(stream: TextIO | None) -> int | None:
    """The file descriptor behind ``stream``; None where there is none."""
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError, AttributeError):  # a test's, or a notebook's
        return None
