"""The demo subject: the built-in head as a person in a studio, rendered by this project's own rasterizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatarkit.heads.model import HeadModel
from avatarkit.ops import raster
from avatarkit.rendering import cloth, eyeball, hair, lighting, skin, strands
from avatarkit.rendering.camera import Camera

Array = NDArray[np.float32]

SUPERSAMPLING = 2
_FLIP = np.array([1, -1, -1], np.float32)  # camera (y down, z forward) to studio (y up, z towards the camera)
_SKIN_LOBES = ((0.040, 14.0), (0.055, 48.0))
"""(strength, exponent) of the broad and the tight highlight of skin."""
_EXPOSURE = 0.86


@dataclass(frozen=True)
class Pose:
    """One frame of acting, as in a track: expression [52], joints axis-angle, head to camera."""

    expression: Array
    neck: Array
    eyes: Array
    rotation: Array
    translation: Array


class DemoSubject:
    """A drawable person. Built once (a few seconds); ``render`` takes tens of milliseconds at 512 x 512."""

    def __init__(self, head: HeadModel, seed: int = 7) -> None:
        self.head = head
        self.atlas = torch.from_numpy(skin.paint(head))
        rest, normals = head.vertices, head.normals()
        outside = head.region_mask(*(n for n in head.region_names if n in _OUTSIDE))
        hairy = skin.hairiness(rest) * head.region_mask(*(n for n in head.region_names if n in _OUTSIDE))
        obstacle = hair.Obstacle(rest[outside], normals[outside])
        full = hair.bob(rest, normals, head.triangles, hairy, obstacle, seed=seed)
        self.sweater = cloth.sweater(rest[head.region_mask(*(n for n in head.region_names if n in _BUST))])
        self.knit = torch.from_numpy(cloth.knit())
        self.hair = self._seen(full)
        self.hulls = full.thinned(30, 20.0)  # a few broad locks cast the hair's shadow
        self.brows = hair.brows(head, seed)
        self.lashes = hair.lashes(head, seed)
        kinds = {name: i for i, name in enumerate(head.region_names)}
        corner = head.region[head.triangles]
        eye = [kinds[n] for n in ("sclera", "iris", "pupil") if n in kinds]
        self.eye_face = torch.from_numpy(np.isin(corner, eye).all(1))
        self.wet_face = torch.from_numpy(
            np.isin(corner, [kinds[n] for n in kinds if n.startswith(_WET)]).all(1)
        )
        self.translucent = (~np.isin(head.region, eye)).astype(np.float32)
        self.inner = head.region_mask(*(n for n in kinds if n.startswith(_INNER)))
        strand_sets = (self.hair, self.brows, self.lashes)
        triangles, first = [head.triangles], len(rest)
        triangles.append(self.sweater.triangles + first)
        first += len(self.sweater.vertices)
        for group in strand_sets:
            triangles.append(group.ribbons() + first)
            first += 2 * group.width.size
        self.triangles = torch.from_numpy(np.concatenate(triangles).astype(np.int32))
        self.smoother = _averaging(np.concatenate(triangles[:2]))
        self.casters = torch.from_numpy(
            np.concatenate([head.triangles, self.hulls.ribbons() + len(rest)]).astype(np.int32)
        )

    def _seen(self, full: strands.Strands) -> strands.Strands:
        """Only the strands that can be seen from the front half: the back of a head never faces this camera."""
        camera = Camera(np.array([[1000, 0, 256], [0, 1000, 256], [0, 0, 1]], np.float32), 512, 512)
        head, count = self.head, full.local.shape[0]
        ribbons = full.ribbons()
        per_strand = len(ribbons) // count
        seen = np.zeros(count, bool)
        for yaw in (-0.40, -0.2, 0.0, 0.2, 0.40):
            for pitch in (-0.12, 0.15):
                c, s, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
                turn = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]]) @ np.array(
                    [[c, 0, s], [0, 1, 0], [-s, 0, c]]
                )
                rotation = np.diag(_FLIP) @ turn
                place = np.array([0, 0, 0.7])
                points = (full.posed(head.vertices) @ rotation.T + place).astype(np.float32)
                ribbon = strands.widened(points, strands.tangents(points), full.width)
                solid = (head.vertices @ rotation.T + place).astype(np.float32)
                pixels = _pixels(np.concatenate([solid, ribbon]), camera)
                triangles = np.concatenate([head.triangles, ribbons + len(solid)]).astype(np.int32)
                face, _, _ = raster.rasterize(torch.from_numpy(pixels), torch.from_numpy(triangles), 512, 512)
                strand = (face.numpy().reshape(-1).astype(np.int64) - len(head.triangles)) // per_strand
                pixels_seen = np.bincount(strand[strand >= 0], minlength=count)
                seen |= pixels_seen >= 4
        return full.chosen(seen)

    def render(self, pose: Pose, camera: Camera, background: Array) -> NDArray[np.uint8]:
        """The person before ``background`` [H, W, 3] (linear): [H, W, 3] uint8 sRGB."""
        head = self.head
        posed = head.posed(pose.expression, neck=pose.neck, eyes=pose.eyes)
        torso = _torso(head, self.sweater.vertices, pose.neck)
        studio = (
            np.concatenate([posed, torso]) @ (pose.rotation * _FLIP[:, None]).T + pose.translation * _FLIP
        )
        studio = studio.astype(np.float32)
        solid = studio[: len(posed)]
        normals = np.concatenate(
            [head.normals(solid), _normals(studio[len(posed) :], self.sweater.triangles)]
        )
        lock = _to_studio(self.hulls, posed, pose) * _FLIP
        lock = strands.widened(lock, strands.tangents(lock), self.hulls.width) * _FLIP
        shadow = np.concatenate([solid, lock])
        translucent = np.concatenate([self.translucent, np.zeros(len(torso), np.float32)])
        light = lighting.illuminate(
            studio,
            normals,
            shadow,
            self.casters,
            self.casters[: len(head.triangles)],
            translucent,
            self.smoother,
        )
        light = lighting.brightened(light, self.inner)
        ribbons, ribbon_colors = self._ribbons(posed, pose)
        size = camera.scaled(camera.width * SUPERSAMPLING, camera.height * SUPERSAMPLING)
        pixels = _pixels(np.concatenate([studio * _FLIP, ribbons]), size)
        face, weights, _ = raster.rasterize(torch.from_numpy(pixels), self.triangles, size.height, size.width)
        flat, share = face.reshape(-1), weights.reshape(-1, 3)
        image = torch.zeros(len(flat), 3)
        faces, knitted = len(head.triangles), len(head.triangles) + len(self.sweater.triangles)
        where = torch.nonzero((flat >= 0) & (flat < faces))[:, 0]
        image.index_copy_(0, where, self._shade_head(flat[where], share[where], light, normals, solid, pose))
        where = torch.nonzero((flat >= faces) & (flat < knitted))[:, 0]
        wool = self.sweater.color * light.diffuse[len(posed) :]
        image.index_copy_(0, where, self._shade_wool(flat[where] - faces, share[where], wool))
        where = torch.nonzero(flat >= knitted)[:, 0]
        first = len(studio)
        locks = self.triangles[knitted:] - first
        colors = torch.from_numpy(ribbon_colors)
        image.index_copy_(0, where, _gathered(colors, locks, flat[where] - knitted, share[where]))
        return _developed(image, flat >= 0, size, background)

    def _shade_wool(self, face: Tensor, weight: Tensor, wool: Array) -> Tensor:
        """The sweater's pixels [N, 3]: lit yarn [V, 3] under stitches, which repeat over their place on it."""
        triangles = torch.from_numpy(self.sweater.triangles)
        values = np.concatenate([wool, self.sweater.stitch], 1).astype(np.float32)
        pixels = _gathered(torch.from_numpy(values), triangles, face, weight)
        place = pixels[:, 3:]
        relief = raster.texture(self.knit, place - place.floor())
        return pixels[:, :3] * torch.where(place[:, 1:] > 0, relief, torch.ones(()))

    def _shade_head(
        self,
        face: Tensor,
        weight: Tensor,
        light: lighting.Irradiance,
        normals: Array,
        solid: Array,
        pose: Pose,
    ) -> Tensor:
        """The head's pixels [N, 3]: skin, lips, inner mouth, eyes."""
        head = self.head
        triangles = torch.from_numpy(head.triangles)
        per_vertex = np.concatenate(
            [normals, light.diffuse, light.key[:, None], light.openness[:, None]], 1
        )[: len(solid)].astype(np.float32)  # fmt: skip
        values = _gathered(torch.from_numpy(per_vertex), triangles, face, weight)
        place = _gathered(torch.from_numpy(head.uv), torch.from_numpy(head.uv_triangles), face, weight)
        texel = raster.texture(self.atlas, place)
        normal = torch.nn.functional.normalize(values[:, :3], dim=1)
        color = texel[:, :3] * values[:, 3:6]
        gloss = texel[:, 3] * values[:, 7].clamp(0, 1)
        for i, lamp in enumerate(lighting.STUDIO[:3]):
            cosine = (normal @ _halfway(lamp)).clamp_min(0)
            fresnel = 1.0 if lamp.towards[2] > 0 else 3.0
            lit = (
                gloss
                * (values[:, 6] if lamp.shadow else 1.0)
                * (normal @ torch.from_numpy(lamp.towards)).clamp(0, 1)
            )
            lobe = sum(strength * cosine.pow(power) for strength, power in _SKIN_LOBES[: 2 if i == 0 else 1])
            color = color + (fresnel * lit * lobe)[:, None] * torch.tensor(lamp.color)
        wet = self.wet_face[face.long()]
        if bool(wet.any()):
            cosine = (normal[wet] @ _halfway(lighting.STUDIO[0])).clamp_min(0)
            color[wet] += (0.35 * values[wet, 7] * cosine.pow(90))[:, None]
        eye = torch.nonzero(self.eye_face[face.long()])[:, 0]
        if len(eye):
            eyes = self._shade_eyes(face[eye], weight[eye], values[eye].numpy(), solid, pose)
            color.index_copy_(0, eye, torch.from_numpy(eyes))
        return color

    def _shade_eyes(self, face: Tensor, weight: Tensor, values: Array, solid: Array, pose: Pose) -> Array:
        head = self.head
        triangles = torch.from_numpy(head.triangles)
        place = _gathered(
            torch.from_numpy(np.concatenate([head.vertices, solid], 1)), triangles, face, weight
        ).numpy()
        rest, point = place[:, :3], place[:, 3:]
        out = np.zeros((len(rest), 3), np.float32)
        turn = pose.rotation * _FLIP[:, None]
        for i, side in enumerate((1.0, -1.0)):
            mine = rest[:, 0] * side > 0
            if not mine.any():
                continue
            local = rest[mine] - head.joints[2 + i]
            color, iris = eyeball.albedo(local, side)
            upper = solid[head.landmarks[list(skin.EYES[i][0])]]
            order = np.argsort(upper[:, 0])
            margin = np.interp(point[mine, 0], upper[order, 0], upper[order, 1])
            shaded = 1 - 0.62 * np.exp(-np.clip(margin - point[mine, 1], 0, 1) / 0.0018)
            direction = local / np.linalg.norm(local, axis=1, keepdims=True)
            gaze = turn @ _turned(pose.eyes[i], np.array([0, 0, 1.0]))
            normal = values[mine, :3] / np.linalg.norm(values[mine, :3], axis=1, keepdims=True)
            view = np.array([[0, 0, 1.0]])
            lit = color * (0.25 + 0.75 * values[mine, 3:6]) * (0.9 * shaded)[:, None]
            for lamp, strength in zip(lighting.STUDIO[:2], (2.6, 0.35), strict=True):
                mirror = eyeball.shine(normal, direction, gaze, view, lamp.towards)
                lit = (
                    lit
                    + (strength * mirror * (0.35 + 0.65 * iris) * shaded)[:, None] * np.array(lamp.color) / 2
                )
            out[mine] = lit
        return out

    def _ribbons(self, posed: Array, pose: Pose) -> tuple[Array, Array]:
        """Camera-space vertices and linear colors of all strands, ready to draw."""
        vertices, colors = [], []
        for group, gleam in ((self.hair, 1.0), (self.brows, 0.25), (self.lashes, 0.0)):
            points = _to_studio(group, posed, pose) * _FLIP
            along = strands.tangents(points)
            vertices.append(strands.widened(points, along, group.width))
            color = np.zeros(points.shape, np.float32)
            outward = (
                group.outward @ (pose.rotation * _FLIP[:, None]).T if group.outward is not None else None
            )
            for lamp in (lighting.STUDIO[0], lighting.STUDIO[2]):
                towards = lamp.towards * _FLIP
                diffuse, primary = strands.kajiya(along, points, towards, 32.0)
                facing = 1.0 if outward is None else np.clip(0.35 + 0.75 * (outward @ lamp.towards), 0.06, 1)
                body = group.color * (0.75 * diffuse * facing)[..., None]
                sheen = (0.11 * gleam * primary * facing)[..., None] * np.array([1.0, 0.82, 0.62], np.float32)
                color += (body + sheen * np.sqrt(group.color / group.color.mean())) * np.array(
                    lamp.color, np.float32
                )
            color += group.color * 0.55
            colors.append(np.repeat(color.reshape(-1, 3), 2, 0))
        return np.concatenate(vertices).astype(np.float32), np.concatenate(colors).astype(np.float32)


