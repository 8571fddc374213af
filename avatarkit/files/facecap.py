"""Face capture as other tools write and read it: Live Link Face's CSV, and JSON lines with ARKit names.

The CSV is what Epic's Live Link Face app records: ``Timecode`` (HH:MM:SS:FF.fff), ``BlendShapeCount``, ARKit's 52
names in PascalCase, then yaw, pitch and roll of the head and of either eye. A JSON line is one flat object with the
same names in ARKit's own spelling and ``time`` in seconds. Angles are radians about the head's own axes: yaw to the
person's left, pitch down, roll to the person's right shoulder, applied in this order.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np
from numpy.typing import NDArray

from avatarkit.files.errors import AvatarkitError

Double = NDArray[np.float64]
SUFFIXES = (".csv", ".jsonl")
LONGEST = 1_000_000
"""Rows that are read at the most: more than four hours at 60 frames a second."""

# fmt: off
EXPRESSIONS: tuple[str, ...] = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeSquintLeft",
    "eyeWideLeft", "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight",
    "eyeSquintRight", "eyeWideRight", "jawForward", "jawRight", "jawLeft", "jawOpen", "mouthClose", "mouthFunnel",
    "mouthPucker", "mouthRight", "mouthLeft", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft",
    "mouthFrownRight", "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft", "mouthPressRight",
    "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight", "browDownLeft",
    "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff", "cheekSquintLeft",
    "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut",
)
"""ARKit's 52 expressions in the order of Live Link Face's columns."""
ANGLES: tuple[str, ...] = (
    "headYaw", "headPitch", "headRoll", "leftEyeYaw", "leftEyePitch", "leftEyeRoll",
    "rightEyeYaw", "rightEyePitch", "rightEyeRoll",
)
# fmt: on
COLUMNS = (*EXPRESSIONS, *ANGLES)
_SPELLED = {name.lower(): i for i, name in enumerate(COLUMNS)}


@dataclass(frozen=True)
class FaceCapture:
    """T frames of coefficients and angles, the columns of ``COLUMNS``."""

    time: Double
    """[T] seconds, ascending."""
    valid: NDArray[np.bool_]
    """[T] false where the face was lost; the values there mean nothing."""
    values: Double
    """[T, 61] coefficients in [0, 1], then angles in radians."""
    present: tuple[str, ...] = COLUMNS
    """the columns the file really had; the others are zero."""

    def __len__(self) -> int:
        return len(self.time)

    def columns(self, names: Sequence[str]) -> Double:
        """[T, N] the columns called ``names``."""
        return self.values[:, [COLUMNS.index(name) for name in names]]


def is_capture(path: Path) -> bool:
    """Whether the name is that of a face capture."""
    return path.suffix.lower() in SUFFIXES


def load_capture(path: Path) -> FaceCapture:
    """Read a capture (*.csv, *.jsonl). Raises AvatarkitError naming the line that cannot be read."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = _rows_of_json(path, file) if path.suffix.lower() == ".jsonl" else _rows_of_csv(path, file)
            return _capture(path, rows)
    except OSError as error:
        raise AvatarkitError(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise AvatarkitError(f"{path} is not a text file: give a Live Link Face CSV or JSON lines") from error


def _capture(path: Path, rows: Iterable[tuple[int, float, bool, dict[int, float]]]) -> FaceCapture:
    time: list[float] = []
    valid: list[bool] = []
    values: list[Double] = []
    seen: set[int] = set()
    for line, second, good, entries in rows:
        if len(time) >= LONGEST:
            raise AvatarkitError(f"{path} holds more than {LONGEST:,} frames: cut it")
        if time and second < time[-1]:
            raise AvatarkitError(f"{path}, line {line}: time runs backwards")
        row = np.zeros(len(COLUMNS))
        row[list(entries)] = list(entries.values())
        if not np.isfinite(row).all() or not math.isfinite(second):
            raise AvatarkitError(f"{path}, line {line}: a value is not a finite number")
        seen.update(entries)
        time.append(second)
        valid.append(good)
        values.append(row)
    if not any(column < len(EXPRESSIONS) for column in seen):
        raise AvatarkitError(
            f"{path} holds no frame with ARKit's expression names (jawOpen, eyeBlinkLeft ...)"
        )
    table = np.array(values)
    table[:, : len(EXPRESSIONS)] = table[:, : len(EXPRESSIONS)].clip(0, 1)
    present = tuple(COLUMNS[i] for i in sorted(seen))
    return FaceCapture(np.array(time) - time[0], np.array(valid), table, present)


def streamed(file: Iterable[str], comma: bool, name: str) -> Iterator[FaceCapture]:
    """Lines of a capture that is still being written, each as a capture of one frame.

    ``comma``: CSV, else JSON lines; ``name`` is what messages call it. Raises AvatarkitError naming the line that
    cannot be read.
    """
    path = Path(name)
    if not comma:
        rows = _rows_of_json(path, file)
    else:
        rows = ((line, 0.0, good, _numbers(path, line, cells)) for line, _, good, cells in _cells(path, file))
    for line, second, good, entries in rows:
        if good:
            yield _capture(path, [(line, second, good, entries)])
        else:
            yield FaceCapture(np.zeros(1), np.zeros(1, bool), np.zeros((1, len(COLUMNS))))


def _cells(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, str, bool, dict[int, str]]]:
    """Line number, timecode, whether there is a face, and the known cells of the rows of a CSV."""
    reader = csv.reader(lines)
    header = [name.strip().lower() for name in next(reader, [])]
    if "timecode" not in header:
        raise AvatarkitError(f"{path} has no column Timecode: give a CSV of Live Link Face")
    places = {at: _SPELLED[name] for at, name in enumerate(header) if name in _SPELLED}
    at_time = header.index("timecode")
    at_count = header.index("blendshapecount") if "blendshapecount" in header else None
    for row in reader:
        if not any(cell.strip() for cell in row):
            continue
        code = row[at_time] if at_time < len(row) else ""
        cells = {place: row[at].strip() for at, place in places.items() if at < len(row) and row[at].strip()}
        lost = at_count is not None and at_count < len(row) and row[at_count].strip() in ("0", "")
        yield reader.line_num, code, not lost and bool(cells), cells


