"""A fitted head for other programs: its texture baked into an atlas, its shapes as morph targets, its skeleton."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from avatarkit.files.rigged import Joint, Motion, RiggedHead
from avatarkit.methods.driving import neutral_drive
from avatarkit.methods.nha.avatar import NeuralHeadAvatar
from avatarkit.methods.nha.figure import Figure, Moment
from avatarkit.methods.registry import Drive
from avatarkit.ops import raster
from avatarkit.ops.normals import vertex_normals

Float = NDArray[np.float32]

JOINTS = ("torso", "neck", "jaw", "eyeLeft", "eyeRight")
"""The torso is the root; the cranium turns with the neck, jaw and eyes with the cranium."""
PARENTS = (-1, 0, 1, 1, 1)
COLUMNS = (1, 0, 2, 3, 4)
"""Columns of the template's skinning that belong to the joints."""
SLANT = 0.15
"""Cosine at least between view and normal with which the texture network is asked for a texel."""
HARDLY, WELL = 0.3, 0.6
"""Cosines at which a texel was seen best: up to the first it takes the plain color, from the second the network's."""
BLOCK = 1 << 16
"""Texels at once."""


def rigged(avatar: NeuralHeadAvatar, drive: Drive | None = None, size: int = 1024) -> RiggedHead:
    """The avatar as a rigged head with a texture atlas of ``size`` pixels a side, baked for ``drive`` (None: its rest).

    Offsets and colors are those of that moment: what the networks change from frame to frame is left behind, but the
    52 shapes move as in the avatar.
    """
    figure, header = avatar.figure, avatar.header
    drive = drive or neutral_drive(header)
    template = figure.template
    with torch.no_grad():
        moment = figure.moment(drive)
        neutral = figure.neutral + figure.geometry.mixed(avatar.fields, moment.joints)[0]
        normals = vertex_normals(neutral, figure.around).numpy()
        texture = baked(figure, moment, figure.shape(moment, avatar.fields).vertices, size)
    vertex, corner, triangles = split_at_seams(template.triangles, template.uv_triangles)
    shapes = template.shapes.astype(np.float32) * template.unit[:, None, None]
    places = [template.joints[0], template.joints[0], *template.joints[1:]]
    return RiggedHead(
        name="head",
        vertices=neutral.numpy()[vertex],
        normals=normals[vertex],
        uv=template.uv[corner],
        triangles=triangles,
        texture=texture,
        targets=shapes[:, vertex],
        target_names=tuple(header["expression_names"]),
        joints=tuple(
            Joint(name, parent, np.asarray(place, np.float32))
            for name, parent, place in zip(JOINTS, PARENTS, places, strict=True)
        ),
        skinning=template.skinning[vertex][:, list(COLUMNS)],
        rest=np.clip(drive.expression, 0, 1).astype(np.float32),
    )


