"""The head's rigid pose: from 3-D landmarks, refined on the image, smoothed over time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avatarkit.tracking.camera import Linearized, linearize, robust

Float = NDArray[np.float32]
Array = NDArray[np.floating]
Bool = NDArray[np.bool_]

DEPTH = 0.005
"""Weight of the landmarks' depth beside their places in the picture, times the stability of each once more.

It is a network's guess, but the only witness that tells a nod from a change of face. With twenty times as much a head
nods as far as its landmarks do (.8 of the truth on a made-up head, not .65), but its jaw follows the lips less.
"""


def procrustes(source: Array, target: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Similarities with least weighted squares |scale R source + shift - target| over P points (Umeyama 1991).

    ``source`` and ``target`` [..., P, 3], ``weight`` [..., P]. Returns scale [...], rotation [..., 3, 3] and
    shift [..., 3].
    """
    share = (weight / weight.sum(-1, keepdims=True))[..., None]
    middle, goal = (share * source).sum(-2, keepdims=True), (share * target).sum(-2, keepdims=True)
    left, right = source - middle, target - goal
    u, s, vt = np.linalg.svd(np.swapaxes(share * right, -1, -2) @ left)
    flip = np.ones_like(s)
    flip[..., 2] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * flip[..., None, :]) @ vt
    scale = (s * flip).sum(-1) / (share * np.square(left)).sum((-2, -1))
    shift = goal[..., 0, :] - scale[..., None] * (rotation @ middle[..., 0, :, None])[..., 0]
    return scale, rotation, shift


def initial(points: Float, observed: Float, depth: Float, weight: Float) -> tuple[Float, Float]:
    """First pose of each frame: ``points`` [P, 3] onto landmarks with relative depth, by weak perspective.

    ``observed`` [N, P, 2] and ``depth`` [N, P] on the plane z = 1 (NaN where not seen). Returns rotation
    [N, 3, 3] and translation [N, 3].
    """
    seen = np.isfinite(observed[..., 0])
    lifted = np.where(seen[..., None], np.concatenate([observed, depth[..., None]], -1), 0.0).astype(
        np.float64
    )
    wide = np.broadcast_to(points.astype(np.float64), lifted.shape)
    scale, rotation, shift = procrustes(wide, lifted, np.where(seen, weight, 0.0))
    z = 1.0 / np.maximum(scale, 1e-6)
    translation = np.concatenate([shift[..., :2] * z[..., None], z[..., None]], -1)
    return rotation.astype(np.float32), translation.astype(np.float32)


def refine(
    points: Float,
    rotation: Float,
    translation: Float,
    observed: Float,
    weight: Float,
    unit: float,
    sigma: float,
    steps: int = 1,
    depth: Float | None = None,
) -> tuple[Float, Float]:
    """Gauss-Newton steps on the pose of each frame; arguments as in ``camera.linearize``, ``weight`` [P].

    ``depth`` [N, P] is the landmarks' relative depth on the plane z = 1, where it is known.
    """
    for _ in range(steps):
        linear = linearize(points, rotation, translation, observed, unit)
        jacobian = linear.by_pose(translation)
        w = robust(linear, sigma) * weight
        weighted = jacobian * np.tile(w, 2)[..., None]
        normal = (np.swapaxes(weighted, -1, -2) @ jacobian).astype(np.float64)
        residual = np.moveaxis(linear.residual, -1, 1).reshape(len(points), -1, 1)
        right = (np.swapaxes(weighted, -1, -2) @ residual).astype(np.float64)
        if depth is not None:
            _lean(normal, right, linear, depth, translation, DEPTH * weight * w, unit)
        normal += 1e-5 * np.einsum("nii->n", normal)[:, None, None] * np.eye(6) / 6 + 1e-9 * np.eye(6)
        step = np.linalg.solve(normal, right)[..., 0]
        rotation = (rotation_of(np.clip(step[:, :3], -0.3, 0.3)) @ rotation).astype(np.float32)
        translation = (translation + step[:, 3:]).astype(np.float32)
        translation[:, 2] = np.maximum(translation[:, 2], 0.05)
    return rotation, translation