_OUTSIDE = (
    "skin",
    "scalp",
    "ears",
    "ear",
    "neck",
    "torso",
    "lips",
    "brows",
    "eyelids",
    "nose",
    "face",
    "shoulders",
)
_BUST = ("neck", "torso", "shoulders", "bust")
_WET = ("teeth", "gums", "tongue")
_INNER = ("teeth", "gums", "tongue", "mouth")


def studio_background(camera: Camera) -> Array:
    """A seamless paper backdrop with a soft spot of light: [H, W, 3] linear."""
    y, x = np.mgrid[: camera.height, : camera.width].astype(np.float32) + 0.5
    x, y = x / camera.width - 0.56, y / camera.height - 0.42
    glow = np.exp(-(x * x / 0.20 + y * y / 0.28))[..., None]
    dark, bright = np.array([0.055, 0.066, 0.082]), np.array([0.235, 0.258, 0.285])
    grain = np.random.default_rng(0).normal(1, 0.012, (camera.height, camera.width, 1))  # against banding
    backdrop: Array = ((dark + (bright - dark) * glow) * grain).astype(np.float32)
    return backdrop


def _averaging(triangles: NDArray[np.int32], rounds: int = 2) -> Any:
    """Sparse [N, N] matrix that replaces a vertex' value by the mean of its surroundings, ``rounds`` rings wide."""
    from scipy.sparse import coo_matrix, diags, identity

    a, b = triangles[:, [0, 1, 2]].ravel(), triangles[:, [1, 2, 0]].ravel()
    count = int(triangles.max()) + 1
    links = coo_matrix((np.ones(len(a), np.float32), (a, b)), (count, count)).tocsr()
    links = ((links + links.T) > 0).astype(np.float32) + identity(count, np.float32)
    mean = (diags(1 / np.asarray(links.sum(1)).ravel()) @ links).tocsr().astype(np.float32)
    spread = mean
    for _ in range(rounds - 1):
        spread = spread @ mean
    return spread


