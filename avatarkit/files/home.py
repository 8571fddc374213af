"""Where downloads and caches live, and the one way a file gets there."""

from __future__ import annotations

import hashlib
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

from avatarkit.files.errors import AvatarkitError
from avatarkit.files.streams import atomic

TIMEOUT = 20.0
"""Seconds without a byte after which a download is given up."""


def home() -> Path:
    """``$AVATARKIT_HOME``, or ``avatarkit`` in the platform's cache folder. Made when missing."""
    named = os.environ.get("AVATARKIT_HOME")
    if named:
        folder = Path(named).expanduser()
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Caches" / "avatarkit"
    elif sys.platform == "win32":
        folder = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "avatarkit"
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "avatarkit"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AvatarkitError(
            f"{folder}: cannot be made ({error.strerror}): set AVATARKIT_HOME elsewhere"
        ) from error
    return folder


def find(name: str) -> Path | None:
    """The file ``name`` in ``home()``, or None. Never touches the network."""
    path = home() / name
    return path if path.is_file() else None


def fetch(name: str, url: str, sha256: str) -> Path:
    """The file ``name`` in ``home()``, downloaded from ``url`` when it is not there, its SHA-256 verified.

    A partial or wrong download never appears under the name. ``AVATARKIT_OFFLINE=1`` forbids the network.
    Raises AvatarkitError, with what to do instead, when the file cannot be had or is another file.
    """
    path = home() / name
    by_hand = f"get {url} by other means and put it at {path}"
    if path.is_file():
        if _hash(path) != sha256:
            raise AvatarkitError(
                f"{path}: not the expected file (SHA-256 differs): remove it to download it anew"
            )
        return path
    if os.environ.get("AVATARKIT_OFFLINE", "") not in ("", "0"):
        raise AvatarkitError(f"{name} is not there and AVATARKIT_OFFLINE forbids downloads: {by_hand}")
    request = urllib.request.Request(url, headers={"User-Agent": "avatarkit"})
    digest = hashlib.sha256()
    with atomic(path) as temporary:
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response, open(temporary, "wb") as file:
                while block := response.read(1 << 20):
                    digest.update(block)
                    file.write(block)
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            cause = getattr(error, "reason", None) or error
            raise AvatarkitError(
                f"{name} cannot be downloaded ({cause}): connect once, or {by_hand}"
            ) from error
        if digest.hexdigest() != sha256:
            raise AvatarkitError(
                f"{name}: the download is not the expected file (SHA-256 differs): {by_hand}"
            )
    return path


def _hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
