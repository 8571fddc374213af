"""Standard input and output as arguments, and outputs that appear only when they are whole."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from avatarkit.files.errors import AvatarkitError, UsageError

STANDARD = Path("-")


def temporary_beside(path: Path, suffix: str = "") -> Path:
    """An unused hidden name in ``path``'s folder, so that a rename to ``path`` cannot cross file systems.

    Raises AvatarkitError when the folder does not exist or ``path`` is a folder.
    """
    if path.is_dir():
        raise AvatarkitError(f"{path}: is a folder; give the name of a file")
    if not path.parent.is_dir():
        raise AvatarkitError(f"{path}: the folder {path.parent} does not exist; make it first")
    return path.parent / f".{path.name}.{secrets.token_hex(4)}.part{suffix}"


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path to write; rename it to ``path`` at the end, or remove it on any error."""
    temporary = temporary_beside(path, path.suffix)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def input_path(argument: Path | None, what: str) -> Path | None:
    """The file an input argument names, or None for standard input (``-``, or left out with something piped in).

    ``what`` names the thing in messages ("a track", "a video"). Raises UsageError when the argument is left
    out at a terminal, AvatarkitError when the file does not exist.
    """
    if argument is None or argument == STANDARD:
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError(f"no input: name {what}, or pipe one in")
        return None
    if not argument.exists():
        raise AvatarkitError(f"{argument}: no such file")
    return argument


@contextmanager
def input_stream(path: Path | None) -> Iterator[BinaryIO]:
    """The bytes of ``path``, or of standard input when it is None."""
    if path is None:
        yield sys.stdin.buffer
    else:
        if path.is_dir():
            raise AvatarkitError(f"{path}: is a folder, a file is needed")
        with open(path, "rb") as file:
            yield file


@contextmanager
def spooled(path: Path | None, suffix: str = "") -> Iterator[Path]:
    """A real file for ``path``: itself, or standard input copied to a temporary file when it is None.

    Raises AvatarkitError when standard input is empty.
    """
    if path is not None:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="avatarkit-") as folder:
        copy = Path(folder) / f"stdin{suffix}"
        with open(copy, "wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
        if copy.stat().st_size == 0:
            raise AvatarkitError("standard input is empty: the command before the pipe gave nothing")
        yield copy


@dataclass(frozen=True)
class Output:
    """Where a command's result goes: a file, or standard output when ``path`` is None."""

    path: Path | None
    chosen: bool = False
    """whether the name was made up here, so that the command should print it."""

    @property
    def stdout_free(self) -> bool:
        """Whether standard output is left for a summary."""
        return self.path is not None

    @property
    def name(self) -> str:
        """The name for summaries and messages."""
        return "-" if self.path is None else str(self.path)

    @contextmanager
    def file(self, suffix: str = "") -> Iterator[Path]:
        """A path to write the result to; renamed, or copied to standard output, at the end."""
        if self.path is not None:
            with atomic(self.path) as temporary:
                yield temporary
            return
        with tempfile.TemporaryDirectory(prefix="avatarkit-") as folder:
            temporary = Path(folder) / f"stdout{suffix}"
            yield temporary
            with open(temporary, "rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer, 1 << 20)
            sys.stdout.buffer.flush()

    @contextmanager
    def stream(self) -> Iterator[BinaryIO]:
        """A binary stream to write the result to, under the same promise as ``file``."""
        with self.file() as path, open(path, "wb") as stream:
            yield stream


def output(argument: Path | None, stem: str, verb: str, suffix: str) -> Output:
    """Where the result goes: ``argument``; ``-`` or a left-out argument that is piped on is standard output.

    At a terminal a left-out argument becomes ``<stem>.<verb><suffix>`` (``suffix`` with its dot) in the
    working directory; a stem that already ends in an earlier verb (``clip.track``) loses it. Raises
    UsageError when ``-`` would send binary data to a terminal.
    """
    terminal = sys.stdout is not None and sys.stdout.isatty()
    if argument == STANDARD:
        if terminal:
            raise UsageError("binary data is not written to a terminal: give -o FILE, or pipe the output on")
        return Output(None)
    if argument is not None:
        temporary_beside(argument)  # a wrong folder is told before the work, not after it
        return Output(argument)
    if not terminal:
        return Output(None)
    for known in ("track", "segment", "fit", "render", "reenact"):
        stem = stem.removesuffix(f".{known}")
    name = f"{stem}.{verb}{suffix}" if verb else f"{stem}{suffix}"
    return Output(Path(name), chosen=True)