def _halfway(lamp: lighting.Light) -> Tensor:
    """[3] unit vector between the light and the camera's axis."""
    half = lamp.towards + np.array([0, 0, 1], np.float32)
    return torch.from_numpy((half / np.linalg.norm(half)).astype(np.float32))


def _turned(vector: Array, point: Array) -> Array:
    angle = float(np.linalg.norm(vector))
    if angle < 1e-9:
        return point
    axis = vector / angle
    turned: Array = (
        point * np.cos(angle)
        + np.cross(axis, point) * np.sin(angle)
        + axis * (axis @ point) * (1 - np.cos(angle))
    )
    return turned


def _torso(head: HeadModel, vertices: Array, neck: Array) -> Array:
    """Torso vertices [N, 3] at rest to head space: they hang from the neck by its inverse rotation."""
    joint = head.joints[0]
    turn = np.stack([_turned(-neck, axis) for axis in np.eye(3)], 1)
    moved: Array = ((vertices - joint) @ turn.T + joint).astype(np.float32)
    return moved


def _to_studio(group: strands.Strands, posed: Array, pose: Pose) -> Array:
    turn = (pose.rotation * _FLIP[:, None]).T.astype(np.float32)
    return (group.posed(posed) @ turn + (pose.translation * _FLIP)).astype(np.float32)