def _lean(
    normal: NDArray[np.float64],
    right: NDArray[np.float64],
    linear: Linearized,
    depth: Float,
    translation: Float,
    weight: Float,
    unit: float,
) -> None:
    """Adds to the equations ``normal`` [N, 6, 6] and ``right`` [N, 6, 1] how the face leans by its ``depth`` [N, P].

    A depth is known but for a constant, which is taken out with the weighted means.
    """
    arm = linear.camera - translation[:, None]
    tilt = np.stack([arm[..., 1], -arm[..., 0], depth * translation[:, 2:] - arm[..., 2]], -1) / unit
    tilt = np.where(linear.seen[..., None], tilt, np.float32(0))
    share = weight / np.maximum(weight.sum(1, keepdims=True), 1e-9)
    tilt -= share[:, None] @ tilt
    product = np.swapaxes(tilt * weight[..., None], 1, 2) @ tilt
    normal[:, :2, :2] += product[:, :2, :2]
    right[:, :2, 0] += product[:, :2, 2]


def smoothed(
    rotation: Float, translation: Float, linked: Bool, unit: float, strength: float
) -> tuple[Float, Float]:
    """Poses [N, 3, 3], [N, 3] freed of the detector's jitter without lag; frames not ``linked`` start anew.

    Each run of frames is fitted by the curve with least |data - curve|^2 + strength rho(second difference):
    Whittaker's smoother with a robust norm, so that a nod keeps its turning points.
    """
    if strength <= 0 or len(rotation) < 3:
        return rotation, translation
    from scipy.spatial.transform import Rotation

    rotation, translation = rotation.astype(np.float64), translation.astype(np.float64)
    for start, stop in runs(linked):
        if stop - start < 3:
            continue
        part = slice(start, stop)
        turns = Rotation.from_matrix(rotation[part])
        middle = turns.mean()
        angles = (turns * middle.inv()).as_rotvec()
        depth = translation[part, 2:3]
        # Sideways motion is seen in the image, depth only through size: smooth them where noise lives.
        place = translation[part, :2] / depth
        nominal = float(np.median(depth)) / unit
        angles = whittaker(angles, strength, 0.006)
        place = whittaker(place * nominal, strength, 0.6) / nominal
        logarithm = whittaker(np.log(depth) * 100, 4 * strength, 0.6) / 100
        rotation[part] = (Rotation.from_rotvec(angles) * middle).as_matrix()
        depth = np.exp(logarithm)
        translation[part] = np.concatenate([place * depth, depth], 1)
    return rotation.astype(np.float32), translation.astype(np.float32)


def with_average_of(
    rotation: Float, translation: Float, moving: Float, shifting: Float
) -> tuple[Float, Float]:
    """The poses ``moving``, ``shifting`` about another head frame: the one that agrees best with the first poses.

    The change is one turn and one shift in head space for the whole clip.
    """
    from scipy.spatial.transform import Rotation

    between = Rotation.from_matrix(np.swapaxes(moving, 1, 2).astype(np.float64) @ rotation)
    turn = between.mean().as_matrix()
    shift = np.median(np.einsum("nji,nj->ni", moving, translation - shifting), 0)
    return (moving @ turn).astype(np.float32), (shifting + moving @ shift).astype(np.float32)


def whittaker(
    values: NDArray[np.floating],
    strength: float,
    jump: float,
    rounds: int = 3,
    certainty: NDArray[np.floating] | None = None,
) -> NDArray[np.float64]:
    """Smooth columns of ``values`` [N, C]; second differences well above ``jump`` are taken for real motion.

    ``certainty`` [N] weighs the data of each frame (default 1).
    """
    from scipy.linalg import solveh_banded

    data = values.astype(np.float64)
    count, curve = len(data), data.copy()
    trust = np.ones(count) if certainty is None else np.asarray(certainty, np.float64)
    if count < 3:
        return curve
    for _ in range(rounds):
        bend = np.linalg.norm(np.diff(curve, 2, axis=0), axis=1)
        weight = strength / (1.0 + np.square(bend / jump))
        bands = np.zeros((3, count))
        bands[2] = trust
        for offset, coefficient in ((0, 1.0), (1, 4.0), (2, 1.0)):
            bands[2, offset : count - 2 + offset] += coefficient * weight
        bands[1, 1:-1] -= 2 * weight
        bands[1, 2:] -= 2 * weight
        bands[0, 2:] += weight
        curve = solveh_banded(bands, trust[:, None] * data)
    return curve


def runs(linked: Bool) -> list[tuple[int, int]]:
    """[start, stop) of the runs of frames; a frame that is not ``linked`` to the one before begins a run."""
    starts = [0, *(int(i) for i in np.flatnonzero(~linked) if i > 0)]
    return list(zip(starts, [*starts[1:], len(linked)], strict=True)) if len(linked) else []


def rotation_of(vector: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rotation matrices [N, 3, 3] of axis-angle ``vector`` [N, 3]."""
    from scipy.spatial.transform import Rotation

    matrix: NDArray[np.float64] = Rotation.from_rotvec(vector).as_matrix()
    return matrix
