"""Loading mediapipe without the plotting library that only its drawing helpers would use: half a second saved."""

from __future__ import annotations

import sys
import threading
from importlib import import_module
from types import ModuleType

_lock = threading.Lock()


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
