"""The mesh that carries the networks: a person's tracked head, subdivided, the torso left out, the mouth closed."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, from_numpy

from avatarkit.heads.extension import components
from avatarkit.heads.model import HeadModel
from avatarkit.heads.regions import ring_distance
from avatarkit.heads.subdivide import butterfly

Float = NDArray[np.float32]
Index = NDArray[np.int32]

GROUPS = ("skin", "eyes", "hair", "inside", "ears")
"""Of vertices."""
SKIN, EYES, HAIR, INSIDE, EARS = range(5)
_GROUP_OF = {
    "sclera": EYES, "iris": EYES, "pupil": EYES, "scalp": HAIR, "teeth": INSIDE, "gums": INSIDE, "tongue": INSIDE,
    "mouth": INSIDE, "sockets": INSIDE, "ears": EARS,
}  # fmt: skip
CREASED = ("lips", "eyelids", "mouth", "sockets")
"""Regions whose edges are halved without smoothing: what is folded must not bulge."""
FACIAL = ("skin", "lips", "brows", "eyelids")
FADE_RINGS = 5
"""Rings of vertices above the neck's lower border over which the mesh fades into the torso."""
BEHIND = -0.06
"""Neck behind this z (meters) is as often covered by hair."""


@dataclass(frozen=True, eq=False)
class Template:
    """Geometry of a person without motion. V vertices, F triangles, E expressions, U texture vertices."""

    neutral: Float
    """[V, 3] head space, meters"""
    triangles: Index
    """[F, 3]"""
    shapes: NDArray[np.int8]
    """[E, V, 3] displacement of each expression, in units of ``unit``"""
    unit: Float
    """[E] meters"""
    skinning: Float
    """[V, 5] weights over (cranium, neck, jaw, left eye, right eye)"""
    joints: Float
    """[4, 3] neck, jaw, left eye, right eye"""
    uv: Float
    """[U, 2]"""
    uv_triangles: Index
    """[F, 3]"""
    group: NDArray[np.uint8]
    """[V] index into ``GROUPS``"""
    unsure: Float
    """[V] 1 where skin and hair cannot be told apart beforehand: ears and the back of the neck"""
    facial: Float
    """[V] 1 on the face, which the tracker knows, falling to 0 on the rest"""
    freedom: Float
    """[V] share of the offsets that a vertex takes: 0 for eyeballs, teeth and tongue"""
    opacity: Float
    """[V] falling to 0 at the neck's lower border"""
    landmarks: Index
    """[478]"""

    @classmethod
    def of(cls, head: HeadModel, neutral: Float, shapes: NDArray[np.floating]) -> Template:
        """Of a person's ``neutral`` head [V, 3] with ``shapes`` [E, V, 3] in the topology of ``head``."""
        part = components(head.triangles, len(head))
        skin = np.isin(part, np.unique(part[head.landmarks[:468]]))
        torso = head.region_mask("torso")
        kept = ~torso[head.triangles].all(1)
        cover = kept & skin[head.triangles].all(1)
        loose = kept & ~cover
        used = np.unique(head.triangles[cover])
        matrix, fine, edges = _halved(head, used, _renumbered(head.triangles[cover], used, len(head)))
        others = np.unique(head.triangles[loose])
        place = np.full(len(head), -1)
        place[used] = np.arange(len(used))
        place[others] = matrix.shape[0] + np.arange(len(others))

        def carried(values: NDArray[Any]) -> NDArray[np.float32]:
            """[V, ...] of values [N, ...] at the head's vertices, interpolated along the subdivision."""
            flat = np.asarray(values, np.float64).reshape(len(head), -1)
            result = np.concatenate([matrix @ flat[used], flat[others]])
            return result.reshape(-1, *values.shape[1:]).astype(np.float32)

        def labeled(values: NDArray[Any]) -> NDArray[Any]:
            """[V] of labels [N]: a halved edge takes the label of its first end."""
            return np.concatenate([values[used], values[used][edges[:, 0]], values[others]])

        moved = carried(np.moveaxis(np.asarray(shapes, np.float32), 0, 1))
        unit = np.maximum(np.abs(moved).max((0, 2)), 1e-6) / 127
        group = labeled(np.array([_GROUP_OF.get(name, SKIN) for name in head.region_names])[head.region])
        triangles = np.concatenate([fine, place[head.triangles[loose]]]).astype(np.int32)
        uv, uv_fine = _halved_uv(head.uv, head.uv_triangles[cover])
        points = carried(neutral)
        names = np.array(head.region_names)[head.region]
        ears = labeled(names == "ears") > 0
        behind = (labeled(names == "neck") > 0) & (points[:, 2] < BEHIND)
        face = carried(head.region_mask(*FACIAL).astype(np.float32))
        return cls(
            neutral=points,
            triangles=triangles,
            shapes=np.rint(np.moveaxis(moved, 1, 0) / unit[:, None, None]).astype(np.int8),
            unit=unit.astype(np.float32),
            skinning=_shares(carried(head.skinning)),
            joints=head.joints_of(neutral).astype(np.float32),
            uv=uv,
            uv_triangles=np.concatenate([uv_fine, head.uv_triangles[loose]]).astype(np.int32),
            group=group.astype(np.uint8),
            unsure=(ears | behind).astype(np.float32),
            facial=np.clip(face, 0, 1),
            freedom=(labeled(skin | (names == "ears")) > 0).astype(np.float32),
            opacity=_fade(triangles, len(points), points),
            landmarks=place[head.landmarks].astype(np.int32),
        )

    def __len__(self) -> int:
        return len(self.neutral)

    def state(self) -> dict[str, Tensor]:
        """Tensors of the avatar file."""
        return {f"template.{f.name}": _small(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_state(cls, tensors: dict[str, Tensor]) -> Template:
        """The inverse of ``state``. Raises KeyError or ValueError where something is missing or does not fit."""
        parts = {f.name: tensors[f"template.{f.name}"].numpy() for f in fields(cls)}
        for name in ("triangles", "uv_triangles", "landmarks"):
            parts[name] = parts[name].astype(np.int32)
        for name in ("skinning", "unsure", "facial", "freedom", "opacity", "uv"):
            parts[name] = parts[name].astype(np.float32)
        template = cls(**parts)
        count = len(template)
        for name, end in (("triangles", count), ("landmarks", count), ("uv_triangles", len(template.uv))):
            index = parts[name]
            if index.size and not (index.min() >= 0 and index.max() < end):
                raise ValueError(f"'{name}' points beyond what there is")
        for name in ("skinning", "group", "unsure", "facial", "freedom", "opacity"):
            if len(parts[name]) != count:
                raise ValueError(f"'{name}' has {len(parts[name])} rows, not {count}")
        if template.shapes.shape != (len(template.unit), count, 3) or template.shapes.dtype != np.int8:
            raise ValueError("'shapes' does not fit the vertices")
        if len(template.uv_triangles) != len(template.triangles):
            raise ValueError("'uv_triangles' does not fit the triangles")
        if not np.isfinite(template.neutral).all():
            raise ValueError("'neutral' is not finite")
        return template


def _renumbered(triangles: NDArray[np.integer], used: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    place = np.full(count, -1)
    place[used] = np.arange(len(used))
    return place[triangles]


def _halved(
    head: HeadModel, used: NDArray[np.int64], triangles: NDArray[np.int64]
) -> tuple[Any, NDArray[np.int64], NDArray[np.int64]]:
    """Matrix, triangles and halved edges of one four-way subdivision: butterfly, but straight along creases."""
    from scipy.sparse import coo_matrix, diags

    matrix, fine, edges = butterfly(triangles, len(used))
    creased = head.region_mask(*CREASED)[used][edges].any(1)
    straight = np.concatenate([np.zeros(len(used), bool), creased])
    rows = len(used) + np.flatnonzero(creased)
    halves = coo_matrix(
        (np.full(2 * len(rows), 0.5), (np.tile(rows, 2), edges[creased].T.reshape(-1))), shape=matrix.shape
    )
    return (diags((~straight).astype(float)) @ matrix + halves).tocsr(), fine, edges


def _halved_uv(uv: Float, triangles: Index) -> tuple[Float, NDArray[np.int64]]:
    """The texture vertices and triangles that go with ``butterfly``'s triangles."""
    a, b, c = (triangles[:, i].astype(np.int64) for i in range(3))
    ends = np.sort(
        np.stack([np.stack([a, b], 1), np.stack([b, c], 1), np.stack([c, a], 1)], 1), -1
    )  # [F, 3, 2]
    unique, which = np.unique(ends.reshape(-1, 2), axis=0, return_inverse=True)
    ab, bc, ca = (which.reshape(-1, 3) + len(uv)).T
    fine = np.stack([a, ab, ca, b, bc, ab, c, ca, bc, ab, bc, ca], 1).reshape(-1, 3)
    return np.concatenate([uv, uv[unique].mean(1)]).astype(np.float32), fine


def _shares(weights: Float) -> Float:
    """[V, J] rows that are not negative and sum to one: smooth subdivision overshoots."""
    kept = np.clip(weights, 0, 1)
    return np.asarray(kept / kept.sum(1, keepdims=True), np.float32)


def _fade(triangles: Index, count: int, points: Float) -> Float:
    """[V] 0 at the lowest open border, 1 from ``FADE_RINGS`` rings above it on."""
    ends = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), 1)
    unique, number = np.unique(ends, axis=0, return_counts=True)
    border = np.unique(unique[number == 1])
    low = border[points[border, 1] < points[border, 1].min() + 0.06] if len(border) else border
    if not len(low):
        return np.ones(count, np.float32)
    rings = ring_distance(triangles.astype(np.int64), count, low)
    return np.clip(np.nan_to_num(rings / FADE_RINGS, posinf=1.0), 0, 1).astype(np.float32)


def _small(values: NDArray[Any]) -> Tensor:
    """Indices as int16 where they fit."""
    if values.dtype == np.int32 and (not values.size or values.max() < 2**15):
        values = values.astype(np.int16)
    return from_numpy(np.ascontiguousarray(values))
