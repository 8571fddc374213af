"""The skin of the built-in head: subdivided face, cranium, neck and shoulders, lining of mouth and eyes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from avatarkit.heads import cranium, eyes, mouth, uv
from avatarkit.heads.parts import Array, Index, closed_mirror, grid_uv
from avatarkit.heads.regions import face_regions, ring_regions
from avatarkit.heads.subdivide import boundary_loops, butterfly

EYEBALL_CLEARANCE = 0.0006
"""Meters of lid between its margin and the eyeball."""
LARGEST_EYEBALL = 0.0125


@dataclass(frozen=True)
class Skin:
    """The connected skin: face, rings of the cranium, mouth bag and both sockets."""

    vertices: Array
    triangles: Index
    uv: Array
    uv_triangles: Index
    region: np.ndarray[Any, np.dtype[np.str_]]
    mirror: Index
    face: int
    """Vertices of the subdivided face, which come first."""
    subdivision: Any
    """CSR [face, 468]"""
    lips: Index
    """Border of the mouth from the middle of the upper lip."""
    lids: Index
    """Border of the left eye."""
    radius: float
    """Of the eyeballs."""
    lining: Index
    """Vertices of mouth bag and sockets, the last ones."""
    follows: Any
    """CSR [lining, face] how they take part in the motion of the lips and lids."""
    jaw_share: Array
    """[lining] how far the rest of their motion is the mandible's."""


def _seam(loops: list[list[int]], start: int) -> Index:
    """The border loop through ``start``, from it and against the triangles' direction."""
    loop = next(loop for loop in loops if start in loop)[::-1]
    at = loop.index(start)
    return np.array(loop[at:] + loop[:at])


def _following(loop: Index, shares: tuple[float, ...], count: int) -> Any:
    """CSR [R * C + 1, count]: row r of the lining behind ``loop`` [C] takes ``shares[r]`` of its motion."""
    from scipy.sparse import coo_matrix

    value = np.repeat(shares, len(loop))
    shape = (len(value) + 1, count)
    return coo_matrix((value, (np.arange(len(value)), np.tile(loop, len(shares)))), shape=shape).tocsr()


def eye_center(left: bool = True) -> Array:
    """Center of an eyeball, from the interpupillary distance of the template."""
    from avatarkit.heads.template import INTEROCULAR

    return np.array((INTEROCULAR / 2 if left else -INTEROCULAR / 2, 0.0, 0.0))


def build_skin() -> Skin:
    """Face subdivided once and everything that is sewn to it."""
    from scipy.sparse import vstack
    from scipy.spatial import cKDTree

    from avatarkit.heads.template import face_mirror, face_template, face_topology

    coarse, flip = face_topology(), face_mirror()
    subdivision, triangles, edges = butterfly(coarse, 468)
    face = np.asarray(subdivision @ face_template())
    count = len(face)
    number = {tuple(edge): 468 + i for i, edge in enumerate(edges.tolist())}
    mirror = np.concatenate([flip, [number[tuple(sorted(flip[edge].tolist()))] for edge in edges]])
    loops = boundary_loops(triangles)
    oval, lips, lids = _seam(loops, 10), _seam(loops, 13), _seam(loops, 263)
    columns = len(oval)

    rings = cranium.rings(face[oval])
    ring_triangles = cranium.grid_triangles(oval, count)
    vertices = np.concatenate([face, rings.reshape(-1, 3)])
    away = cKDTree(face[oval]).query(vertices)[0]
    rim = np.arange(len(vertices) - columns, len(vertices))
    vertices = cranium.faired(vertices, np.concatenate([triangles, ring_triangles]), count, rim, away)
    mirror_rings = count + closed_mirror(cranium.ROWS, columns)
    mirror = np.concatenate([mirror, mirror_rings])
    vertices = (vertices + vertices[mirror] * (-1, 1, 1)) / 2

    face_uv = uv.placed("face", uv.flattened(face, triangles, oval))
    rows = vertices[np.concatenate([oval, np.arange(count, len(vertices))])].reshape(-1, columns, 3)
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(rows, axis=0), axis=2).mean(1))])
    ring_uv, ring_uv_triangles = grid_uv(cranium.ROWS + 1, columns, True, heights=1 - length / length[-1])
    charts = [(face_uv, triangles), (uv.placed("cranium", ring_uv), ring_uv_triangles)]
    pieces: list[Index] = [triangles, ring_triangles]
    region = [face_regions(triangles, count, edges), ring_regions(rows[1:].reshape(-1, 3))]

    bag_rows, bag_end = mouth.bag(face[lips])
    first = len(vertices)
    bag_triangles, bag_uv, bag_uv_triangles = mouth.bag_triangles(lips, first)
    vertices = np.concatenate([vertices, bag_rows.reshape(-1, 3), bag_end[None]])
    mirror = np.concatenate([mirror, first + closed_mirror(len(bag_rows), len(lips)), [len(vertices) - 1]])
    lining = first
    sewn: list[tuple[Index, tuple[float, ...]]] = [(lips, mouth.BAG_FOLLOWS)]
    pieces.append(bag_triangles)
    charts.append((uv.placed("bag", bag_uv), bag_uv_triangles))
    region.append(np.full(len(vertices) - first, "mouth"))

    center = eye_center()
    radius = np.linalg.norm(face[lids] - center, axis=1).min() - EYEBALL_CLEARANCE
    radius = min(float(radius), LARGEST_EYEBALL)
    rows, end = eyes.socket(face[lids], center, radius)
    size = rows.shape[0] * rows.shape[1] + 1
    first = len(vertices)
    for side, loop in ((1, lids), (-1, mirror[lids])):
        at = len(vertices)
        names = np.concatenate([loop, np.arange(at, at + size)])
        socket_triangles, socket_uv, socket_uv_triangles = eyes.socket_triangles(names, len(lids))
        if side < 0:
            socket_triangles = socket_triangles[:, ::-1]
            socket_uv_triangles = socket_uv_triangles[:, ::-1]
            socket_uv = socket_uv * (-1, 1) + (1, 0)
        vertices = np.concatenate([vertices, np.concatenate([rows.reshape(-1, 3), end[None]]) * (side, 1, 1)])
        sewn.append((loop, eyes.SOCKET_FOLLOWS))
        pieces.append(socket_triangles)
        charts.append(
            (uv.placed("socketLeft" if side > 0 else "socketRight", socket_uv), socket_uv_triangles)
        )
        region.append(np.full(size, "sockets"))
    both = first + np.arange(2 * size)
    mirror = np.concatenate([mirror, np.roll(both, size)])

    offsets = np.concatenate([[0], np.cumsum([len(chart) for chart, _ in charts])])
    return Skin(
        vertices=vertices,
        triangles=np.concatenate(pieces),
        uv=np.concatenate([chart for chart, _ in charts]),
        uv_triangles=np.concatenate([t + o for (_, t), o in zip(charts, offsets, strict=False)]),
        region=np.concatenate(region),
        mirror=mirror,
        face=count,
        subdivision=subdivision,
        lips=lips,
        lids=lids,
        radius=radius,
        lining=np.arange(lining, len(vertices)),
        follows=vstack([_following(loop, shares, count) for loop, shares in sewn]).tocsr(),
        jaw_share=np.concatenate([mouth.bag_jaw_share(len(lips)).ravel(), np.zeros(1 + 2 * size)]),
    )
