"""Wavefront OBJ with its material and texture, and PLY with colors: a mesh at one moment."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.files.rigged import Float, RiggedHead
from avatarkit.files.streams import atomic


def save_obj(head: RiggedHead, vertices: Float, normals: Float, path: Path) -> None:
    """Write ``path`` with ``vertices`` and ``normals`` [V, 3], and beside it NAME.mtl and NAME.png."""
    stem = path.stem
    lines = [f"mtllib {stem}.mtl", f"o {head.name}"]
    lines += ["v {:.6f} {:.6f} {:.6f}".format(*row) for row in vertices.tolist()]
    lines += ["vt {:.6f} {:.6f}".format(*row) for row in head.uv.tolist()]
    lines += ["vn {:.4f} {:.4f} {:.4f}".format(*row) for row in normals.tolist()]
    lines += ["usemtl head"]
    lines += ["f " + " ".join(f"{i}/{i}/{i}" for i in row) for row in (head.triangles + 1).tolist()]
    material = f"newmtl head\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nillum 0\nmap_Kd {stem}.png\n"
    picture = cv2.imencode(".png", np.ascontiguousarray(head.texture[..., ::-1]))[1].tobytes()
    with atomic(path.with_suffix(".png")) as temporary:
        temporary.write_bytes(picture)
    with atomic(path.with_suffix(".mtl")) as temporary:
        temporary.write_text(material)
    with atomic(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n")


def save_colored_ply(
    vertices: Float, normals: Float, colors: NDArray[np.uint8], triangles: NDArray[np.int32], stream: BinaryIO
) -> None:
    """Write a mesh as binary PLY: ``vertices``, ``normals``, sRGB ``colors`` [V, 3] each, ``triangles`` [F, 3]."""
    header = [
        "ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}",
        *(f"property float {name}" for name in ("x", "y", "z", "nx", "ny", "nz")),
        *(f"property uchar {name}" for name in ("red", "green", "blue")),
        f"element face {len(triangles)}", "property list uchar int vertex_indices", "end_header",
    ]  # fmt: skip
    points = np.zeros(len(vertices), [("place", "<f4", 6), ("color", "u1", 3)])
    points["place"], points["color"] = np.concatenate([vertices, normals], 1), colors
    faces = np.zeros(len(triangles), [("count", "u1"), ("index", "<i4", 3)])
    faces["count"], faces["index"] = 3, triangles
    stream.write(("\n".join(header) + "\n").encode("ascii"))
    stream.write(points.tobytes())
    stream.write(faces.tobytes())
