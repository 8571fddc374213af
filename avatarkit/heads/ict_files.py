"""Reading ICT-FaceKit (Li et al., Learning Formation of Physically-Based Face Attributes, CVPR 2020; MIT licence).

Two forms are read: the folder ``FaceXModel`` as its authors publish it, and one npz with the same content.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avatarkit.files.errors import AvatarkitError

Array = NDArray[np.float64]
Index = NDArray[np.int64]

VERTICES = 26719
"""Vertices of the model's only topology."""
PARTS: dict[str, tuple[int, int]] = {
    "face": (0, 9409),
    "head": (9409, 11248),
    "mouth": (11248, 13294),
    "socketLeft": (13294, 13678),
    "socketRight": (13678, 14062),
    "gums": (14062, 17039),
    "teeth": (17039, 21451),
    "scleraLeft": (21451, 22221),
    "irisLeft": (22221, 23021),
    "scleraRight": (23021, 23791),
    "irisRight": (23791, 24591),
    "fluids": (24591, 25351),
    "lashes": (25351, 26719),
}
"""Vertex ranges [start, end) from the README of FaceXModel."""
METERS = 0.01
"""The files are in centimeters."""
NEUTRAL_FILE = "generic_neutral_mesh.obj"
INDEX_FILE = "vertex_indices.json"
LARGEST = 1 << 30
"""Bytes the npz may hold unpacked."""
SIDELESS = ("jawLeft", "jawRight", "mouthLeft", "mouthRight")
"""Expressions whose Left or Right is a direction: spelled alike in both vocabularies."""


@dataclass(frozen=True)
class IctData:
    """What the files say, in meters and with triangles."""

    vertices: Array
    """[26719, 3]"""
    triangles: Index
    """[F, 3]"""
    uv: Array
    """[U, 2]; the integer part of u numbers the texture."""
    uv_triangles: Index
    """[F, 3]"""
    expressions: dict[str, NDArray[np.float32]]
    """Displacements [26719, 3] by ARKit name; those that the model lacks are left out."""
    landmarks: Index
    """[68] vertices of the iBUG scheme."""


def sources_of(name: str) -> tuple[str, ...]:
    """The model's own names of the shapes that add up to the ARKit expression ``name``."""
    if name in SIDELESS:
        return (name,)
    if name in ("browInnerUp", "cheekPuff"):
        return (f"{name}_L", f"{name}_R")
    for side in ("Left", "Right"):
        if name.endswith(side):
            return (f"{name.removesuffix(side)}_{side[0]}",)
    return (name,)


def read_ict(path: Path) -> IctData:
    """Read the npz or the folder (``FaceXModel`` itself or the checkout around it) at ``path``.

    Raises ``AvatarkitError`` where it is neither or is damaged.
    """
    if path.is_dir():
        for folder in (path, path / "FaceXModel"):
            if (folder / NEUTRAL_FILE).is_file():
                return _checked(path, _from_folder(folder))
        raise AvatarkitError(f"{path}: holds no {NEUTRAL_FILE}; give the FaceXModel folder of ICT-FaceKit")
    return _checked(path, _from_npz(path))


def _checked(path: Path, data: IctData) -> IctData:
    if data.vertices.shape != (VERTICES, 3) or any(
        shape.shape != (VERTICES, 3) for shape in data.expressions.values()
    ):
        raise AvatarkitError(f"{path}: not ICT-FaceKit's mesh of {VERTICES} vertices")
    if data.landmarks.shape != (68,):
        raise AvatarkitError(f"{path}: ICT-FaceKit's 68 landmarks are missing; take {INDEX_FILE} along")
    for index, limit in (
        (data.triangles, VERTICES),
        (data.landmarks, VERTICES),
        (data.uv_triangles, len(data.uv)),
    ):
        if not index.size or index.min() < 0 or index.max() >= limit:
            raise AvatarkitError(f"{path}: faces or landmarks point outside ICT-FaceKit's mesh")
    if data.triangles.shape != data.uv_triangles.shape:
        raise AvatarkitError(f"{path}: ICT-FaceKit's mesh has faces without texture coordinates")
    arrays: list[NDArray[np.floating]] = [data.vertices, data.uv, *data.expressions.values()]
    if not all(np.isfinite(array).all() for array in arrays):
        raise AvatarkitError(f"{path}: holds values that are not numbers")
    if "jawOpen" not in data.expressions:
        raise AvatarkitError(
            f"{path}: the expression jawOpen is missing; take all of FaceXModel's files along"
        )
    return data


