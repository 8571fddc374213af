"""ICT-FaceKit as a ``HeadModel``: its own mesh and shapes, with this project's joints, regions and landmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avatarkit.heads import landmarks as marks
from avatarkit.heads.arkit import INDEX, NAMES
from avatarkit.heads.ict_files import PARTS, VERTICES, IctData, read_ict
from avatarkit.heads.model import HeadModel
from avatarkit.heads.parts import smoothstep
from avatarkit.heads.regions import REGIONS, ring_distance
from avatarkit.heads.registration import Registration, register, similarity
from avatarkit.heads.template import face_mirror, face_template, face_topology

Array = NDArray[np.float64]
Index = NDArray[np.int64]

KEPT = ("face", "head", "mouth", "socketLeft", "socketRight", "gums", "teeth", "scleraLeft", "scleraRight")
"""Opaque parts. Tear fluid, occlusion shells and lashes are see-through cards; the iris lies behind the cornea."""
TILES: dict[str, tuple[float, float, float]] = {
    "face": (0, 0.25, 0.75),
    "head": (0.75, 0.75, 0.25), "mouth": (0.75, 0.75, 0.25),
    "socketLeft": (0.75, 0.75, 0.25), "socketRight": (0.75, 0.75, 0.25),
    "gums": (0.75, 0.5, 0.25), "teeth": (0.75, 0.25, 0.25),
    "scleraLeft": (0.75, 0, 0.25), "scleraRight": (0.5, 0, 0.25),
}  # fmt: skip
"""Place (u, v, size) of each part's texture in one atlas; parts of one texture share it."""

NECK_JOINT = (0.0, -0.105, -0.090)
NECK_SPAN = (0.115, 0.200)
"""Meters below the eyes between which the neck passes from the head to the torso."""
LIMBUS, PUPIL = 0.0062, 0.0021
"""Meters: distance from the optical axis within which the eyeball's front shows iris or pupil."""
SCALP_LINE = ((0.062, 0.020), (-0.045, -0.100))
"""(height, depth) of the hairline in the middle of the forehead and behind the ears, meters."""
EAR_BOX = ((0.070, -0.062, -0.103), (0.110, 0.004, -0.056))
"""Lowest and highest |x|, y, z of the ears, meters."""
TONGUE_ELLIPSE = (-0.020, 0.036, 0.018)
"""Depth of the middle, half length and half width of the tongue seen from above, meters."""
TONGUE_HEIGHT = (-0.086, -0.080)
TONGUE_SPAN = (-0.040, 0.012)
"""Depths of its root, which stays, and its tip."""
TONGUE_OUT = (0.0, 0.002, 0.034)
"""Meters by which the tip comes forward in tongueOut, which the model itself lacks."""


def load_ict(path: str | Path) -> HeadModel:
    """ICT-FaceKit from its npz or its folder ``FaceXModel``.

    The 51 of ARKit's 52 expressions that the model has are its own; ``tongueOut`` pushes its tongue
    forward. Raises ``AvatarkitError`` for anything that is not this model.
    """
    data = read_ict(Path(path))
    eyes = [data.vertices[slice(*PARTS[name])].mean(0) for name in ("irisLeft", "irisRight")]
    vertices = data.vertices - (eyes[0] + eyes[1]) / 2
    registration = registered(vertices, data)
    kept = np.zeros(VERTICES, bool)
    for name in KEPT:
        kept[slice(*PARTS[name])] = True
    chosen = kept[data.triangles].all(1)
    uv, uv_triangles = _atlas(data, chosen)
    number = np.cumsum(kept) - 1
    mirror = _mirror(vertices[kept])
    shapes = np.zeros((len(NAMES), VERTICES, 3), np.float32)
    for name, shape in data.expressions.items():
        shapes[INDEX[name]] = shape
    tongue = _tongue_weight(vertices, shapes[INDEX["jawOpen"]])
    if "tongueOut" not in data.expressions:
        shapes[INDEX["tongueOut"]] = tongue[:, None] * np.array(TONGUE_OUT)
    hinge, jaw = _jaw(vertices, shapes[INDEX["jawOpen"]])
    centers = [eye - (eyes[0] + eyes[1]) / 2 for eye in eyes]
    region = _regions(vertices, registration, centers, tongue > 0.3)
    return HeadModel(
        name="ict",
        version="1",
        vertices=vertices[kept].astype(np.float32),
        triangles=number[data.triangles[chosen]].astype(np.int32),
        shapes=shapes[:, kept],
        expression_names=NAMES,
        joints=np.array([NECK_JOINT, hinge, *centers], np.float32),
        skinning=_skinning(vertices, jaw)[kept].astype(np.float32),
        uv=uv.astype(np.float32),
        uv_triangles=uv_triangles.astype(np.int32),
        region=region[kept],
        region_names=REGIONS,
        mirror=mirror.astype(np.int32),
        landmarks=_landmarks(vertices, registration, centers, number, mirror).astype(np.int32),
    )


