"""The demo subject's hair: a side-parted bob grown strand by strand over the rest head, brows and lashes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from avatarkit.heads.model import HeadModel
from avatarkit.rendering.noise import noise
from avatarkit.rendering.skin import BROWS, EYES, spline
from avatarkit.rendering.strands import Strands

Array = NDArray[np.float32]


@dataclass(frozen=True)
class HairStyle:
    """Lengths in meters, head space; colors linear."""

    strands: int = 15000
    points: int = 12
    part: float = 0.022
    """x of the parting: to the person's left of the middle."""
    crown: float = -0.065
    """z at which the parting ends in the crown."""
    hem: float = -0.098
    """height at which the hair ends."""
    width: float = 0.00066
    root: tuple[float, float, float] = (0.046, 0.0250, 0.0125)
    tip: tuple[float, float, float] = (0.092, 0.051, 0.025)


class Obstacle:
    """A closed surface that hair is pushed out of."""

    def __init__(self, vertices: Array, normals: Array) -> None:
        self.tree = cKDTree(vertices)
        self.vertices = vertices
        self.normals = normals

    def settled(self, points: Array, clearance: Array, hug: Array) -> Array:
        """``points`` [N, 3] moved along the surface's normals to ``clearance`` [N] above it.

        From below they are pushed all the way; from above they sink by the share ``hug`` [N] of the excess.
        """
        _, index = self.tree.query(points, k=3)
        normal = self.normals[index].mean(1)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        height = np.einsum("ni,ni->n", points - self.vertices[index].mean(1), normal)
        short = clearance - height
        moved: Array = points + np.where(short > 0, np.minimum(short, 0.012), hug * short)[:, None] * normal
        return moved

    def outward(self, points: Array) -> Array:
        """Smoothed normals [S, P, 3] of the surface under ``points`` [S, P, 3]."""
        _, index = self.tree.query(points.reshape(-1, 3), k=12)
        normal = self.normals[index].mean(1)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        return normal.reshape(points.shape).astype(np.float32)


