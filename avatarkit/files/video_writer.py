"""Writing H.264 videos: sound of the driver copied, marked as synthetic, whole or not at all."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
from numpy.typing import NDArray

from avatarkit import __version__
from avatarkit.files import ffmpeg
from avatarkit.files.errors import AvatarkitError
from avatarkit.files.probe import probe
from avatarkit.files.streams import temporary_beside
from avatarkit.ops import yuv

COPYABLE = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus"})
"""Sound that an mp4 can hold as it is; anything else is encoded as AAC."""

AHEAD = "rc-lookahead=10:mbtree=1"
"""What "superfast" leaves out and is worth its time: frames are weighed by how much later ones copy from them."""


class VideoWriter:
    """Context manager that writes [H, W, 3] uint8 sRGB frames to an H.264 yuv420p mp4 (BT.709, limited range).

    Odd sizes are padded by one repeated row or column. The sound of ``audio_from``, from ``audio_start``
    seconds on, is copied beside the pictures. ``synthetic`` marks the file in its metadata as made by this
    tool. The file appears under its name only when it is whole; on any error nothing is left behind.
    Raises AvatarkitError when ffmpeg fails (full disk included).
    """

    def __init__(
        self,
        path: Path | str,
        width: int,
        height: int,
        fps: float,
        audio_from: Path | None = None,
        audio_start: float = 0.0,
        synthetic: bool = True,
        crf: int = 17,
        preset: str = "superfast",
    ) -> None:
        self.path = Path(path)
        self.width, self.height, self.fps = width, height, fps
        self.audio_from, self.audio_start = audio_from, audio_start
        self.synthetic, self.crf, self.preset = synthetic, crf, preset
        self.frames = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None

    def __enter__(self) -> VideoWriter:
        suffix = self.path.suffix.lower()
        if suffix not in (".mp4", ".m4v", ".mov", ".mkv"):
            raise AvatarkitError(f"{self.path}: videos are written as .mp4 (or .mov, .mkv): give such a name")
        self._temporary = temporary_beside(self.path, suffix)
        even = (self.width + self.width % 2, self.height + self.height % 2)
        # said of the frames themselves: ffmpeg would convert what it believes to be of another color space
        tags = "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
        command = [
            ffmpeg.executable(), "-hide_banner", "-loglevel", "error", "-y", "-protocol_whitelist", "pipe",
            "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{even[0]}x{even[1]}", "-r", f"{self.fps:.6f}",
            "-i", "pipe:0", "-vf", tags,
            "-c:v", "libx264", "-preset", self.preset, "-crf", str(self.crf), "-x264-params", AHEAD,
            *self._metadata(), "-movflags", "+faststart", ffmpeg.located(self._temporary),
        ]  # fmt: skip
        try:
            self._errors = tempfile.TemporaryFile()
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pipesize=ffmpeg.PIPE,
            )
        except BaseException:  # Ctrl-C, too
            self._temporary.unlink(missing_ok=True)
            raise
        return self

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Append one [H, W, 3] uint8 frame."""
        if frame.shape != (self.height, self.width, 3) or frame.dtype != np.uint8:
            raise ValueError(
                f"expected [{self.height}, {self.width}, 3] uint8, got {frame.shape} {frame.dtype}"
            )
        if self.width % 2 or self.height % 2:
            frame = np.pad(frame, ((0, self.height % 2), (0, self.width % 2), (0, 0)), mode="edge")
        assert self._process is not None and self._process.stdin is not None
        try:
            self._process.stdin.write(yuv.from_rgb(frame, "bt709").data)
        except OSError as error:  # ffmpeg is gone: it has said why
            raise AvatarkitError(f"{self.path}: writing the video failed: {self._said()}") from error
        self.frames += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None and self._process.stdin is not None
        try:
            if kind is not None:
                self._process.kill()
                return
            failed = False
            try:
                self._process.stdin.close()
            except OSError:
                failed = True
            if self._process.wait() != 0 or failed:
                raise AvatarkitError(f"{self.path}: writing the video failed: {self._said()}")
            if self.frames == 0:
                raise AvatarkitError(f"{self.path}: there was no frame to write")
            self._add_sound()
            self._temporary.replace(self.path)
        finally:
            if not self._process.stdin.closed:
                with contextlib.suppress(OSError):  # the pipe is broken because the process was killed
                    self._process.stdin.close()
            self._process.wait()
            if self._errors is not None:
                self._errors.close()
            self._temporary.unlink(missing_ok=True)

    def _said(self) -> str:
        assert self._process is not None and self._errors is not None
        self._process.wait()
        self._errors.seek(0)
        return ffmpeg.reason(self._errors.read().decode("utf-8", "replace"))

    def _metadata(self) -> list[str]:
        if not self.synthetic:
            return ["-metadata", f"comment=Made with avatarkit {__version__}"]
        text = f"Synthetic media made with avatarkit {__version__}"
        return ["-metadata", f"comment={text}", "-metadata", f"description={text}"]

    def _add_sound(self) -> None:
        """Join the driver's sound to the finished pictures, cut to their length."""
        if self.audio_from is None:
            return
        info = probe(self.audio_from)
        if not info.has_audio:
            return
        joined = temporary_beside(self.path, self.path.suffix.lower())
        codec = ["copy"] if info.audio_codec in COPYABLE else ["aac", "-b:a", "160k"]
        command = [
            ffmpeg.executable(), "-nostdin", "-hide_banner", "-loglevel", "error", "-y", "-protocol_whitelist", "file",
            "-i", ffmpeg.located(self._temporary), "-ss", f"{self.audio_start:.6f}", "-i", ffmpeg.located(info.path),
            "-map", "0:v:0", "-map", "1:a:0", "-c:v", "copy", "-c:a", *codec, "-t", f"{self.frames / self.fps:.6f}",
            "-map_metadata", "0", *self._metadata(), "-movflags", "+faststart", ffmpeg.located(joined),
        ]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, check=False)
            if done.returncode != 0:
                said = ffmpeg.reason(done.stderr.decode("utf-8", "replace"))
                raise AvatarkitError(f"{self.path}: adding the sound of {info.path.name} failed: {said}")
            joined.replace(self._temporary)
        finally:
            joined.unlink(missing_ok=True)
