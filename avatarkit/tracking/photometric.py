"""The rigid pose of the skull from the picture itself: every frame aligned to the clip's own texture.

Landmarks take part in expressions, the skull does not. Points on forehead, hair, ears and the ridge of the nose
are looked up in every frame; their usual brightness over the clip is the texture that each frame's pose is moved
to match (Lucas and Kanade 1981, on a head model as in La Cascia et al. 2000). Only the clip itself is used.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from avatarkit.heads.model import HeadModel
from avatarkit.tracking.pictures import Windows
from avatarkit.tracking.pose import rotation_of

Float = NDArray[np.float32]

POINTS = 600
"""Points looked up on the skull."""
SKIN_SHARE = 3.0
"""How much denser they lie on skin than on hair, which has a life of its own."""
STILL = 0.0006
"""Meters that expressions (deviation 0.3 of every coefficient) may move such a point by."""
PASSES = 5
STEPS = 2
"""Passes over the clip, each with a new texture, and Gauss-Newton steps of a frame in each."""
TEXTURE_FRAMES = 240
"""Frames the texture is taken from, evenly spread."""
LEAST_FRAMES = 12
"""A shot shorter than this has no texture of its own to speak of."""
GREY = 4.0
"""Deviation of a good point's brightness, grey levels."""
TURN, SHIFT, DEPTH = 0.008, 0.001, 0.003
"""Deviations (radians, meters) within which the landmarks' smoothed pose is believed."""
CHUNK = 64


def skull_points(head: HeadModel, neutral: Float) -> tuple[Float, Float]:
    """Points [K, 3] of the ``neutral`` head [V, 3] that no expression moves and a frontal camera sees, and their
    normals [K, 3]; spread evenly over the surface.
    """
    motion = 0.3 * np.sqrt(np.square(head.shapes.astype(np.float32)).sum((0, 2)))
    still = (motion < STILL) & head.region_mask("skin", "scalp", "ears") & (head.skinning[:, 0] > 0.99)
    corners = neutral[head.triangles]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(cross, axis=1)
    facing = cross[:, 2] > 0.2 * area
    skin = head.region_mask("skin")[head.triangles].all(1)
    visible = np.maximum(cross[:, 2], 0.0) * np.where(skin, SKIN_SHARE, 1.0)
    share = np.where(still[head.triangles].all(1) & facing, visible, 0.0)
    if share.sum() <= 0:
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32)
    # systematic sampling: the same points every time, one per equal share of the visible surface
    chosen = np.searchsorted(np.cumsum(share) / share.sum(), (np.arange(POINTS) + 0.5) / POINTS)
    weights = np.random.default_rng(0).dirichlet((1.0, 1.0, 1.0), POINTS)
    points = (weights[:, :, None] * corners[chosen]).sum(1)
    return points.astype(np.float32), (cross[chosen] / area[chosen, None]).astype(np.float32)


def align(
    windows: Windows,
    points: tuple[Float, Float],
    rotation: Float,
    translation: Float,
    intrinsics: Float,
    shots: list[tuple[int, int]],
) -> tuple[Float, Float]:
    """Poses [N, 3, 3], [N, 3] that keep the skull's texture in place, near the given (smooth) ones.

    ``points`` from ``skull_points``; ``shots`` are the [start, stop) between cuts, each with its own texture.
    """
    rotation, translation = rotation.copy(), translation.copy()
    if len(points[0]) < 100:
        return rotation, translation
    for start, stop in shots:
        if stop - start >= LEAST_FRAMES:
            part = slice(start, stop)
            rotation[part], translation[part] = _align_shot(
                windows.part(part), points, rotation[part], translation[part], intrinsics
            )
    return rotation, translation


def _align_shot(
    windows: Windows, points: tuple[Float, Float], rotation: Float, translation: Float, intrinsics: Float
) -> tuple[Float, Float]:
    first = (rotation.astype(np.float64), translation.astype(np.float64))
    pose = first
    sampled = np.unique(np.linspace(0, len(windows) - 1, TEXTURE_FRAMES).round().astype(int))
    chunks = [slice(i, min(i + CHUNK, len(windows))) for i in range(0, len(windows), CHUNK)]
    with ThreadPoolExecutor(2) as pool:
        for step in range(PASSES):
            blur = 3.0 if step < 2 else 1.2
            texture, trust = _texture(windows, sampled, points, pose, intrinsics, blur)

            def work(part: slice, pose=pose, texture=texture, trust=trust, blur=blur):  # type: ignore[no-untyped-def]
                return _steps(windows, part, points, pose, first, intrinsics, texture, trust, blur)

            done = list(pool.map(work, chunks))
            pose = (np.concatenate([d[0] for d in done]), np.concatenate([d[1] for d in done]))
    return pose[0].astype(np.float32), pose[1].astype(np.float32)


Pose = tuple[NDArray[np.float64], NDArray[np.float64]]