def registered(vertices: Array, data: IctData) -> Registration:
    """The 468-vertex face laid over ICT-FaceKit's skin; ``vertices`` [26719, 3] in head space."""
    skin = PARTS["head"][1]
    inside = (data.triangles < skin).all(1)
    return register(
        face_template(), face_topology(), vertices[:skin], data.triangles[inside], data.landmarks[17:]
    )


def _atlas(data: IctData, chosen: NDArray[np.bool_]) -> tuple[Array, Index]:
    """Texture vertices [U, 2] in one atlas and texture triangles [F, 3] of the ``chosen`` faces."""
    first, texture = data.triangles[chosen][:, 0], data.uv_triangles[chosen]
    tile = data.uv[texture, 0].mean(1)
    moved = data.uv[texture] - np.floor(tile)[:, None, None] * (1, 0)
    for name, (u, v, size) in TILES.items():
        start, end = PARTS[name]
        part = (first >= start) & (first < end)
        moved[part] = moved[part] * size + (u, v)
    used, inverse = np.unique(texture.ravel(), return_inverse=True)
    uv = np.zeros((len(used), 2))
    uv[inverse] = np.clip(moved.reshape(-1, 2), 0, 1)
    return uv, inverse.reshape(-1, 3)


def _mirror(vertices: Array) -> Index:
    """[V] vertex at (-x, y, z); a vertex whose counterpart disagrees stands for itself."""
    from scipy.spatial import cKDTree

    other = cKDTree(vertices).query(vertices * (-1, 1, 1))[1]
    own = np.arange(len(vertices))
    return np.where(other[other] == own, other, own)


def _jaw(vertices: Array, opening: NDArray[np.float32]) -> tuple[Array, Array]:
    """Hinge [3] of the mandible and share [26719] of its motion, from what jawOpen does.

    The lower teeth move rigidly; the hinge is the fixed point of their motion in the plane of symmetry.
    """
    teeth = np.arange(*PARTS["teeth"])
    moving = teeth[np.linalg.norm(opening[teeth], axis=1) > 1e-3]
    _, rotation, shift = similarity(vertices[moving], vertices[moving] + opening[moving])
    hinge = np.zeros(3)
    hinge[1:] = np.linalg.solve((np.eye(3) - rotation)[1:, 1:], shift[1:])
    rigid = (vertices - hinge) @ (rotation - np.eye(3)).T
    share = (opening * rigid).sum(1) / np.maximum(np.square(rigid).sum(1), 1e-8)
    share = np.clip(share, 0, 1)
    share[slice(*PARTS["teeth"])] = share[slice(*PARTS["teeth"])] > 0.5
    share[PARTS["teeth"][1] :] = 0
    share[share < 1e-3] = 0
    return hinge, share


def _skinning(vertices: Array, jaw: Array) -> Array:
    """Weights [26719, 5] over cranium, torso, jaw and eyes."""
    weights = np.zeros((VERTICES, 5))
    skin = slice(0, PARTS["head"][1])
    torso = np.zeros(VERTICES)
    torso[skin] = smoothstep(*NECK_SPAN, -vertices[skin, 1])
    weights[:, 1] = torso
    weights[:, 2] = jaw * (1 - torso)
    for column, (start, _), (_, end) in (
        (3, PARTS["scleraLeft"], PARTS["irisLeft"]),
        (4, PARTS["scleraRight"], PARTS["irisRight"]),
    ):
        weights[start:end, column] = 1
    weights[:, 0] = 1 - weights[:, 1:].sum(1)
    return weights


