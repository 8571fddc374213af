"""What every command shares: exit codes, messages, progress, summaries, options. Imports nothing heavy."""

from __future__ import annotations

import errno
import functools
import json
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

import typer

from avatarkit.files.errors import AvatarkitError

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.table import Table

    from avatarkit.files.streams import Output

P = ParamSpec("P")
R = TypeVar("R")

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")]
Json = Annotated[bool, typer.Option("--json", help="Print a machine-readable summary as the last line.")]
Out = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Where the result goes; '-' is standard output.", show_default=False),
]
Video = Annotated[
    Path | None,
    typer.Option("--video", help="The track's video, when it is no longer where it was.", show_default=False),
]
Device = Annotated[str, typer.Option("--device", help="cpu or cuda.")]
Threads = Annotated[
    int, typer.Option("--threads", min=0, help="Threads to use; 0: as many as there are cores.")
]

PLAIN_EVERY = 5.0
"""Seconds between progress lines when standard error is not a terminal."""


def run(work: Callable[P, R]) -> Callable[P, R]:
    """Decorator of a command: turn what can go wrong into one line on standard error and an exit code.

    AvatarkitError and its kin leave with their own code, errors of the operating system with 1, Ctrl-C with
    130; a reader that closed the pipe ends the command quietly with 0.
    """

    @functools.wraps(work)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            result = work(*args, **kwargs)
            sys.stdout.flush()
            return result
        except AvatarkitError as error:
            fail(str(error), error.exit_code)
        except KeyboardInterrupt:
            fail("interrupted", 130)
        except BrokenPipeError:
            # what is still buffered would raise once more when the interpreter shuts down
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise typer.Exit(0) from None
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            what = "the disk is full" if error.errno == errno.ENOSPC else (error.strerror or str(error))
            if error.errno == errno.ENOSPC:
                _abandon_stdout()
            fail(f"{where}{what}", 1)
        except MemoryError:
            fail("out of memory: use a lower --resolution or fewer frames", 1)
        raise AssertionError("unreachable")

    return guarded


def _abandon_stdout() -> None:
    """Drop what could not be written, so that the interpreter does not complain about it again at its end."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def fail(message: str, code: int = 1) -> None:
    """Print one line on standard error and leave with ``code``."""
    typer.echo("avatarkit: " + " ".join(message.split()), err=True)
    raise typer.Exit(code)


def note(message: str, quiet: bool = False) -> None:
    """A line for the user on standard error."""
    if not quiet:
        typer.echo(message, err=True)


def emit_json(summary: dict[str, Any], stdout_free: bool = True) -> None:
    """Print ``summary`` as one line of JSON on standard output when that is free, else on standard error.

    Paths become strings, numpy values Python's, numbers that are not finite null.
    """
    typer.echo(json.dumps(_plain(summary), ensure_ascii=False, allow_nan=False), err=not stdout_free)


def summary(values: dict[str, Any], json: bool, output: Output, quiet: bool = False) -> None:
    """End a command: with ``json`` the summary as one line of JSON, else the figures as a note on standard error.

    The name of the output is printed on standard output when it was made up here and ``json`` does not say it.
    """
    if json:
        emit_json(values, output.stdout_free)
        return
    shown = [
        f"{key} {_short(value)}" for key, value in values.items() if value is not None and key != "output"
    ]
    note("  ".join(shown), quiet)
    if output.chosen:
        typer.echo(output.name)
    elif output.path is not None:
        note(f"wrote {output.name}", quiet)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value


def show(table: Table, width: int = 140) -> None:
    """Print a rich table on standard output; ``width`` columns where that is no terminal and has no width."""
    from rich.console import Console

    class Screen(Console):
        """A console that leaves a closed pipe to ``run`` instead of exiting with 1 by itself."""

        def on_broken_pipe(self) -> None:
            """Called by rich while it handles the error."""
            raise BrokenPipeError

    screen = Screen()
    (screen if screen.is_terminal else Screen(width=width)).print(table)


def progress(title: str, total: int | None, quiet: bool = False) -> Progress:
    """A progress display for ``total`` steps (None: unknown), to be used in a ``with`` statement."""
    return Progress(title, total, quiet)


class Progress:
    """Progress on standard error: a bar at a terminal, else a plain line every few seconds; quiet: nothing.

    ``advance(n, loss=..., psnr=...)`` moves on and shows the fields beside the bar.
    """

    def __init__(self, title: str, total: int | None, quiet: bool = False) -> None:
        self.title, self.total, self.quiet = title, total, quiet
        self.done = 0.0
        self.fields: dict[str, Any] = {}
        self._bar: RichProgress | None = None
        self._last = self._begin = time.monotonic()

    def __enter__(self) -> Progress:
        self._last = self._begin = time.monotonic()
        if not self.quiet and sys.stderr is not None and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[shown]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self.title, total=self.total, shown="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, state: dict[str, Any]) -> None:
        """Follow work that reports ``{"step": ..., "steps": ...}`` (the callback of ``methods.registry``)."""
        self.to(float(state.get("step", self.done)), state.get("steps"))

    def advance(self, steps: float = 1, **fields: Any) -> None:
        """Move on by ``steps``; ``fields`` are shown until they are replaced."""
        self.to(self.done + steps, **fields)

    def to(self, done: float, total: int | None = None, **fields: Any) -> None:
        """Move to ``done`` steps (and perhaps another ``total``)."""
        self.done = done
        self.total = total if total is not None else self.total
        self.fields.update(fields)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=self.total, shown=self._shown())
        elif not self.quiet and time.monotonic() - self._last >= PLAIN_EVERY:
            self._last = time.monotonic()
            note(self._line())

    def _shown(self) -> str:
        return "  ".join(f"{k} {_short(v)}" for k, v in self.fields.items() if v is not None)

    def _line(self) -> str:
        line = f"{self.title}: {self.done:.0f}"
        if self.total:
            elapsed = time.monotonic() - self._begin
            left = elapsed * (self.total - self.done) / max(self.done, 1e-9)
            line += f"/{self.total} ({100 * self.done / self.total:.0f} %, {left:.0f} s left)"
        return f"{line}  {self._shown()}".rstrip()


def _short(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(_short(v) for v in value) or "none"
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