# npz ---------------------------------------------------------------------------------------------------


def _from_npz(path: Path) -> IctData:
    from avatarkit.heads.arkit import NAMES

    try:
        with zipfile.ZipFile(path) as archive:
            if sum(item.file_size for item in archive.infolist()) > LARGEST:
                raise AvatarkitError(f"{path}: unpacks to more than ICT-FaceKit holds; not reading it")
        with np.load(path, allow_pickle=False) as archive:
            names = [str(name) for name in archive["expression_names"]]
            deltas = archive["expression_deltas"]
            return IctData(
                vertices=archive["vertices"].astype(np.float64) * METERS,
                triangles=archive["faces"].astype(np.int64),
                uv=archive["uv"].astype(np.float64),
                uv_triangles=archive["uv_faces"].astype(np.int64),
                expressions={
                    name: _summed([deltas[names.index(part)] for part in sources_of(name)])
                    for name in NAMES
                    if set(sources_of(name)) <= set(names)
                },
                landmarks=archive["landmarks68"].astype(np.int64),
            )
    except FileNotFoundError:
        raise AvatarkitError(f"{path}: no such head model") from None
    except KeyError as error:
        raise AvatarkitError(f"{path}: not ICT-FaceKit's npz, it lacks {error.args[0]}") from None
    except (OSError, ValueError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise AvatarkitError(f"{path}: not a head model that can be read ({error})") from None


def _summed(parts: list[NDArray[np.floating]]) -> NDArray[np.float32]:
    return np.stack(parts).astype(np.float32).sum(0) * np.float32(METERS)


# OBJ folder --------------------------------------------------------------------------------------------


def _from_folder(folder: Path) -> IctData:
    from avatarkit.heads.arkit import NAMES

    vertices, uv, triangles, uv_triangles = _read_mesh(folder / NEUTRAL_FILE)
    expressions = {}
    for name in NAMES:
        files = [folder / f"{part}.obj" for part in sources_of(name)]
        if all(file.is_file() for file in files):
            moved = [_read_vertices(file) for file in files]
            for file, mesh in zip(files, moved, strict=True):
                if mesh.shape != vertices.shape:
                    raise AvatarkitError(
                        f"{file}: has {len(mesh)} vertices, the neutral mesh {len(vertices)}"
                    )
            expressions[name] = _summed([mesh - vertices for mesh in moved])
    try:
        indices = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
        landmarks = np.array(indices["idx_to_landmark_verts"], np.int64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AvatarkitError(f"{folder / INDEX_FILE}: cannot be read ({error})") from None
    return IctData(vertices * METERS, triangles, uv, uv_triangles, expressions, landmarks)


def _read_vertices(path: Path) -> Array:
    """[V, 3] of an OBJ file."""
    try:
        lines = path.read_bytes().split(b"\n")
        rows = [line.split()[1:4] for line in lines if line.startswith(b"v ")]
        return np.array(rows, np.float64).reshape(-1, 3)
    except (OSError, ValueError) as error:
        raise AvatarkitError(f"{path}: not an OBJ mesh ({error})") from None


def _read_mesh(path: Path) -> tuple[Array, Array, Index, Index]:
    """Vertices [V, 3], texture vertices [U, 2], triangles [F, 3] and texture triangles [F, 3] of an OBJ file.

    Polygons are cut into fans.
    """
    try:
        lines = path.read_bytes().split(b"\n")
        uv = np.array([line.split()[1:3] for line in lines if line.startswith(b"vt ")], np.float64)
        triangles, uv_triangles = [], []
        for line in lines:
            if not line.startswith(b"f "):
                continue
            corners = [corner.split(b"/") for corner in line.split()[1:]]
            points = [int(corner[0]) - 1 for corner in corners]
            texture = [int(corner[1]) - 1 for corner in corners]
            for i in range(1, len(points) - 1):
                triangles.append((points[0], points[i], points[i + 1]))
                uv_triangles.append((texture[0], texture[i], texture[i + 1]))
    except (OSError, ValueError, IndexError) as error:
        raise AvatarkitError(f"{path}: not an OBJ mesh with texture coordinates ({error})") from None
    return (
        _read_vertices(path),
        uv.reshape(-1, 2),
        np.array(triangles, np.int64).reshape(-1, 3),
        np.array(uv_triangles, np.int64).reshape(-1, 3),
    )
