"""Where inputs come from and outputs go, atomically; and downloads that are verified."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from avatarkit.files import home, streams
from avatarkit.files.errors import AvatarkitError, UsageError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Piped(io.StringIO):
    def __init__(self, data: bytes = b"") -> None:
        super().__init__()
        self.buffer = io.BytesIO(data)


def test_a_left_out_input_is_standard_input_unless_that_is_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "-a b.txt"
    file.write_bytes(b"x")
    monkeypatch.setattr(sys, "stdin", Terminal())
    with pytest.raises(UsageError, match="pipe one in"):
        streams.input_path(None, "a track")
    assert streams.input_path(file, "a track") == file
    with pytest.raises(AvatarkitError, match="no such file"):
        streams.input_path(tmp_path / "missing", "a track")
    monkeypatch.setattr(sys, "stdin", Piped(b"data"))
    assert streams.input_path(Path("-"), "a track") is None
    with streams.spooled(None, ".mp4") as copy:
        assert copy.suffix == ".mp4" and copy.read_bytes() == b"data"
    assert not copy.exists()
    monkeypatch.setattr(sys, "stdin", Piped(b""))
    with pytest.raises(AvatarkitError, match="empty"), streams.spooled(None):
        pass


def test_a_left_out_output_is_a_pipe_or_a_name_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal())
    made = streams.output(None, "clip.track", "segment", ".npz")
    assert made.path == Path("clip.segment.npz") and made.chosen and made.stdout_free
    with pytest.raises(UsageError, match="terminal"):
        streams.output(Path("-"), "clip", "track", ".npz")
    with pytest.raises(AvatarkitError, match="does not exist"):
        streams.output(tmp_path / "no" / "x.npz", "clip", "track", ".npz")
    piped = Piped()
    monkeypatch.setattr(sys, "stdout", piped)
    made = streams.output(None, "clip", "track", ".npz")
    assert made.path is None and not made.stdout_free and made.name == "-"
    with made.stream() as stream:
        stream.write(b"whole")
    assert piped.buffer.getvalue() == b"whole"
    piped.buffer.truncate(0)
    with pytest.raises(RuntimeError), made.stream() as stream:
        stream.write(b"half")
        raise RuntimeError
    assert piped.buffer.getvalue() == b""


def test_outputs_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out.bin"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), streams.atomic(path) as temporary:
        temporary.write_bytes(b"new")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
    with streams.atomic(path) as temporary:
        temporary.write_bytes(b"new")
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(AvatarkitError, match="folder"), streams.atomic(tmp_path):
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A local web server whose root holds ``weights.bin``."""
    root = tmp_path / "web"
    root.mkdir()
    (root / "weights.bin").write_bytes(b"w" * 100_000)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            """Says nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=root)) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()


def test_downloads_are_verified_kept_and_explained(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVATARKIT_HOME", str(tmp_path / "home"))
    right = hashlib.sha256(b"w" * 100_000).hexdigest()
    url = f"{server}/weights.bin"
    with pytest.raises(AvatarkitError, match="AVATARKIT_OFFLINE"):
        home.fetch("w.bin", url, right)
    monkeypatch.setenv("AVATARKIT_OFFLINE", "0")
    with pytest.raises(AvatarkitError, match="not the expected file"):
        home.fetch("w.bin", url, "0" * 64)
    assert home.find("w.bin") is None and list(home.home().iterdir()) == []
    path = home.fetch("w.bin", url, right)
    assert path.read_bytes() == b"w" * 100_000 and home.find("w.bin") == path
    monkeypatch.setenv("AVATARKIT_OFFLINE", "1")
    assert home.fetch("w.bin", url, right) == path  # no network needed any more
    path.write_bytes(b"tampered")
    with pytest.raises(AvatarkitError, match="SHA-256"):
        home.fetch("w.bin", url, right)
    monkeypatch.setenv("AVATARKIT_OFFLINE", "0")
    with pytest.raises(AvatarkitError, match=r"cannot be downloaded.*put it at"):
        home.fetch("x.bin", f"{server}/missing.bin", right)
    with pytest.raises(AvatarkitError, match=r"cannot be downloaded.*put it at"):
        home.fetch("y.bin", "http://127.0.0.1:9/closed", right)
