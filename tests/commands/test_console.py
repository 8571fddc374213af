"""Exit codes, progress and summaries that every command shares."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from avatarkit.commands import console
from avatarkit.files.errors import AvatarkitError, NoFaceError, UsageError
from avatarkit.files.streams import Output


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (AvatarkitError("this went\nwrong: do that"), 1, "avatarkit: this went wrong: do that"),
        (UsageError("no"), 2, "avatarkit: no"),
        (NoFaceError("no face"), 3, "avatarkit: no face"),
        (KeyboardInterrupt(), 130, "avatarkit: interrupted"),
        (
            PermissionError(errno.EACCES, "Permission denied", "x.npz"),
            1,
            "avatarkit: x.npz: Permission denied",
        ),
        (OSError(errno.ENOSPC, "No space left on device", "x.npz"), 1, "avatarkit: x.npz: the disk is full"),
        (MemoryError(), 1, "avatarkit: out of memory"),
    ],
)
def test_errors_become_one_line_and_a_code(error: BaseException, code: int, words: str) -> None:
    @console.run
    def work() -> None:
        raise error

    app = typer.Typer()
    app.command()(work)
    result = CliRunner().invoke(app, [])
    assert result.exit_code == code
    assert result.stdout == "" and len(result.stderr.splitlines()) == 1 and result.stderr.startswith(words)


def test_a_programming_error_is_not_dressed_up() -> None:
    @console.run
    def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()


def test_summaries_are_one_line_of_plain_json(capsys: pytest.CaptureFixture[str]) -> None:
    values = {
        "a": np.float32(1.5),
        "b": float("nan"),
        "c": Path("x ü"),
        "d": (1, np.arange(2)),
        "output": "o.npz",
    }
    console.emit_json(values)
    console.emit_json(values, stdout_free=False)
    captured = capsys.readouterr()
    assert captured.out == captured.err and captured.out.count("\n") == 1
    assert json.loads(captured.out) == {"a": 1.5, "b": None, "c": "x ü", "d": [1, [0, 1]], "output": "o.npz"}
    console.summary(values, json=True, output=Output(None))
    assert capsys.readouterr().out == ""  # standard output carries the result itself
    console.summary(values, json=False, output=Output(Path("o.npz"), chosen=True))
    captured = capsys.readouterr()
    assert captured.out == "o.npz\n" and "a 1.5" in captured.err


def test_progress_is_plain_lines_without_a_terminal_and_nothing_when_quiet(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "PLAIN_EVERY", 0.0)
    for quiet in (False, True):
        with console.progress("tracking", 4, quiet) as bar:
            for i in range(4):
                bar.advance(loss=0.5 / (i + 1))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4 and lines[1].startswith("tracking: 2/4 (50 %") and lines[1].endswith("loss 0.25")
    monkeypatch.setattr(console, "PLAIN_EVERY", 60.0)
    with console.progress("tracking", None) as bar:
        bar({"stage": "reading", "step": 3, "steps": 9})
    assert capsys.readouterr().err == "" and (bar.done, bar.total) == (3, 9)


def test_progress_is_a_bar_at_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with console.progress("fitting", 10) as bar:
        bar.advance(10, loss=0.125)
    assert capsys.readouterr().out == ""