def baked(figure: Figure, moment: Moment, vertices: torch.Tensor, size: int) -> NDArray[np.uint8]:
    """[size, size, 3] sRGB: the texture network at every texel, for the mesh's camera-space ``vertices`` [V, 3].

    Charts are continued beyond their borders, so that neither filters nor smaller copies see the gaps.
    """
    template = figure.template
    uv = torch.from_numpy(template.uv)
    flat = torch.stack([uv[:, 0] * size, (1 - uv[:, 1]) * size, torch.ones(len(uv))], 1)
    charts = torch.from_numpy(template.uv_triangles)
    face, share, _ = raster.rasterize(flat, charts, size, size, perspective=False)
    assert figure.coverage is not None, "an avatar's figure has one"
    attributes = torch.cat([figure.places, figure.coverage, vertex_normals(vertices, figure.around)], 1)
    values = raster.interpolate(attributes, figure.triangles, face, share).reshape(-1, 10)
    filled = torch.nonzero(face.reshape(-1) >= 0)[:, 0]
    image = torch.zeros(size * size, 3)
    for texels in filled.split(BLOCK):
        places, plain, seen, normals = values[texels].split((3, 3, 1, 3), 1)
        # a texel is asked for as squarely as it was ever seen, whatever way it looks now
        normals = torch.nn.functional.normalize(normals, dim=1)
        square = torch.maximum(-normals[:, 2:], seen).clamp(SLANT, 1)
        aside = torch.nn.functional.normalize(normals[:, :2], dim=1) * (1 - square.square()).sqrt()
        patches = figure.texture.even_patches(torch.cat([aside, -square], 1))
        color = figure.texture(places.contiguous(), patches, moment.code)
        share_of = ((seen - HARDLY) / (WELL - HARDLY)).clamp(0, 1)
        image[texels] = torch.lerp(plain, color, share_of)
    missing = (face < 0).numpy()
    nearest = ndimage.distance_transform_edt(missing, return_distances=False, return_indices=True)
    picture = image.view(size, size, 3).numpy()[nearest[0], nearest[1]]
    return (picture * 255 + 0.5).astype(np.uint8)


def split_at_seams(
    triangles: NDArray[np.int32], uv_triangles: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Vertex and texture vertex [W] of every pair that occurs, and the triangles [F, 3] over them."""
    pairs = np.stack([triangles.reshape(-1), uv_triangles.reshape(-1)], 1).astype(np.int64)
    unique, which = np.unique(pairs, axis=0, return_inverse=True)
    return unique[:, 0], unique[:, 1], which.reshape(-1, 3).astype(np.int32)


def motion(avatar: NeuralHeadAvatar, drives: Sequence[Drive | None], fps: float) -> Motion:
    """The animation of ``drives``, one a frame; frames without one hold still.

    The head starts where the avatar's rest is: its place there is the origin of head space.
    """
    hinge = avatar.figure.template.joints[0].astype(np.float64)
    rest = neutral_drive(avatar.header)
    flip = np.diag([1.0, -1.0, -1.0])  # the camera's axes to glTF's
    weights, turns, travel = [], [], []
    last = rest
    for drive in drives:
        last = drive or last
        neck = Rotation.from_rotvec(last.neck)
        head = Rotation.from_matrix(flip @ last.rotation)
        torso = head * neck.inv()
        # the pivot of the neck belongs to head and torso both
        place = head.apply(hinge) + flip @ (last.translation - rest.translation)
        eyes = Rotation.from_rotvec(np.asarray(last.eyes))
        turns.append([torso.as_quat(), neck.as_quat(), [0, 0, 0, 1], *eyes.as_quat()])
        weights.append(np.clip(last.expression, 0, 1))
        travel.append(place)
    return Motion(
        times=(np.arange(len(weights)) / fps).astype(np.float32),
        weights=np.asarray(weights, np.float32),
        turns=_continuous(np.asarray(turns, np.float64)).astype(np.float32),
        travel=np.asarray(travel, np.float32),
    )


def moved(avatar: NeuralHeadAvatar, drive: Drive, size: int) -> tuple[RiggedHead, Float, Float]:
    """The rigged head baked for ``drive``, and vertices and normals [V, 3] (head space) of that moment."""
    figure, template = avatar.figure, avatar.figure.template
    with torch.no_grad():
        moment = figure.moment(drive)
        vertices = figure.posed(moment, figure.geometry.mixed(avatar.fields, moment.joints)[0])
        normals = vertex_normals(vertices, figure.around)
    vertex = split_at_seams(template.triangles, template.uv_triangles)[0]
    return rigged(avatar, drive, size), vertices.numpy()[vertex], normals.numpy()[vertex]


def _continuous(turns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quaternions [T, J, 4] with the sign that keeps each near the one before: players go the short way."""
    for t in range(1, len(turns)):
        turned = (turns[t] * turns[t - 1]).sum(-1) < 0
        turns[t][turned] *= -1
    return turns
