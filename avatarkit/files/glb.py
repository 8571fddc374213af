"""Binary glTF 2.0: a rigged head with morph targets, a skin and an animation in one file.

Source: Khronos, *glTF 2.0 specification* (3.6 geometry, 3.7 morph targets and skins, 3.11 animations, 4 GLB).
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.files.rigged import Float, RiggedHead

FLOAT, UNSIGNED_INT, UNSIGNED_BYTE = 5126, 5125, 5121
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
STILL = 1e-7
"""Meters by which a morph target must move a vertex for it to be written."""


def save_glb(head: RiggedHead, stream: BinaryIO, generator: str) -> int:
    """Write ``head``; returns the number of bytes. ``generator``: the program's name for the file's ``asset``.

    Morph targets are sparse: they hold the vertices that they move. Their names stand in ``mesh.extras.targetNames``,
    where Blender and three.js look for them. The same head gives the same bytes.
    """
    parts = _Buffer()
    primitive = {
        "attributes": {
            "POSITION": parts.add(head.vertices, "VEC3", target=ARRAY_BUFFER, bounds=True),
            "NORMAL": parts.add(head.normals, "VEC3", target=ARRAY_BUFFER),
            "TEXCOORD_0": parts.add(
                np.stack([head.uv[:, 0], 1 - head.uv[:, 1]], 1), "VEC2", target=ARRAY_BUFFER
            ),
            **_skin_attributes(head.skinning, parts),
        },
        "indices": parts.add(
            head.triangles.reshape(-1).astype(np.uint32), "SCALAR", target=ELEMENT_ARRAY_BUFFER
        ),
        "material": 0,
        "targets": [{"POSITION": parts.sparse(target)} for target in head.targets],
    }
    count = len(head.joints)
    inverse = np.tile(np.eye(4, dtype=np.float32), (count, 1, 1))
    for matrix, joint in zip(inverse, head.joints, strict=True):
        matrix[3, :3] = -joint.place  # column-major: the last row of the array is the last column
    picture = cv2.imencode(".png", np.ascontiguousarray(head.texture[..., ::-1]))[1].tobytes()
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": generator},
        "scene": 0,
        "scenes": [{"name": head.name, "nodes": [0, *_roots(head)]}],
        "nodes": [{"name": head.name, "mesh": 0, "skin": 0}, *_joint_nodes(head)],
        "meshes": [
            {
                "name": head.name,
                "primitives": [primitive],
                "weights": [float(w) for w in head.rest],
                "extras": {"targetNames": list(head.target_names)},
            }
        ],
        "skins": [
            {
                "joints": [1 + i for i in range(count)],
                "inverseBindMatrices": parts.add(inverse.reshape(count, 16), "MAT4"),
            }
        ],
        "materials": [
            {
                "name": "head",
                "doubleSided": True,
                "pbrMetallicRoughness": {
                    "baseColorTexture": {"index": 0},
                    "metallicFactor": 0.0,
                    "roughnessFactor": 1.0,
                },
                # the texture holds the light of the clip already
                "extensions": {"KHR_materials_unlit": {}},
            }
        ],
        "extensionsUsed": ["KHR_materials_unlit"],
        "textures": [{"source": 0, "sampler": 0}],
        "samplers": [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}],
        "images": [{"mimeType": "image/png", "bufferView": parts.view(picture)}],
    }
    if head.motion is not None:
        document["animations"] = [_animation(head, parts)]
    document |= {
        "accessors": parts.accessors,
        "bufferViews": parts.views,
        "buffers": [{"byteLength": len(parts.data)}],
    }
    text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    data = bytes(parts.data) + bytes(-len(parts.data) % 4)
    total = 12 + 8 + len(text) + 8 + len(data)
    stream.write(struct.pack("<4sII", b"glTF", 2, total))
    stream.write(struct.pack("<I4s", len(text), b"JSON") + text)
    stream.write(struct.pack("<I4s", len(data), b"BIN\0") + data)
    return total


@dataclass
class _Buffer:
    """The binary chunk as it grows, with the views and accessors into it."""

    data: bytearray = field(default_factory=bytearray)
    views: list[dict[str, Any]] = field(default_factory=list)
    accessors: list[dict[str, Any]] = field(default_factory=list)

    def view(self, data: bytes, target: int | None = None) -> int:
        self.data += bytes(-len(self.data) % 4)
        entry = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data)}
        self.views.append(entry if target is None else {**entry, "target": target})
        self.data += data
        return len(self.views) - 1

    def add(self, values: NDArray[Any], kind: str, target: int | None = None, bounds: bool = False) -> int:
        """An accessor of [N, ...] ``values``: float32, uint32 or uint8."""
        values = np.ascontiguousarray(values, np.float32 if values.dtype.kind == "f" else values.dtype)
        component = {"f": FLOAT, "u": UNSIGNED_INT if values.itemsize == 4 else UNSIGNED_BYTE}[
            values.dtype.kind
        ]
        entry: dict[str, Any] = {
            "bufferView": self.view(values.tobytes(), target),
            "componentType": component,
            "count": len(values),
            "type": kind,
        }
        if bounds:
            rows = values.reshape(len(values), -1)
            entry |= {"min": rows.min(0).tolist(), "max": rows.max(0).tolist()}
        self.accessors.append(entry)
        return len(self.accessors) - 1

    def sparse(self, values: Float) -> int:
        """An accessor of vectors [N, 3] most of which are zero."""
        moved = np.flatnonzero(np.abs(values).max(1) > STILL)
        if not len(moved):
            moved = np.zeros(1, np.int64)  # the specification wants one entry
        shown = np.ascontiguousarray(values[moved], np.float32)
        low, high = (np.minimum(shown.min(0), 0), np.maximum(shown.max(0), 0))
        self.accessors.append(
            {
                "componentType": FLOAT,
                "count": len(values),
                "type": "VEC3",
                "min": low.tolist(),
                "max": high.tolist(),
                "sparse": {
                    "count": len(moved),
                    "indices": {
                        "bufferView": self.view(moved.astype(np.uint32).tobytes()),
                        "componentType": UNSIGNED_INT,
                    },
                    "values": {"bufferView": self.view(shown.tobytes())},
                },
            }
        )
        return len(self.accessors) - 1


def _skin_attributes(skinning: Float, parts: _Buffer) -> dict[str, int]:
    """The four strongest joints of every vertex and their weights, which sum to one."""
    order = np.argsort(-skinning, axis=1, kind="stable")[:, :4]
    weights = np.take_along_axis(skinning, order, 1)
    wide = 4 - order.shape[1]
    order, weights = (np.pad(values, ((0, 0), (0, wide))) for values in (order, weights))
    weights = np.maximum(weights, 0)
    weights = weights / np.maximum(weights.sum(1, keepdims=True), 1e-9)
    order = np.where(weights > 0, order, 0)
    return {
        "JOINTS_0": parts.add(order.astype(np.uint8), "VEC4", target=ARRAY_BUFFER),
        "WEIGHTS_0": parts.add(weights.astype(np.float32), "VEC4", target=ARRAY_BUFFER),
    }


def _roots(head: RiggedHead) -> list[int]:
    return [1 + i for i, joint in enumerate(head.joints) if joint.parent < 0]


def _joint_nodes(head: RiggedHead) -> list[dict[str, Any]]:
    nodes = []
    for i, joint in enumerate(head.joints):
        above = head.joints[joint.parent].place if joint.parent >= 0 else np.zeros(3)
        node: dict[str, Any] = {"name": joint.name, "translation": (joint.place - above).tolist()}
        below = [1 + k for k, other in enumerate(head.joints) if other.parent == i]
        nodes.append({**node, "children": below} if below else node)
    return nodes


def _animation(head: RiggedHead, parts: _Buffer) -> dict[str, Any]:
    motion = head.motion
    assert motion is not None
    times = parts.add(motion.times.astype(np.float32), "SCALAR", bounds=True)
    samplers: list[dict[str, Any]] = []
    channels: list[dict[str, Any]] = []

    def channel(node: int, path: str, values: Float, kind: str) -> None:
        samplers.append({"input": times, "output": parts.add(values, kind), "interpolation": "LINEAR"})
        channels.append({"sampler": len(samplers) - 1, "target": {"node": node, "path": path}})

    channel(0, "weights", motion.weights.reshape(-1), "SCALAR")
    for i in range(len(head.joints)):
        channel(1 + i, "rotation", motion.turns[:, i], "VEC4")
    for root in _roots(head):
        channel(root, "translation", motion.travel, "VEC3")
    return {"name": "track", "samplers": samplers, "channels": channels}
