"""mediapipe's face mesh with attention (Grishchenko et al. 2020), run by our own kernels from the file in its wheel.

The network needs 44 million multiplications a picture. mediapipe takes 7 ms for them on a core of 2.8 GHz, these
kernels 1.5; landmarks agree to hundredths of a pixel. A backbone of BlazeBlocks finds 468 landmarks in a square around
the face; three heads look once more at the lips and at each eye, in features cut out where the backbone saw them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.files import tflite
from avatarkit.heads.landmarks import COUNT, MESH
from avatarkit.ops import blaze

Array = NDArray[np.float64]
Float = NDArray[np.float32]
Image = NDArray[np.uint8]

SIDE = 192
"""Pixels of the square the network looks at."""
MODEL = Path("modules", "face_landmark", "face_landmark_with_attention.tflite")
EYE_CORNERS = 33, 263
"""Landmarks that lie level in that square: the outer corners of the right and the left eye."""
ROOM = 1.5
"""Side of the square around a face against the longer side of its landmarks' box."""
RIM = 16
"""Points of an eye's landmarks that are its lids' margin: they come first."""
_CORNERS = tuple((x, y, 1.0, 0.0) for x in (-0.04, 0.04) for y in (-0.04, 0.04))
WINDOWS = {
    1: ((0.0, 0.0, 1.0, 0.0),),
    2: ((0.03, 0.03, 1.05, 0.06), (-0.03, -0.03, 0.95, -0.06)),
    9: ((0.0, 0.0, 1.0, 0.0), *_CORNERS, (0, 0, 1.08, 0), (0, 0, 0.94, 0), (0, 0, 1, 0.08), (0, 0, 1, -0.08)),
}
"""By how many windows are looked at: each one's shift and size in the region's, and its turn in radians. Landmarks lean
on the window they are found in by up to a pixel of 512; the mean over several leans less."""


class Region(NamedTuple):
    """The turned square of a picture that the network looks at."""

    x: float
    """of its middle, pixels."""
    y: float
    size: float
    angle: float
    """radians, clockwise as seen."""

    @classmethod
    def around(cls, points: NDArray[np.floating]) -> Region:
        """Where a face with landmarks [478, 3] is looked for in the next frame."""
        low, high = points[:, :2].min(0).astype(float), points[:, :2].max(0).astype(float)
        right, left = (points[i].astype(float) for i in EYE_CORNERS)
        angle = float(np.arctan2(left[1] - right[1], left[0] - right[0]))
        x, y = (low + high) / 2
        return cls(float(x), float(y), ROOM * float((high - low).max()), angle)

    def window(self, x: float, y: float, size: float, angle: float) -> Region:
        """Another one beside it: see ``WINDOWS``."""
        return Region(self.x + x * self.size, self.y + y * self.size, self.size * size, self.angle + angle)

    def to_picture(self) -> Array:
        """[2, 3] from pixels of the square to those of the picture, both with centers at integer + 0.5."""
        scale = self.size / SIDE
        cos, sin = scale * np.cos(self.angle), scale * np.sin(self.angle)
        linear = np.array([[cos, -sin], [sin, cos]])
        return np.column_stack([linear, (self.x, self.y) - linear @ (SIDE / 2, SIDE / 2)])

    def cut(self, image: Image) -> Image:
        """[192, 192, 3] the square of ``image`` [H, W, 3], as mediapipe's ImageToTensor cuts it: without smoothing."""
        # its places differ by half a pixel from the usual ones, in the picture and in the square alike
        return np.asarray(
            cv2.warpAffine(
                image,
                self.to_picture(),
                (SIDE, SIDE),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            )
        )

    def placed(self, points: Array) -> Float:
        """``points`` [N, 3] of the square (depth in its pixels) in pixels of the picture."""
        matrix = self.to_picture()
        flat = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        return np.column_stack([flat, points[:, 2] * (self.size / SIDE)]).astype(np.float32)


