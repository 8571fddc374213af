"""The skin of the built-in head: subdivided face, cranium, neck and shoulders, lining of mouth and eyes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    region: NDArray[np.str_]
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


class _Sewing:
    """A mesh that grows piece by piece, each sewn to vertices already there."""

    def __init__(self, vertices: Array, mirror: Index) -> None:
        self.vertices, self.mirror = vertices, mirror
        self.triangles: list[Index] = []
        self.charts: list[tuple[Array, Index]] = []
        self.region: list[NDArray[np.str_]] = []
        self.follows: list[Any] = []

    def __len__(self) -> int:
        return len(self.vertices)

    def add(self, vertices: Array, mirror: Index, region: NDArray[np.str_]) -> None:
        """New vertices at the end; ``mirror`` counts from the first of them."""
        self.mirror = np.concatenate([self.mirror, len(self) + mirror])
        self.vertices = np.concatenate([self.vertices, vertices])
        self.region.append(region)

    def cover(self, chart: str, triangles: Index, texture: Array, texture_triangles: Index) -> None:
        """Triangles between any vertices, with their ``chart`` of the atlas."""
        self.triangles.append(triangles)
        self.charts.append((uv.placed(chart, texture), texture_triangles))

    def texture(self) -> tuple[Array, Index]:
        """Texture vertices of all charts and the triangles between them."""
        offsets = np.cumsum([0, *(len(chart) for chart, _ in self.charts)])
        shifted = [triangles + at for (_, triangles), at in zip(self.charts, offsets, strict=False)]
        return np.concatenate([chart for chart, _ in self.charts]), np.concatenate(shifted)


def _add_cranium(sewing: _Sewing, triangles: Index, oval: Index) -> None:
    """Cranium, neck and shoulders behind the ``oval`` [C] of the face, faired together with it."""
    from scipy.spatial import cKDTree

    face, count, columns = sewing.vertices, len(sewing), len(oval)
    rings = cranium.rings(face[oval]).reshape(-1, 3)
    sewing.add(rings, closed_mirror(cranium.ROWS, columns), np.full(len(rings), "scalp"))
    joined = cranium.grid_triangles(oval, count)
    away = cKDTree(face[oval]).query(sewing.vertices)[0]
    rim = np.arange(len(sewing) - columns, len(sewing))
    everything = np.concatenate([triangles, joined])
    vertices = cranium.faired(sewing.vertices, everything, count, rim, away)
    sewing.vertices = (vertices + vertices[sewing.mirror] * (-1, 1, 1)) / 2
    sewing.region[-1] = ring_regions(sewing.vertices[count:])
    rows = sewing.vertices[np.concatenate([oval, np.arange(count, len(sewing))])].reshape(-1, columns, 3)
    length = np.cumsum([0, *np.linalg.norm(np.diff(rows, axis=0), axis=2).mean(1)])
    texture = grid_uv(cranium.ROWS + 1, columns, closed=True, heights=1 - length / length[-1])
    sewing.cover("cranium", joined, *texture)


def _add_mouth(sewing: _Sewing, lips: Index, face: int) -> None:
    """The bag behind the ``lips`` [C]."""
    rows, end = mouth.bag(sewing.vertices[lips])
    covering = mouth.bag_triangles(lips, len(sewing))
    size = rows.shape[0] * rows.shape[1]
    mirror = np.append(closed_mirror(rows.shape[0], rows.shape[1]), size)
    sewing.add(np.concatenate([rows.reshape(-1, 3), end[None]]), mirror, np.full(size + 1, "mouth"))
    sewing.cover("bag", *covering)
    sewing.follows.append(_following(lips, mouth.BAG_FOLLOWS, face))


def _add_sockets(sewing: _Sewing, lids: Index, radius: float, face: int) -> None:
    """Both sockets, of which the left is sewn to ``lids`` [C]."""
    rows, end = eyes.socket(sewing.vertices[lids], eye_center(), radius)
    left = np.concatenate([rows.reshape(-1, 3), end[None]])
    size = len(left)
    other = size + np.arange(size)
    for side, loop in ((1, lids), (-1, sewing.mirror[lids])):
        names = np.concatenate([loop, np.arange(len(sewing), len(sewing) + size)])
        triangles, texture, texture_triangles = eyes.socket_triangles(names, len(lids))
        if side < 0:
            triangles, texture_triangles = triangles[:, ::-1], texture_triangles[:, ::-1]
            texture = texture * (-1, 1) + (1, 0)
        sewing.add(left * (side, 1, 1), other if side > 0 else other - 2 * size, np.full(size, "sockets"))
        sewing.cover("socketLeft" if side > 0 else "socketRight", triangles, texture, texture_triangles)
        sewing.follows.append(_following(loop, eyes.SOCKET_FOLLOWS, face))


def build_skin() -> Skin:
    """Face subdivided once and everything that is sewn to it."""
    from scipy.sparse import vstack

    from avatarkit.heads.template import face_mirror, face_template, face_topology

    flip = face_mirror()
    subdivision, triangles, edges = butterfly(face_topology(), 468)
    number = {tuple(edge): 468 + i for i, edge in enumerate(edges.tolist())}
    mirror = np.concatenate([flip, [number[tuple(sorted(flip[edge].tolist()))] for edge in edges]])
    sewing = _Sewing(np.asarray(subdivision @ face_template()), mirror)
    face = len(sewing)
    loops = boundary_loops(triangles)
    oval, lips, lids = _seam(loops, 10), _seam(loops, 13), _seam(loops, 263)
    sewing.region.append(face_regions(triangles, face, edges))
    sewing.cover("face", triangles, uv.flattened(sewing.vertices, triangles, oval), triangles)
    _add_cranium(sewing, triangles, oval)
    lining = len(sewing)
    _add_mouth(sewing, lips, face)
    margin = np.linalg.norm(sewing.vertices[lids] - eye_center(), axis=1).min()
    radius = min(float(margin) - EYEBALL_CLEARANCE, LARGEST_EYEBALL)
    jaw_share = np.append(mouth.bag_jaw_share(len(lips)), 0)
    _add_sockets(sewing, lids, radius, face)
    texture, texture_triangles = sewing.texture()
    return Skin(
        vertices=sewing.vertices,
        triangles=np.concatenate(sewing.triangles),
        uv=texture,
        uv_triangles=texture_triangles,
        region=np.concatenate(sewing.region),
        mirror=sewing.mirror,
        face=face,
        subdivision=subdivision,
        lips=lips,
        lids=lids,
        radius=radius,
        lining=np.arange(lining, len(sewing)),
        follows=vstack(sewing.follows).tocsr(),
        jaw_share=np.pad(jaw_share, (0, len(sewing) - lining - len(jaw_share))),
    )