def _normals(vertices: Array, triangles: NDArray[np.int32]) -> Array:
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    face = np.cross(b - a, c - a)
    total = np.zeros_like(vertices)
    for i in range(3):
        for k in range(3):
            total[:, k] += np.bincount(triangles[:, i], face[:, k], len(vertices))
    unit: Array = total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-20)
    return unit


def _pixels(points: Array, camera: Camera) -> Array:
    return np.concatenate([camera.project(points), points[:, 2:]], 1).astype(np.float32)


def _gathered(values: Tensor, triangles: Tensor, face: Tensor, weight: Tensor) -> Tensor:
    """``values`` [V, C] at a list of pixels [N, C]."""
    return raster.interpolate(values, triangles, face[None], weight[None])[0]


def _developed(image: Tensor, covered: Tensor, size: Camera, background: Array) -> NDArray[np.uint8]:
    """Average the samples [HS * WS, 3], lay what is covered over the background, expose and encode."""
    s = SUPERSAMPLING
    samples = image.view(size.height, size.width, 3)
    mask = covered.view(size.height, size.width).to(torch.uint8)
    linear, count = samples[::s, ::s].clone(), mask[::s, ::s].clone()
    for i, j in [(i, j) for i in range(s) for j in range(s)][1:]:
        linear += samples[i::s, j::s]
        count += mask[i::s, j::s]
    scale = len(_CURVE) / _CURVE_RANGE
    bare = 1 - count.float() / s**2
    linear = linear * (scale / s**2) + bare[..., None] * torch.from_numpy(background * np.float32(scale))
    return _CURVE[linear.clamp_max_(len(_CURVE) - 1).to(torch.int32).numpy()]


def _film() -> NDArray[np.uint8]:
    """The exposed, toned and encoded value of linear light in [0, _CURVE_RANGE]: a shoulder, then the sRGB curve."""
    linear = _EXPOSURE * np.linspace(0, _CURVE_RANGE, 1 << 14)
    toned = np.where(linear < 0.35, linear, 0.35 + 0.65 * (1 - np.exp(-(linear - 0.35) / 0.65)))
    encoded = np.where(toned < 0.0031308, 12.92 * toned, 1.055 * toned ** (1 / 2.4) - 0.055)
    return np.clip(encoded * 255 + 0.5, 0, 255).astype(np.uint8)


_CURVE_RANGE = 4.0
_CURVE = _film()
