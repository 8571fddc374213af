"""The 468-vertex face: positions, triangles and mirror symmetry of mediapipe's face mesh, in head space.

``python -m avatarkit.heads.template`` makes the data files anew: mediapipe's landmarks of a drawn face
(``cartoon.py``), made symmetric and brought to meters. Loading them needs numpy only.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]

DATA = Path(__file__).parent / "data"
VERTICES_FILE = DATA / "face_vertices.txt"
TRIANGLES_FILE = DATA / "face_triangles.txt"

INTEROCULAR = 0.063
"""Meters between the pupils of the template (adult mean)."""
PITCH = 5.2
"""Degrees by which the detector sees the drawn face bow; undone, so that +z is the direction of the face."""
CORNEA = 0.0132
"""Meters from the eyeball's center to the lid margins around the pupil: the cornea and a film of tears."""
IRIS_RIGHT, IRIS_LEFT = 468, 473
HOLES = ((49, 64, 129), (279, 294, 358))
"""Three-cycles of the mesh's edges that are not triangles: the wings of the nose run around them."""


@lru_cache(maxsize=1)
def _vertex_table() -> Array:
    return np.loadtxt(VERTICES_FILE)


def face_template() -> Array:
    """Vertices [468, 3] of the average neutral face in head space, meters, exactly left-right symmetric.

    Eyes are open and lips closed; the interpupillary distance is ``INTEROCULAR``.
    """
    return _vertex_table()[:, :3] / 1000


def face_mirror() -> Index:
    """[468] vertex at (-x, y, z) of each vertex; vertices in the plane of symmetry map to themselves."""
    return _vertex_table()[:, 3].astype(np.int64)


@lru_cache(maxsize=1)
def _triangle_table() -> Index:
    return np.loadtxt(TRIANGLES_FILE, dtype=np.int64)


def face_topology() -> Index:
    """Triangles [852, 3], counter-clockwise seen from the front; holes are two eyes and the mouth."""
    return _triangle_table().copy()


# Making the data files ---------------------------------------------------------------------------------


def made_triangles(vertices: Array, mirror: Index) -> Index:
    """The triangles [852, 3] from mediapipe's list of edges: its three-cycles, consistently wound.

    Six quadrilaterals of that mesh are cut along the other diagonal on the left than on the right; the
    person's right half, mirrored, replaces the left one, so that the mesh equals its mirror image.
    """
    from mediapipe import solutions

    neighbors: dict[int, set[int]] = {}
    for a, b in solutions.face_mesh.FACEMESH_TESSELATION:
        neighbors.setdefault(a, set()).add(b)
        neighbors.setdefault(b, set()).add(a)
    cycles = {
        tuple(sorted((a, b, c)))
        for a, around in neighbors.items()
        for b in around
        for c in around & neighbors[b]
    } - set(HOLES)
    wound = _consistently_wound(sorted(cycles))
    right = wound[vertices[wound, 0].mean(1) < 0]
    return np.concatenate([right, mirror[right][:, ::-1]])


def _consistently_wound(triangles: list[tuple[int, ...]]) -> Index:
    """Turn triangles so that neighbors run along their common edge in opposite directions, flooding from one."""
    beside: dict[frozenset[int], list[int]] = {}
    for number, (a, b, c) in enumerate(triangles):
        for edge in ((a, b), (b, c), (c, a)):
            beside.setdefault(frozenset(edge), []).append(number)
    wound = list(triangles)
    # Triangle (0, 11, 37) lies on the person's right of the upper lip: this order faces the viewer.
    start = triangles.index((0, 11, 37))
    wound[start] = (0, 37, 11)
    done, stack = {start}, [start]
    while stack:
        a, b, c = wound[stack.pop()]
        for edge in ((a, b), (b, c), (c, a)):
            for other in beside[frozenset(edge)]:
                if other in done:
                    continue
                x, y, z = wound[other]
                if edge in ((x, y), (y, z), (z, x)):
                    wound[other] = (x, z, y)
                done.add(other)
                stack.append(other)
    return np.array(wound, np.int64)


def made_vertices() -> tuple[Array, Index]:
    """The template's vertices [468, 3] in meters and their mirror permutation [468], from the drawn face.

    mediapipe's relative depth has the scale of its x and y (weak perspective). Raises ``RuntimeError``
    where the detector does not find the drawn face or what it finds is not a face's mesh.
    """
    from mediapipe import solutions
    from scipy.optimize import linear_sum_assignment

    from avatarkit.heads.cartoon import SIZE, drawn_face

    with solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True) as detector:
        found = detector.process(drawn_face()).multi_face_landmarks
    if not found:
        raise RuntimeError("mediapipe finds no face in the drawn one")
    relative = np.array([[p.x - 0.5, -p.y, -p.z] for p in found[0].landmark])  # x from the drawing's midline
    points: Array = relative * float(SIZE)
    mesh = points[:468]
    reflected = mesh * (-1, 1, 1)
    distance = np.square(mesh[:, None] - reflected).sum(-1)
    mirror = linear_sum_assignment(distance)[1].astype(np.int64)
    if not np.array_equal(mirror[mirror], np.arange(468)):
        raise RuntimeError("the landmarks of the drawn face are not symmetric")
    mesh = (mesh + reflected[mirror]) / 2
    scale = INTEROCULAR / (points[IRIS_LEFT, 0] - points[IRIS_RIGHT, 0])
    pupil_height = points[[IRIS_LEFT, IRIS_RIGHT], 1].mean()
    mesh = (mesh - (0, pupil_height, 0)) * scale
    sine, cosine = np.sin(np.deg2rad(PITCH)), np.cos(np.deg2rad(PITCH))
    mesh = mesh @ np.array([[1, 0, 0], [0, cosine, sine], [0, -sine, cosine]]).T
    lids = mesh[[159, 145, 386, 374]].mean(0)
    return mesh - (0, lids[1], lids[2] - CORNEA), mirror


def write_data() -> None:
    """Write both data files."""
    vertices, mirror = made_vertices()
    rounded = np.round(vertices * 1000, 4)
    # Rounding must not spoil the exact symmetry.
    rounded = np.round((rounded + rounded[mirror] * (-1, 1, 1)) / 2, 5) + 0.0
    note = "Generated by python -m avatarkit.heads.template from a drawing."
    with VERTICES_FILE.open("w", encoding="ascii") as file:
        file.write(f"# {note} Landmark per line: x y z in millimeters of head space, mirror landmark.\n")
        for (x, y, z), other in zip(rounded, mirror, strict=True):
            file.write(f"{x:.5f} {y:.5f} {z:.5f} {other}\n")
    with TRIANGLES_FILE.open("w", encoding="ascii") as file:
        file.write(f"# {note} Triangle per line, counter-clockwise from the front.\n")
        for a, b, c in made_triangles(rounded, mirror):
            file.write(f"{a} {b} {c}\n")


if __name__ == "__main__":
    write_data()
