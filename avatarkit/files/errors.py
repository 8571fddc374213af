"""The errors a user can cause or meet, each with the exit code that scripts rely on."""

from __future__ import annotations


class AvatarkitError(Exception):
    """Work that failed for a reason the user can act on.

    The message is one line that says what is wrong and what to do about it; the command line prints
    it on standard error and leaves with ``exit_code``.
    """

    exit_code = 1


class UsageError(AvatarkitError):
    """Arguments that do not fit together (exit code 2)."""

    exit_code = 2


class NoFaceError(AvatarkitError):
    """The input holds no usable face (exit code 3)."""

    exit_code = 3
