"""Finds the compiled kernels, or says once that their plain-torch twins are used instead."""

from __future__ import annotations

import os
import sys
import warnings
from functools import cache
from types import ModuleType


@cache
def module() -> ModuleType | None:
    """The extension module, or None when it was not built or ``AVATARKIT_NATIVE=0`` asks for the twins."""
    if os.environ.get("AVATARKIT_NATIVE", "1") == "0":
        warnings.warn("AVATARKIT_NATIVE=0: the slow plain-torch kernels are used", stacklevel=2)
        return None
    try:
        from avatarkit.ops import _native  # type: ignore[attr-defined]
    except ImportError as error:
        warnings.warn(
            f"native kernels are not available ({error}): the slow plain-torch ones are used; "
            "reinstall with a C++ compiler to get them",
            stacklevel=2,
        )
        return None
    native: ModuleType = _native
    return native


def set_threads(threads: int) -> None:
    """Number of threads of the native kernels and of torch. Results are the same bits for the same number."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)
    else:  # loading it takes a second that not every command needs; it reads this when it is loaded
        os.environ["OMP_NUM_THREADS"] = str(threads)
    native = module()
    if native is not None:
        native.set_threads(threads)


@cache
def retain_memory() -> None:
    """Keeps memory that is freed inside the process from now on (glibc only). ``field_mlp`` calls it when it trains.

    A training step needs some 90 MB of large, short-lived tensors. The allocator would return each to the system
    and fault its pages in anew, which costs as much as the network's forward pass.
    """
    native = module()
    if native is not None:
        native.retain_memory()