def _regions(
    vertices: Array, registration: Registration, centers: list[Array], tongue: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """[26719] numbers of ``REGIONS``."""
    from scipy.spatial import cKDTree

    region = np.full(VERTICES, REGIONS.index("skin"), np.uint8)

    def set_region(name: str, where: NDArray[np.bool_] | slice) -> None:
        region[where] = REGIONS.index(name)

    x, y, z = np.abs(vertices[:, 0]), vertices[:, 1], vertices[:, 2]
    skin = np.arange(VERTICES) < PARTS["head"][1]
    (top, front), (low, back) = SCALP_LINE
    set_region("scalp", skin & (y > top + (z - front) * (top - low) / (front - back)))
    box = np.array(EAR_BOX)
    inside = [(box[0, i] < value) & (value < box[1, i]) for i, value in enumerate((x, y, z))]
    set_region("ears", skin & np.logical_and.reduce(inside))
    neck = skin & (y < registration.vertices[152, 1] - 0.012 * smoothstep(-0.02, 0.02, z))
    set_region("neck", neck)
    set_region("torso", skin & (y < -NECK_SPAN[1]))
    # Facial regions are those of the nearest triangle of the registered 468-vertex face.
    triangles = face_topology()
    near = cKDTree(registration.vertices[triangles].mean(1)).query(vertices[: PARTS["face"][1]])
    close = near[0] < 0.02
    lips = ring_distance(triangles, 468, np.array(marks.LIPS_INNER)) <= 3
    lids = ring_distance(triangles, 468, np.array(marks.EYE_LEFT + marks.EYE_RIGHT)) <= 1
    brows = np.zeros(468, bool)
    brows[[*marks.BROW_LEFT, *marks.BROW_RIGHT]] = True
    face = np.zeros(VERTICES, bool)
    for name, members in (("brows", brows), ("eyelids", lids), ("lips", lips)):
        face[: PARTS["face"][1]] = members[triangles].all(1)[near[1]] & close
        set_region(name, face)
    for name, part in (("mouth", "mouth"), ("sockets", "socketLeft"), ("sockets", "socketRight"),
                       ("gums", "gums"), ("teeth", "teeth")):  # fmt: skip
        set_region(name, slice(*PARTS[part]))
    set_region("tongue", tongue)
    for part, center in zip(("scleraLeft", "scleraRight"), centers, strict=True):
        set_region("sclera", slice(*PARTS[part]))
        ball = np.zeros(VERTICES, bool)
        ball[slice(*PARTS[part])] = True
        off_axis = np.linalg.norm((vertices - center)[:, :2], axis=1)
        front_half = ball & (z > center[2])
        set_region("iris", front_half & (off_axis < LIMBUS))
        set_region("pupil", front_half & (off_axis < PUPIL))
    return region


def _tongue_weight(vertices: Array, opening: Array) -> Array:
    """[26719] in [0, 1]: 1 in the tongue's tip, 0 at its root and off the tongue.

    Gums and tongue are one surface: the tongue is what lies inside the lower arch, above its floor.
    """
    x, y, z = vertices.T
    (depth, length, width), (floor, surface) = TONGUE_ELLIPSE, TONGUE_HEIGHT
    radius = np.sqrt(np.square(x / width) + np.square((z - depth) / length))
    weight = (1 - smoothstep(0.8, 1.0, radius)) * smoothstep(floor, surface, y) * smoothstep(*TONGUE_SPAN, z)
    gums = np.zeros(VERTICES, bool)
    gums[slice(*PARTS["gums"])] = True
    weight[~gums | (np.linalg.norm(opening, axis=1) < 5e-3)] = 0
    return weight


def _landmarks(
    vertices: Array, registration: Registration, centers: list[Array], number: Index, mirror: Index
) -> Index:
    """[478] vertices (numbered among the kept ones) at the landmarks, symmetric where the mesh is."""
    found = np.empty(marks.COUNT, np.int64)
    found[: marks.MESH] = number[registration.nearest()]
    flip = face_mirror()
    right = face_template()[:, 0] < 0
    found[: marks.MESH][flip[right]] = mirror[found[: marks.MESH][right]]
    for part, ring, center in (
        ("scleraLeft", marks.IRIS_LEFT, centers[0]),
        ("scleraRight", marks.IRIS_RIGHT, centers[1]),
    ):
        start, end = PARTS[part]
        ball = vertices[start:end] - center
        ball = np.where(ball[:, 2:] > 0, ball, np.inf)
        for at, direction in zip(ring, ((0, 0), (1, 0), (0, 1), (-1, 0), (0, -1)), strict=True):
            goal = np.array(direction) * 0.00585
            found[at] = number[start + int(np.square(ball[:, :2] - goal).sum(1).argmin())]
    return found
