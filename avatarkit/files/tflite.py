"""Networks in TensorFlow Lite's files: their operators and their constants, as far as float networks need them.

A file is a FlatBuffer (google.github.io/flatbuffers) of the schema ``tensorflow/lite/schema/schema.fbs``; the numbers
of fields below are that schema's. Every operator has an ``Operator`` here; weights in half precision are floats.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[Any]
KINDS = {
    0: "add", 3: "convolution", 4: "depthwise", 6: "dequantize", 17: "max_pool", 18: "multiply", 22: "reshape",
    34: "pad", 45: "slice", 54: "prelu",
}  # fmt: skip
"""Operators by the schema's ``BuiltinOperator``."""
CUSTOM = 32
TYPES: dict[int, np.dtype[Any]] = {
    number: np.dtype(kind) for number, kind in enumerate(("<f4", "<f2", "<i4", "u1", "<i8"))
}


@dataclass(frozen=True)
class Operator:
    """One step of a network."""

    kind: str
    """of ``KINDS``, or a custom operator's own name."""
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    stride: int = 1
    """of convolutions."""
    options: dict[str, Any] = field(default_factory=dict)
    """of custom operators."""


@dataclass(frozen=True)
class Graph:
    """A network: its operators in an order in which they can be run, tensors by number."""

    operators: tuple[Operator, ...]
    constants: dict[int, Numbers]
    """weights, float32 where they are numbers."""
    shapes: tuple[tuple[int, ...], ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @cached_property
    def _takers(self) -> dict[int, list[Operator]]:
        takers: dict[int, list[Operator]] = {}
        for operator in self.operators:
            for tensor in dict.fromkeys(operator.inputs):
                takers.setdefault(tensor, []).append(operator)
        return takers

    def takers(self, tensor: int) -> list[Operator]:
        """The operators that take a tensor."""
        return self._takers.get(tensor, [])


def read(path: Path) -> Graph:
    """The first graph of a file, without the steps that only turn weights into floats.

    Raises ValueError for other files, and for networks with operators that are not listed here.
    """
    data = path.read_bytes()
    if data[4:8] != b"TFL3":
        raise ValueError(f"{path}: not a TensorFlow Lite file")
    model = _Table(data, struct.unpack_from("<I", data)[0])
    buffers = list(model.tables(4))
    graph = next(model.tables(2))
    tensors = list(graph.tables(0))
    shapes = tuple(tensor.integers(0) for tensor in tensors)
    codes = [_code(code) for code in model.tables(1)]
    halves: dict[int, int] = {}
    """weights that are floats in half precision before, by what they become"""
    operators = []
    for step in graph.tables(3):
        kind = codes[step.scalar(0, "I")]
        if kind == "dequantize":
            halves[step.integers(2)[0]] = step.integers(1)[0]
        else:
            operators.append(_operator(step, kind))
    constants: dict[int, Numbers] = {}
    for number in {number for operator in operators for number in operator.inputs}:
        tensor = tensors[halves.get(number, number)]
        raw = buffers[tensor.scalar(2, "I")].bytes(0)
        if raw:
            values = np.frombuffer(raw, TYPES[tensor.scalar(1, "b")]).reshape(shapes[number])
            constants[number] = values.astype(np.float32) if values.dtype == np.float16 else values
    return Graph(tuple(operators), constants, shapes, graph.integers(1), graph.integers(2))


class _Table:
    """A table of a FlatBuffer: fields by number, through the table of offsets that its first word points back to."""

    def __init__(self, data: bytes, place: int) -> None:
        self.data, self.place = data, place
        self.fields = place - struct.unpack_from("<i", data, place)[0]
        self.size = struct.unpack_from("<H", data, self.fields)[0]

    def _at(self, number: int) -> int:
        """Where a field lies; 0: it is left out."""
        slot = 4 + 2 * number
        offset = struct.unpack_from("<H", self.data, self.fields + slot)[0] if slot < self.size else 0
        return self.place + offset if offset else 0

    def _led(self, place: int) -> int:
        return int(place + struct.unpack_from("<I", self.data, place)[0])

    def scalar(self, number: int, kind: str) -> int:
        """A number of ``struct``'s ``kind``; 0 where it is left out."""
        place = self._at(number)
        return int(struct.unpack_from("<" + kind, self.data, place)[0]) if place else 0

    def table(self, number: int) -> _Table | None:
        """The table that a field holds."""
        place = self._at(number)
        return _Table(self.data, self._led(place)) if place else None

    def tables(self, number: int) -> Iterator[_Table]:
        """Those of a field that holds several."""
        place = self._at(number)
        start = self._led(place) if place else 0
        for i in range(struct.unpack_from("<I", self.data, start)[0] if place else 0):
            yield _Table(self.data, self._led(start + 4 + 4 * i))

    def bytes(self, number: int) -> bytes:
        """An array of bytes, text included."""
        place = self._at(number)
        if not place:
            return b""
        start = self._led(place)
        return self.data[start + 4 : start + 4 + struct.unpack_from("<I", self.data, start)[0]]

    def integers(self, number: int) -> tuple[int, ...]:
        """An array of 32-bit numbers."""
        place = self._at(number)
        if not place:
            return ()
        start = self._led(place)
        return struct.unpack_from(f"<{struct.unpack_from('<I', self.data, start)[0]}i", self.data, start + 4)


def _code(code: _Table) -> str:
    number = max(code.scalar(0, "b"), code.scalar(3, "i"))  # small numbers stood in a byte once
    if number == CUSTOM:
        return code.bytes(1).decode()
    if number not in KINDS:
        raise ValueError(f"operator {number} is not known here")
    return KINDS[number]


def _operator(step: _Table, kind: str) -> Operator:
    options, custom = step.table(4), step.bytes(5)
    stride = options.scalar(1, "i") if options and kind in ("convolution", "depthwise") else 1
    told: Any = {}
    if custom:
        from flatbuffers import flexbuffers

        told = flexbuffers.Loads(custom)
    return Operator(kind, step.integers(1), step.integers(2), stride, told if isinstance(told, dict) else {})