def scatter(
    vertices: Array, triangles: NDArray[np.int32], density: Array, count: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], Array]:
    """``count`` random roots by area times the vertices' ``density`` [V]: triangles [S, 3], barycentrics [S, 3]."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) * density[triangles].mean(1)
    chosen = rng.choice(len(triangles), count, p=area / area.sum())
    u, v = rng.random((2, count))
    root = np.sqrt(u)
    weight = np.stack([1 - root, root * (1 - v), root * v], 1).astype(np.float32)
    return triangles[chosen].astype(np.int64), weight


def bob(
    vertices: Array, normals: Array, triangles: NDArray[np.int32], scalp: Array, obstacle: Obstacle,
    style: HairStyle | None = None, seed: int = 7,
) -> Strands:  # fmt: skip
    """A chin-length bob with a side parting over the rest head ``vertices`` [V, 3]; ``scalp`` [V] is the density.

    Strands leave the scalp away from the parting, fall, and slide down the head at their own distance from it;
    neighbors share most of their direction (clumps), so that the light breaks over locks and not over noise.
    """
    style = style or HairStyle()
    rng = np.random.default_rng(seed)
    triangle, weight = scatter(vertices, triangles, scalp, style.strands, rng)
    root = np.einsum("sk,ski->si", weight, vertices[triangle])
    normal = np.einsum("sk,ski->si", weight, normals[triangle])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    clump = np.stack([noise(root.astype(np.float32), 70.0, 2, seed + i) for i in range(3)], 1)
    fine = rng.standard_normal((style.strands, 3)).astype(np.float32)
    # Combed away from the parting on top; straight down on the sides and at the back.
    top = np.clip((normal[:, 1] - 0.25) / 0.6, 0, 1)
    front = np.clip((root[:, 2] - style.crown) / 0.04, 0, 1)
    side = np.where(root[:, 0] > style.part, 1.0, -1.0)
    around = np.stack([root[:, 0] - style.part, root[:, 2] - style.crown], 1)
    around /= np.maximum(np.linalg.norm(around, axis=1, keepdims=True), 1e-3)
    # at the forehead's edge the hair first rises back, so that it frames the face and does not cross it
    edge = np.clip((root[:, 2] - 0.005) / 0.03, 0, 1)
    back = np.stack([side * (1 - 0.6 * edge), -0.30 - 1.3 * edge], 1)
    flow = front[:, None] * back + (1 - front[:, None]) * around
    comb = np.stack([(0.2 + 0.9 * top) * flow[:, 0], -0.6 + 1.0 * edge, (0.2 + 0.9 * top) * flow[:, 1]], 1)
    comb -= np.einsum("si,si->s", comb, normal)[:, None] * normal
    comb /= np.maximum(np.linalg.norm(comb, axis=1, keepdims=True), 1e-6)
    heading = comb + 0.28 * normal + 0.14 * clump + 0.05 * fine
    heading /= np.linalg.norm(heading, axis=1, keepdims=True)
    layer = (0.0025 + 0.0085 * rng.random(style.strands) ** 1.5 + 0.002 * clump[:, 0]).astype(np.float32)
    hem = style.hem + 0.005 * clump[:, 1] + 0.0025 * fine[:, 0] + 0.012 * np.clip(root[:, 2] / 0.05, 0, 1)
    length = np.clip((root[:, 1] - hem) * 1.12 + 0.045 * top, 0.03, 0.32)
    pace = np.linspace(0.45, 1.35, style.points - 1)  # shorter steps where the head curves most
    pace = pace * (length[:, None] / pace.sum())
    gravity = np.array([0, -1.0, 0])
    points = [root.astype(np.float32)]
    pushed = np.zeros(style.strands, np.float32)
    for i in range(1, style.points):
        # combed at first, then left to its weight
        held = np.clip(1.15 - i / 4.0, 0, 1) * (0.35 + 0.65 * front)[:, None]
        fall = gravity + (comb - gravity) * held
        fall = fall + (0.10 * clump + 0.03 * fine) * np.array([1, 0, 1])
        heading = heading + 0.45 * fall
        heading /= np.linalg.norm(heading, axis=1, keepdims=True)
        lift = layer * min(1.0, 0.35 + 0.22 * i)
        spot = (points[-1] + pace[:, i - 1, None] * heading).astype(np.float32)
        spot = obstacle.settled(spot, lift, 0.55 * np.clip((spot[:, 1] + 0.03) / 0.06, 0, 1))
        aside = _off_the_face(spot)
        if i <= 3:
            pushed += np.abs(aside[:, 0] - spot[:, 0])
        spot = aside
        heading = spot - points[-1]
        heading /= np.maximum(np.linalg.norm(heading, axis=1, keepdims=True), 1e-9)
        points.append(spot)
    grown = np.stack(points, 1)
    colors = _colors(style, layer, clump, rng)
    fine_edge = 0.4 + 0.6 * np.einsum("sk,sk->s", weight, scalp[triangle])[:, None]
    width = _widths(style, rng) * np.maximum(fine_edge, np.linspace(0, 1, style.points) * 1.2)
    strands = Strands.rooted(vertices, triangle, weight, grown, width, colors)
    strands = replace(strands, outward=obstacle.outward(grown), rest=grown)
    x, y, z = np.moveaxis(grown, -1, 0)
    choking = ((z > -0.075) & (np.abs(x) < 0.052) & (y < -0.070)).any(
        1
    )  # slid around to the front of the neck
    along = np.diff(grown, axis=1)
    along /= np.maximum(np.linalg.norm(along, axis=2, keepdims=True), 1e-9)
    kinked = ((along[:, 1:] * along[:, :-1]).sum(2) < 0.70).any(1)  # caught behind an ear
    flyaway = ((np.abs(x) > 0.095) & (y > -0.05)).any(1)
    return strands.chosen(~(choking | kinked | flyaway | (pushed > 0.005)))


def _off_the_face(points: Array) -> Array:
    """Keep strands out of the window that the face looks through."""
    x, y, z = points.T
    # wide at the cheekbones, narrower at forehead and jaw
    half = 0.0645 - 0.9 * np.clip(y - 0.045, 0, 0.05) - 0.10 * np.clip(-y - 0.03, 0, 0.2)
    inside = (z > -0.02) & (np.abs(x) < half) & (y < 0.058)
    moved = points.copy()
    moved[:, 0] = np.where(inside, np.sign(x) * (np.abs(x) + 0.75 * (half - np.abs(x))), x)
    return moved


def _widths(style: HairStyle, rng: np.random.Generator) -> Array:
    s = np.linspace(0, 1, style.points)
    taper = np.clip(0.60 + 1.6 * s, 0, 1.35) * np.clip(2.5 * (1.1 - s), 0.30, 1)
    return style.width * (0.7 + 0.6 * rng.random((style.strands, 1))) * taper


def _colors(style: HairStyle, layer: Array, clump: Array, rng: np.random.Generator) -> Array:
    s = np.linspace(0, 1, style.points)[None, :, None]
    base = np.array(style.root) + (np.array(style.tip) - np.array(style.root)) * (0.15 + 0.85 * s**1.4)
    shade = 1 + 0.28 * clump[:, 1] + 0.22 * rng.standard_normal(style.strands)
    # strands deep inside the hair see less light than those on top, and all of them less at the root
    depth = np.clip((layer - 0.002) / 0.007, 0, 1)
    inside = 0.42 + 0.58 * depth
    color: Array = base * np.clip(shade * inside, 0.12, 1.8)[:, None, None] * np.clip(0.75 + 2.2 * s, 0, 1)
    return color


def brows(head: HeadModel, seed: int = 7, count: int = 420) -> Strands:
    """Eyebrows: short hairs that rise at the head of the brow and lie down towards its tail."""
    rng = np.random.default_rng(seed + 1)
    mark = head.landmarks
    triangles, weights, points, widths = [], [], [], []
    normals = head.normals()
    tree = cKDTree(head.vertices[head.triangles].mean(1))
    for (low, high), side in zip(BROWS, (1.0, -1.0), strict=True):
        lower, upper = (spline(head.vertices[mark[list(line)]]) for line in (low, high))
        t = rng.random(count)  # 0 tail, 1 head
        band = 0.08 + 0.66 * rng.random(count)
        taper = np.clip(t / 0.35, 0.25, 1) * np.clip((1.02 - t) / 0.12, 0.5, 1)
        band = 0.40 + (band - 0.40) * taper
        at = [np.stack([np.interp(t * (len(c) - 1), np.arange(len(c)), c[:, k]) for k in range(3)], 1)
              for c in (lower, upper)]  # fmt: skip
        root = (at[0] + (at[1] - at[0]) * band[:, None]).astype(np.float32)
        _, face = tree.query(root)
        corner = head.triangles[face].astype(np.int64)
        normal = normals[corner].mean(1)
        outwards = np.stack([side * np.ones(count), 0 * t, -0.25 + 0 * t], 1)  # towards the temple
        rise = np.clip((t - 0.55) / 0.45, 0, 1) * 0.9 + np.where(band > 0.45, -0.25, 0.35)
        heading = outwards + rise[:, None] * np.array([0, 1.0, 0]) + 0.13 * rng.standard_normal((count, 3))
        heading -= np.einsum("si,si->s", heading, normal)[:, None] * normal
        heading /= np.linalg.norm(heading, axis=1, keepdims=True)
        length = (0.0050 + 0.0035 * rng.random(count)) * (0.75 + 0.25 * taper)
        s = np.linspace(0, 1, 4)[None, :, None]
        arc = root[:, None] + heading[:, None] * (s * length[:, None, None])
        arc = (
            arc
            + normal[:, None] * (0.0004 + 0.0011 * np.sin(np.pi * 0.9 * s))
            - np.array([0, 0.0006, 0]) * s**2
        )
        triangles.append(corner)
        weights.append(_barycentrics(head.vertices, corner, root))
        points.append(arc)
        widths.append(0.00042 * np.array([1.0, 1.0, 0.75, 0.25]) * (0.8 + 0.4 * rng.random((count, 1))))
    tone = np.clip(1 + 0.3 * rng.standard_normal((2 * count, 1, 1)), 0.5, 1.7)
    color = np.array([0.058, 0.035, 0.022]) * tone * np.ones((1, 4, 1))
    return Strands.rooted(
        head.vertices, np.concatenate(triangles), np.concatenate(weights), np.concatenate(points),
        np.concatenate(widths), color,
    )  # fmt: skip


def lashes(head: HeadModel, seed: int = 7, count: int = 64) -> Strands:
    """Eyelashes on the margins of the four lids, longest at the upper lids' outer half."""
    rng = np.random.default_rng(seed + 2)
    mark = head.landmarks
    tree = cKDTree(head.vertices[head.triangles].mean(1))
    triangles, weights, points, widths = [], [], [], []
    for pair, side in zip(EYES, (1.0, -1.0), strict=True):
        for line, upwards, share in zip(pair, (1.0, -1.0), (1.0, 0.40), strict=True):
            margin = spline(head.vertices[mark[list(line)]])
            n = round(count * (1.0 if upwards > 0 else 0.3))
            t = np.sort(rng.uniform(0.03, 0.93, n))  # 0 outer corner
            root = np.stack([np.interp(t * (len(margin) - 1), np.arange(len(margin)), margin[:, k])
                             for k in range(3)], 1).astype(np.float32)  # fmt: skip
            _, face = tree.query(root + np.array([0, 0.0008 * upwards, 0.0008], np.float32))
            corner = head.triangles[face].astype(np.int64)
            out = np.stack([side * (0.75 - 1.05 * t), 0.55 * upwards + 0 * t, 0.95 + 0 * t], 1)
            out += 0.07 * rng.standard_normal((n, 3))
            out /= np.linalg.norm(out, axis=1, keepdims=True)
            length = share * (0.0058 - 0.0034 * t) * (0.85 + 0.3 * rng.random(n))
            s = np.linspace(0, 1, 5)[None, :, None]
            curl = np.array([0, 0.8 * upwards, -0.25])
            arc = root[:, None] + length[:, None, None] * (out[:, None] * s + curl * s**2.2)
            triangles.append(corner)
            weights.append(_barycentrics(head.vertices, corner, root))
            points.append(arc)
            widths.append(0.00030 * share**0.5 * np.array([1.0, 0.95, 0.8, 0.5, 0.15]) * np.ones((n, 1)))
    shape = (sum(len(t) for t in triangles), 5, 1)
    return Strands.rooted(
        head.vertices, np.concatenate(triangles), np.concatenate(weights), np.concatenate(points),
        np.concatenate(widths), np.array([0.040, 0.027, 0.021]) * np.ones(shape),
    )  # fmt: skip


def _barycentrics(vertices: Array, triangle: NDArray[np.int64], points: Array) -> Array:
    """Barycentrics [S, 3] of ``points`` [S, 3] projected into the planes of ``triangle`` [S, 3]."""
    a, b, c = (vertices[triangle[:, i]].astype(np.float64) for i in range(3))
    u, v, w = b - a, c - a, points - a
    uu, vv, uv = ((p * q).sum(1) for p, q in ((u, u), (v, v), (u, v)))
    uw, vw = (u * w).sum(1), (v * w).sum(1)
    scale = np.maximum(uu * vv - uv * uv, 1e-18)
    beta, gamma = (vv * uw - uv * vw) / scale, (uu * vw - uv * uw) / scale
    return np.stack([1 - beta - gamma, beta, gamma], 1).astype(np.float32)
