"""Loading mediapipe: quietly, and without the plotting library that only its drawing helpers would use (half a second).

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

_lock = threading.Lock()
_hushed = threading.Lock()
_hushing = 0
_heard: int | None = None


def solution(name: str) -> ModuleType:
    """The module ``mediapipe.python.solutions.<name>``.

    While mediapipe is imported for the first time, empty modules stand in for ``matplotlib`` and its ``pyplot``
    (unless it is there already); afterwards ``import matplotlib`` gives the library itself to everybody else.
    """
    with _lock:
        if "mediapipe" not in sys.modules and "matplotlib" not in sys.modules:
            package, plots = ModuleType("matplotlib"), ModuleType("matplotlib.pyplot")
            package.pyplot = plots  # type: ignore[attr-defined]
            sys.modules[package.__name__], sys.modules[plots.__name__] = package, plots
            try:
                import_module("mediapipe")
            finally:
                for module in (package, plots):
                    if sys.modules.get(module.__name__) is module:
                        del sys.modules[module.__name__]
        return import_module(f"mediapipe.python.solutions.{name}")


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keep mediapipe's C++ start-up chatter, which ignores Python's logging, off standard error.

    Its messages are no warnings a user could act on; errors arrive as exceptions. Only loading is to be covered.
    The first thread that comes in turns standard error off, the last that leaves turns it on again.
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
            sys.stderr.flush()
            try:
                _heard = os.dup(2)
            except OSError:  # no standard error at all
                _heard = None
            else:
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, 2)
                os.close(nowhere)
        _hushing += step
        if _hushing == 0 and _heard is not None:
            sys.stderr.flush()
            os.dup2(_heard, 2)
            os.close(_heard)
