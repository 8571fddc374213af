"""Head models: a mesh with identity, expression shapes, joints and semantic regions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avatarkit.heads.arkit import INDEX

JOINTS = ("neck", "jaw", "eyeLeft", "eyeRight")
"""Joint order of ``HeadModel.joints``; the columns of ``skinning`` are (cranium, *JOINTS)."""

MESH_LANDMARKS = 468
"""Landmarks on the skin; the ten after them lie on the irises."""

Float = NDArray[np.float32]
Array = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class HeadModel:
    """A head in head space (meters, +x to the person's left, +y up, +z out of the face).

    The cranium is the root: a vertex weighted wholly to column 0 of ``skinning`` moves only with the
    head's pose. The torso hangs from the neck joint by the *inverse* neck rotation, so ``neck`` is the
    rotation of the head against the torso.

    Shapes: V vertices, F triangles, E expressions, U texture vertices, L landmarks, R regions.
    """

    name: str
    version: str
    vertices: Float
    """[V, 3] the neutral head."""
    triangles: NDArray[np.int32]
    """[F, 3] counter-clockwise seen from outside."""
    shapes: Float
    """[E, V, 3] displacement of each expression at coefficient 1 (jaw shapes move teeth and tongue too)."""
    expression_names: tuple[str, ...]
    joints: Float
    """[4, 3] rest positions of JOINTS."""
    skinning: Float
    """[V, 5] linear-blend weights over (cranium, neck i.e. torso, jaw, eyeLeft, eyeRight); rows sum to 1."""
    uv: Float
    """[U, 2] in [0, 1], v up."""
    uv_triangles: NDArray[np.int32]
    """[F, 3] indices into ``uv``."""
    region: NDArray[np.uint8]
    """[V] index into ``region_names``."""
    region_names: tuple[str, ...]
    mirror: NDArray[np.int32]
    """[V] index of the vertex at (-x, y, z); an involution."""
    landmarks: NDArray[np.int32]
    """[478] vertex index of each mediapipe face-mesh landmark (468 and 473: iris centers, right and left)."""
    identity_map: Any = field(default=None, repr=False)
    """scipy CSR [V, 468] or None (computed when needed): landmark offsets to the offset of every vertex."""
    shape_map: Any = field(default=None, repr=False)
    """scipy CSR [V, 468] or None: the same for expressions, where torso and back of the head stay still."""

    def __len__(self) -> int:
        return int(self.vertices.shape[0])

    @cached_property
    def _hash(self) -> str:
        digest = hashlib.sha256()
        for key in ("vertices", "triangles", "shapes", "joints", "skinning", "landmarks", "region", "mirror"):
            array = np.ascontiguousarray(getattr(self, key))
            digest.update(f"{key}{array.dtype.str}{array.shape}".encode())
            digest.update(array.tobytes())
        digest.update("\n".join(self.expression_names).encode())
        return digest.hexdigest()

    def hash(self) -> str:
        """SHA-256 (hex) of geometry, shapes and skinning: tells whether two files speak of the same head."""
        return self._hash

    # Files ---------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write ``*.head.npz`` (readable by ``np.load(..., allow_pickle=False)``)."""
        from avatarkit.heads.headfile import save_head

        save_head(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> HeadModel:
        """Read a ``*.head.npz``; raises ``AvatarkitError`` where it is not one."""
        from avatarkit.heads.headfile import load_head

        return load_head(Path(path))

    # Motion --------------------------------------------------------------------------------------------

    def posed(
        self,
        expression: Array | None = None,
        neck: Array | None = None,
        jaw: Array | None = None,
        eyes: Array | None = None,
        neutral: Array | None = None,
        shapes: Array | None = None,
    ) -> Float:
        """Vertices [..., V, 3] in head space: blend shapes, then linear blend skinning.

        ``expression`` [..., E] in this model's order; ``neck`` and ``jaw`` [..., 3], ``eyes`` [..., 2, 3]
        (left, right) axis-angle. ``jaw`` is *additional* to what the jaw shapes do: leave it out when the
        coefficients already hold the mandible's motion, as in a track. ``neutral`` [V, 3] and ``shapes``
        [E, V, 3] replace the model's own (a person's). Leading dimensions broadcast; all left out give
        the neutral head.
        """
        base = np.asarray(self.vertices if neutral is None else neutral, np.float32)
        basis = np.asarray(self.shapes if shapes is None else shapes, np.float32)
        vertices = base
        if expression is not None:
            coefficients = np.asarray(expression, np.float32)
            vertices = base + (coefficients @ basis.reshape(basis.shape[0], -1)).reshape(
                *coefficients.shape[:-1], *base.shape
            )
        rotations: list[tuple[int, Array]] = []
        if neck is not None:
            rotations.append((0, -np.asarray(neck)))
        if jaw is not None:
            rotations.append((1, np.asarray(jaw)))
        if eyes is not None:
            rotations += [(2, np.asarray(eyes)[..., 0, :]), (3, np.asarray(eyes)[..., 1, :])]
        joints = self.joints if neutral is None else self.joints_of(base)
        moved = vertices
        for joint, vector in rotations:
            # (R - I)(v - c) added by weight equals linear blend skinning, and leaves unmoved columns out.
            weights = self.skinning[:, joint + 1]
            turning = np.flatnonzero(weights)
            lead = np.broadcast_shapes(moved.shape[:-2], vector.shape[:-1])
            if moved is vertices or moved.shape[:-2] != lead:
                moved = np.array(np.broadcast_to(moved, (*lead, *base.shape)))
            turn = _rotation(vector.astype(np.float32)) - np.eye(3, dtype=np.float32)
            arm = vertices[..., turning, :] - joints[joint]
            moved[..., turning, :] += weights[turning, None] * (arm @ np.swapaxes(turn, -1, -2))
        return np.ascontiguousarray(moved, np.float32)

    def joints_of(self, neutral: Array) -> Float:
        """Joints [4, 3] of the personal head ``neutral`` [V, 3]: each moves with the vertices it turns."""
        shift = np.asarray(neutral, np.float32) - self.vertices
        joints = self.joints.copy()
        for joint in range(len(JOINTS)):
            weights = np.where(self.skinning[:, joint + 1] > 0.99, 1.0, 0.0)
            if JOINTS[joint] in ("neck", "jaw") or weights.sum() == 0:  # hinges lie apart from what they turn
                weights = np.exp(-np.square((self.vertices - self.joints[joint]) / 0.05).sum(-1) / 2)
            joints[joint] += (weights @ shift / max(float(weights.sum()), 1e-6)).astype(np.float32)
        return joints

    # Surface -------------------------------------------------------------------------------------------

    @cached_property
    def _incidence(self) -> Any:
        from scipy.sparse import csr_matrix

        faces = len(self.triangles)
        rows, columns = self.triangles.T.reshape(-1), np.tile(np.arange(faces), 3)
        ones = np.ones(3 * faces, np.float32)
        return csr_matrix((ones, (rows, columns)), shape=(len(self), faces))

    def normals(self, vertices: Array | None = None) -> Float:
        """Unit vertex normals [..., V, 3] (area-weighted) of ``vertices`` [..., V, 3], or of the neutral."""
        points = np.asarray(self.vertices if vertices is None else vertices, np.float32)
        a, b, c = (points[..., self.triangles[:, i], :] for i in range(3))
        face = np.cross(b - a, c - a)
        flat = np.moveaxis(face.reshape(-1, *face.shape[-2:]), 0, 1).reshape(face.shape[-2], -1)
        summed = (self._incidence @ flat).reshape(len(self), -1, 3)
        normal = np.moveaxis(summed, 1, 0).reshape(*points.shape)
        length = np.linalg.norm(normal, axis=-1, keepdims=True)
        return (normal / np.maximum(length, 1e-20)).astype(np.float32)

    def region_mask(self, *names: str) -> NDArray[np.bool_]:
        """[V] true where a vertex lies in one of the regions ``names``; unknown names raise ``KeyError``."""
        for name in names:
            if name not in self.region_names:
                raise KeyError(f"head model {self.name!r} has no region {name!r}")
        return np.isin(self.region, [self.region_names.index(name) for name in names])

    # Persons -------------------------------------------------------------------------------------------

    @cached_property
    def _identity_map(self) -> Any:
        if self.identity_map is not None:
            return self.identity_map
        from avatarkit.heads.extension import extension_map

        return extension_map(self, anchored=False)

    @cached_property
    def _shape_map(self) -> Any:
        if self.shape_map is not None:
            return self.shape_map
        from avatarkit.heads.extension import extension_map

        return extension_map(self, anchored=True)

    def extended(self, offset: Array) -> Float:
        """Offsets [..., V, 3] of the whole head from identity ``offset`` [..., 468 or 478, 3] at the landmarks.

        ``vertices + extended(offset)`` is a person's neutral head: skin offsets spread smoothly over
        cranium, neck and inside the mouth; eyeballs, teeth and tongue move rigidly with what holds them
        (offsets of the ten iris landmarks are ignored). Linear and left-right symmetric.
        """
        return _spread(self._identity_map, offset)

    def extended_shapes(self, shapes: Array) -> Float:
        """Shapes [E, V, 3] from refined displacements ``shapes`` [E, 468 or 478, 3] at the landmarks.

        The model's own shapes plus the spread difference: cranium and torso stay still, teeth and tongue
        keep their motion. E is this model's number of expressions, in its order.
        """
        known = self.shapes[:, self.landmarks[:MESH_LANDMARKS]]
        return self.shapes + _spread(self._shape_map, np.asarray(shapes)[..., :MESH_LANDMARKS, :] - known)

    def expression_vector(self, **coefficients: float) -> Float:
        """Coefficients [E] with the named expressions set and all others 0; unknown names raise ``KeyError``."""
        vector = np.zeros(len(self.expression_names), np.float32)
        for name, value in coefficients.items():
            if name not in self.expression_names:
                hint = "" if name in INDEX else " (not an ARKit name)"
                raise KeyError(f"head model {self.name!r} has no expression {name!r}{hint}")
            vector[self.expression_names.index(name)] = value
        return vector


def _spread(matrix: Any, offset: Array) -> Float:
    """``matrix`` [V, 468] applied to ``offset`` [..., >= 468, 3] along its second last dimension."""
    known = np.asarray(offset, np.float32)[..., :MESH_LANDMARKS, :]
    flat = np.moveaxis(known.reshape(-1, MESH_LANDMARKS, 3), 0, 1).reshape(MESH_LANDMARKS, -1)
    spread = (matrix @ flat).reshape(matrix.shape[0], -1, 3)
    return np.moveaxis(spread, 1, 0).reshape(*known.shape[:-2], -1, 3).astype(np.float32)


def _rotation(vector: Array) -> Array:
    """Rotation matrices [..., 3, 3] of axis-angle ``vector`` [..., 3] (Rodrigues)."""
    angle = np.linalg.norm(vector, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(vector, -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*vector.shape[:-1], 3, 3)
    safe = np.maximum(angle, 1e-8)
    sine = np.where(angle > 1e-8, np.sin(safe) / safe, 1.0)
    cosine = np.where(angle > 1e-8, (1 - np.cos(safe)) / safe**2, 0.5)
    return np.eye(3, dtype=vector.dtype) + sine * cross + cosine * (cross @ cross)
