"""The ffmpeg binary that ships with imageio-ffmpeg: where it is, how paths reach it, what its complaints mean."""

from __future__ import annotations

import os
from pathlib import Path

from avatarkit.files.errors import AvatarkitError

PIPE = 1 << 20
"""Bytes that a pipe from or to ffmpeg holds (Linux): a frame at a time rather than a sixteenth of it."""


def executable() -> str:
    """Path of the ffmpeg binary. Raises AvatarkitError when there is none."""
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise AvatarkitError(
            "no ffmpeg found: reinstall imageio-ffmpeg or point IMAGEIO_FFMPEG_EXE at an ffmpeg binary"
        ) from error


def reading(path: Path) -> list[str]:
    """Arguments that open ``path`` as input.

    The ``file:`` scheme keeps names with colons or a leading dash from being taken for options or
    protocols, and the whitelist keeps a playlist from reaching out to the network.
    """
    return ["-nostdin", "-hide_banner", "-protocol_whitelist", "file", "-i", located(path)]


def located(path: Path) -> str:
    """``path`` as ffmpeg wants it, whatever letters it is made of."""
    return "file:" + os.path.abspath(path)


def reason(stderr: str) -> str:
    """The one line of ffmpeg's ``stderr`` that says why it failed (without addresses and file names)."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    for line in lines:
        for sign, meaning in KNOWN.items():
            if sign in line:
                return meaning
    for line in reversed(lines):
        if "rror" in line or "nvalid" in line:
            return line.split("] ", 1)[-1]
    return lines[-1].split("] ", 1)[-1] if lines else "no message"


KNOWN = {
    "No space left on device": "the disk is full",
    "File too large": "the file may not grow any further (disk quota or size limit)",
    "moov atom not found": "not a whole video: the file is truncated or something else under a video's name",
    "Invalid data found when processing input": "not a video ffmpeg can read",
    "matches no streams": "it holds no picture stream",
    "does not contain any stream": "it holds no picture stream",
    "Decoder not found": "its codec is unknown to this ffmpeg",
    "Permission denied": "permission denied",
}