class _Dense(NamedTuple):
    """A layer that sees the whole picture: a block of one pixel, whose slopes are 1."""

    layer: blaze.Block
    outputs: int
    """numbers that it gives; the layer's further channels are 0."""

    @classmethod
    def of(cls, weights: Float, bias: Float) -> _Dense:
        """From ``weights`` [out, in] and ``bias`` [out]."""
        count = len(bias)
        more = -count % blaze.GRAIN
        wide = np.pad(weights.T, ((0, 0), (0, more)))
        return cls(blaze.block(wide, np.pad(bias, (0, more)), np.ones(count + more, np.float32)), count)

    def __call__(self, x: Float) -> Float:
        """[outputs] of ``x`` [H, W, C]."""
        return np.asarray(blaze.chain(x.reshape(1, 1, -1), [self.layer])[0, 0, : self.outputs])


class _Head(NamedTuple):
    """Landmarks found from features, after ``blocks``."""

    blocks: tuple[blaze.Block, ...]
    dense: _Dense
    landmarks: NDArray[np.int64]


@dataclass(frozen=True)
class _Closer:
    """A second look at some of the landmarks."""

    corners: tuple[int, int]
    """landmarks that lie level in the features cut out."""
    seen: NDArray[np.int64]
    """landmarks whose box is cut out."""
    room: tuple[float, float]
    """the size of what is cut out against that box."""
    side: int
    """pixels of what is cut out."""
    shared: tuple[blaze.Block, ...]
    heads: tuple[_Head, ...]

    def matrix(self, points: Array) -> Array:
        """[2, 3] from pixels of what is cut out to those in which the landmarks ``points`` [468, 2] are."""
        first, second = points[list(self.corners)]
        angle = np.arctan2(second[1] - first[1], second[0] - first[0])
        axes = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])  # columns
        level = points[self.seen] @ axes
        low, high = level.min(0), level.max(0)
        linear = axes * ((high - low) * self.room / self.side)
        return np.column_stack([linear, axes @ ((low + high) / 2) - linear @ np.full(2, self.side / 2)])


