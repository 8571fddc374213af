"""Native operations: one file each with shape checks, autograd and dispatch; ``reference`` has the twins."""

from avatarkit.ops.native import set_threads

__all__ = ["set_threads"]