def _texture(
    windows: Windows,
    rows: NDArray[np.int64],
    points: tuple[Float, Float],
    pose: Pose,
    intrinsics: Float,
    blur: float,
) -> tuple[Float, Float]:
    """Usual contrast [K] of every point over the frames ``rows``, and how far it is to be trusted [K]."""
    values = np.empty((len(rows), len(points[0])), np.float32)
    for i, row in enumerate(rows):
        camera = points[0] @ pose[0][row].T + pose[1][row]
        where = _looked_up(windows, row, camera, intrinsics)
        values[i] = _sampled(_layers(windows.pictures[row], blur)[..., :1], where)[:, 0]
    texture = np.median(values, 0)
    spread = 1.4826 * np.median(np.abs(values - texture), 0)
    return texture, (1.0 / (np.square(spread) + GREY**2)).astype(np.float32)


def _steps(
    windows: Windows,
    part: slice,
    points: tuple[Float, Float],
    pose: Pose,
    first: Pose,
    intrinsics: Float,
    texture: Float,
    trust: Float,
    blur: float,
) -> Pose:
    """Gauss-Newton steps of the frames ``part`` towards the texture, held near the ``first`` poses."""
    from scipy.spatial.transform import Rotation

    rotation, translation = pose[0][part], pose[1][part]
    layers = [_layers(windows.pictures[row], blur) for row in range(part.start, part.stop)]
    focal = float(intrinsics[0, 0])
    prior = 1.0 / np.square([TURN] * 3 + [SHIFT, SHIFT, DEPTH])
    for _ in range(STEPS):
        arm = points[0] @ np.swapaxes(rotation, 1, 2)
        camera = (arm + translation[:, None]).astype(np.float32)
        facing = (np.einsum("kc,nc->nk", points[1], rotation[:, 2]) < -0.15).astype(np.float32)
        seen = np.stack(
            [
                _sampled(layer, _looked_up(windows, part.start + i, camera[i], intrinsics))
                for i, layer in enumerate(layers)
            ]
        )
        difference = texture - seen[..., 0]
        weight = trust * facing / (1.0 + np.square(difference) * trust / 4.0)
        # brightness per meter: slopes of the picture, through the projection
        slope = seen[..., 1:] * (windows.zoom[part, None, None] * focal) / camera[..., 2:]
        along = -(slope * camera[..., :2]).sum(-1) / camera[..., 2]
        by_point = np.concatenate([slope, along[..., None]], -1)
        jacobian = np.concatenate([np.cross(arm.astype(np.float32), by_point), by_point], -1)
        weighted = jacobian * weight[..., None]
        normal = (np.swapaxes(weighted, 1, 2) @ jacobian).astype(np.float64)
        right = np.einsum("nkj,nk->nj", weighted, difference).astype(np.float64)
        away = (Rotation.from_matrix(rotation) * Rotation.from_matrix(first[0][part]).inv()).as_rotvec()
        strayed = np.concatenate([away, translation - first[1][part]], 1)
        # neighboring points see the same pixels: together they are worth fewer than they are many
        normal, right = normal * WITNESSES, right * WITNESSES
        step = np.linalg.solve(normal + np.diag(prior), (right - prior * strayed)[..., None])[..., 0]
        step[:, :3] = np.clip(step[:, :3], -0.05, 0.05)
        step[:, 3:] = np.clip(step[:, 3:], -0.01, 0.01)
        rotation = rotation_of(step[:, :3]) @ rotation
        translation = translation + step[:, 3:]
    return rotation, translation


WITNESSES = 0.03
"""Independent points per point looked up."""


def _layers(picture: NDArray[np.uint8], blur: float) -> Float:
    """[SIZE, SIZE, 3]: local contrast (free of slow changes of light) and its slopes along x and y."""
    import cv2

    grey = picture.astype(np.float32)
    smooth = cv2.GaussianBlur(grey, (0, 0), blur)
    contrast = smooth - cv2.blur(grey, (41, 41))
    across = cv2.Sobel(contrast, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
    down = cv2.Sobel(contrast, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
    return np.asarray(cv2.merge([contrast, across, down]), np.float32)


def _looked_up(windows: Windows, row: int, camera: NDArray[np.floating], intrinsics: Float) -> Float:
    """[K, 2] pixel indices in picture ``row`` of camera-space points [K, 3]."""
    pixels = camera[:, :2] / camera[:, 2:] * intrinsics[0, 0] + intrinsics[:2, 2]
    return np.asarray((pixels - windows.corner[row]) * windows.zoom[row] - 0.5, np.float32)


def _sampled(layers: Float, where: Float) -> Float:
    """[K, C] values of ``layers`` [H, W, C] at pixel indices ``where`` [K, 2]."""
    import cv2

    sampled = cv2.remap(layers, where[None], None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(sampled, np.float32).reshape(len(where), -1)