class MeshNetwork:
    """The network of a file. Holds no state: any number of threads may use it."""

    def __init__(self, graph: tflite.Graph) -> None:
        """Raises ValueError (or KeyError) for other networks than the face mesh with attention."""
        self._graph = graph
        first = _only(graph.takers(graph.inputs[0]))
        slope = _only(graph.takers(first.outputs[0]))
        window = graph.constants[first.inputs[1]]
        self._stem = blaze.stem(
            window.transpose(1, 2, 3, 0), graph.constants[first.inputs[2]], self._slopes(slope)
        )
        self._early, branch = self._followed(slope.outputs[0])
        self._late, last = self._followed(branch, through=True)
        ends = {len(graph.constants[op.inputs[2]]): self._dense(op) for op in graph.takers(last)}
        self._mesh, self._presence = ends[3 * MESH], ends[1]
        cuts = [op for op in graph.takers(branch) if op.kind == "TransformTensorBilinear"]
        self._closer = tuple(self._second_look(op) for op in cuts)
        self._scale = SIDE / graph.shapes[branch][1]

    def __call__(self, square: Image) -> tuple[Array, float]:
        """([478, 3] landmarks of ``square`` [192, 192, 3] in its pixels, likelihood that it shows a face)."""
        features = blaze.begin(square, self._stem, self._early)
        end = blaze.chain(features, self._late)
        points = np.zeros((COUNT, 3))
        points[:MESH] = self._mesh(end).reshape(MESH, 3)
        coarse = points[:MESH, :2] / self._scale
        for closer in self._closer:
            matrix = closer.matrix(coarse)
            near = blaze.chain(blaze.sample(features, matrix, closer.side), closer.shared)
            for head in closer.heads:
                found = head.dense(blaze.chain(near, head.blocks)).reshape(-1, 2)
                points[head.landmarks, :2] = found @ matrix[:, :2].T + self._scale * matrix[:, 2]
                if head.landmarks[0] >= MESH:  # an iris lies as deep as its lids
                    points[head.landmarks, 2] = points[closer.seen[:RIM], 2].mean()
        return points, float(1 / (1 + np.exp(-self._presence(end)[0])))

    def look(self, image: Image, region: Region, windows: int = 1) -> tuple[Float, float]:
        """([478, 3] mean landmarks, pixels of ``image``, least likelihood of a face) of the windows around ``region``.

        ``windows`` is one of ``WINDOWS``.
        """
        found = []
        for window in WINDOWS[windows]:
            near = region.window(*window)
            points, likely = self(near.cut(image))
            found.append((near.placed(points), likely))
        return np.mean([points for points, _ in found], 0, np.float32), min(likely for _, likely in found)

    # Reading the graph ---------------------------------------------------------------------------------

    def _followed(
        self, tensor: int, first: tflite.Operator | None = None, through: bool = False
    ) -> tuple[tuple[blaze.Block, ...], int]:
        """(blocks from ``tensor`` on, the tensor at which the way parts or the blocks end).

        ``first``: which of its takers is followed; ``through``: past what else takes it.
        """
        graph = self._graph
        blocks: list[blaze.Block] = []
        while True:
            takers = graph.takers(tensor)
            ways = [op for op in takers if op.kind in ("depthwise", "convolution")]
            elsewhere = any(op.kind == "TransformTensorBilinear" for op in takers)
            if first is None and (len(ways) != 1 or (elsewhere and not through)):
                return tuple(blocks), tensor
            found = self._block(first or ways[0])
            if found is None:
                return tuple(blocks), tensor
            blocks.append(found[0])
            tensor, first, through = found[1], None, False

    def _block(self, begun: tflite.Operator) -> tuple[blaze.Block, int] | None:
        """The block that begins with a convolution, and its result; None where there is no PReLU: a dense layer."""
        graph, constants = self._graph, self._graph.constants
        depthwise, mixing = None, begun
        if begun.kind == "depthwise":
            depthwise = constants[begun.inputs[1]][0], constants[begun.inputs[2]]
            mixing = _only(graph.takers(begun.outputs[0]))
        after = graph.takers(mixing.outputs[0])
        if len(after) != 1 or after[0].kind not in ("add", "prelu"):
            return None
        slope = after[0] if after[0].kind == "prelu" else _only(graph.takers(after[0].outputs[0]))
        pointwise = constants[mixing.inputs[1]][:, 0, 0].T
        made = blaze.block(
            pointwise, constants[mixing.inputs[2]], self._slopes(slope), depthwise, begun.stride
        )
        return made, slope.outputs[0]

    def _second_look(self, cut: tflite.Operator) -> _Closer:
        graph = self._graph
        told = next(op for op in graph.operators if cut.inputs[1] in op.outputs).options
        seen = np.array(told["subset_idxs"], np.int64)
        shared, tensor = self._followed(cut.outputs[0])
        iris = MESH + 5 * (seen[0] != EYE_CORNERS[0])
        heads = []
        for way in [op for op in graph.takers(tensor) if op.kind in ("depthwise", "convolution")]:
            blocks, end = self._followed(tensor, way) if way.kind == "depthwise" else ((), tensor)
            dense = self._dense(_only([op for op in graph.takers(end) if op.kind == "convolution"]))
            count = dense.outputs // 2
            heads.append(_Head(blocks, dense, seen if count == len(seen) else iris + np.arange(count)))
        return _Closer(
            (told["left_rotation_idx"], told["right_rotation_idx"]), seen, (told["scale_x"], told["scale_y"]),
            told["output_width"], shared, tuple(heads),
        )  # fmt: skip

    def _dense(self, end: tflite.Operator) -> _Dense:
        weights, bias = (self._graph.constants[i] for i in end.inputs[1:])
        return _Dense.of(np.asarray(weights.reshape(len(bias), -1), np.float32), np.asarray(bias, np.float32))

    def _slopes(self, prelu: tflite.Operator) -> Float:
        if prelu.kind != "prelu":
            raise ValueError(f"a {prelu.kind} stands where a PReLU is expected")
        return np.asarray(self._graph.constants[prelu.inputs[1]].reshape(-1), np.float32)


def _only(operators: Sequence[tflite.Operator]) -> tflite.Operator:
    if len(operators) != 1:
        raise ValueError(f"{len(operators)} operators stand where one is expected")
    return operators[0]


@functools.cache
def load(folder: Path) -> MeshNetwork:
    """The network of mediapipe installed in ``folder``. Raises OSError, ValueError or KeyError for other versions."""
    return MeshNetwork(tflite.read(folder / MODEL))
