"""Native operations: one file each with shape checks, autograd and dispatch; ``reference`` has the twins."""

from avatarkit.ops.native import retain_memory, set_threads

__all__ = ["retain_memory", "set_threads"]