def _rows_of_csv(path: Path, file: TextIO) -> Iterator[tuple[int, float, bool, dict[int, float]]]:
    rows = list(_cells(path, file))
    codes = [_timecode(path, line, code) for line, code, _, _ in rows]
    base = _base(max((code[1] for code in codes), default=0.0))
    for (line, _, good, cells), (second, part) in zip(rows, codes, strict=True):
        yield line, second + part / base, good, _numbers(path, line, cells)


def _timecode(path: Path, line: int, text: str) -> tuple[int, float]:
    """Whole seconds, and frames within the second."""
    match = re.fullmatch(r"\s*(\d+):(\d+):(\d+)[:;](\d+(?:\.\d+)?)\s*", text)
    if match is None:
        raise AvatarkitError(f"{path}, line {line}: '{text}' is not a timecode (HH:MM:SS:FF.fff)")
    hours, minutes, seconds = (int(part) for part in match.groups()[:3])
    return 3600 * hours + 60 * minutes + seconds, float(match[4])


def _base(most: float) -> int:
    """Frames a second that the timecodes count: the usual rate that holds the largest frame number seen."""
    return next((rate for rate in (24, 25, 30, 48, 50, 60, 120, 240) if most < rate), math.ceil(most) + 1)


def _rows_of_json(path: Path, file: Iterable[str]) -> Iterator[tuple[int, float, bool, dict[int, float]]]:
    for line, text in enumerate(file, 1):
        if not text.strip():
            continue
        try:
            entry = json.loads(text)
        except ValueError as error:
            raise AvatarkitError(f"{path}, line {line}: not JSON") from error
        if not isinstance(entry, dict) or not isinstance(entry.get("time"), int | float):
            raise AvatarkitError(f"{path}, line {line}: needs an object with 'time' in seconds")
        known = {_SPELLED[name.lower()]: value for name, value in entry.items() if name.lower() in _SPELLED}
        good = bool(entry.get("valid", True)) and bool(known)
        yield line, float(entry["time"]), good, _numbers(path, line, known)


def _numbers(path: Path, line: int, cells: dict[int, Any]) -> dict[int, float]:
    try:
        return {place: float(cell) for place, cell in cells.items()}
    except (TypeError, ValueError) as error:
        raise AvatarkitError(f"{path}, line {line}: {error}") from error


def save_capture(capture: FaceCapture, suffix: str, fps: float, stream: BinaryIO) -> None:
    """Write ``capture`` as ``.csv`` with timecodes for ``fps``, or as ``.jsonl``."""
    for line in _lines(capture, suffix.lower(), fps):
        stream.write(line.encode())


def _lines(capture: FaceCapture, suffix: str, fps: float) -> Iterator[str]:
    if suffix == ".jsonl":
        for time, good, row in zip(capture.time, capture.valid, capture.values, strict=True):
            entry: dict[str, Any] = {"time": round(float(time), 6), "valid": bool(good)}
            if good:
                entry |= {name: round(float(value), 6) for name, value in zip(COLUMNS, row, strict=True)}
            yield json.dumps(entry) + "\n"
        return
    base = _base(math.ceil(fps - 1e-6) - 1)
    yield _line(["Timecode", "BlendShapeCount", *(name[0].upper() + name[1:] for name in COLUMNS)])
    for time, good, row in zip(capture.time, capture.valid, capture.values, strict=True):
        thousandths = round(float(time) * base * 1000)
        whole, part = divmod(thousandths, base * 1000)
        code = f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}:{part // 1000:02d}.{part % 1000:03d}"
        cells = [f"{value:.8f}" for value in row] if good else [""] * len(COLUMNS)
        yield _line([code, str(len(COLUMNS) if good else 0), *cells])


def _line(cells: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
