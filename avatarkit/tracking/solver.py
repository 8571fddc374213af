"""Landmarks to a person and their motion: identity, refined shapes, pose and expression of every frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from avatarkit.tracking import gaze, pose
from avatarkit.tracking.basis import Basis
from avatarkit.tracking.camera import Linearized, linearize, robust
from avatarkit.tracking.coefficients import PAIRS, Prior, Products, descend, moments
from avatarkit.tracking.observed import Observations
from avatarkit.tracking.person import ShapeRefiner, identity_step, normalized, smoother_of

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Result = TypeVar("Result")

CHUNK = 256
"""Most frames solved together: enough for matrix products to pay, few enough to keep memory flat."""
LANES = 2
"""Chunks solved at a time."""
FIT_FRAMES, FIRST_FRAMES = 600, 100
"""Frames from which a person is learned, at last and in the first rounds; a longer clip is sampled evenly, its motion
solved for every frame."""
FIRST_ROUNDS = 3
"""Rounds in which a person is learned from FIRST_FRAMES."""
KNOWN_ROUNDS = 2
"""Rounds before smoothing where the coefficients of some frames are known, in place of the six that find them."""

WIDE = 24.0
"""The outlier scale starts here, in solver units, and halves: a wide open mouth is no outlier."""


@dataclass(frozen=True)
class Settings:
    """Weights of the energy. Residuals are in solver units: percents of the distance between the eyes."""

    sigma: float = 5.0
    """error at which a landmark begins to count as an outlier (Cauchy)."""
    sparse: float = 15.0
    ridge: float = 10.0
    look: float = 800.0
    """weight of half the squared distance of the eyeLook coefficients from what the irises say."""
    steady: float = 1550.0
    jump: float = 0.04
    pose_smooth: float = 2.0
    gaze_smooth: float = 2.0
    rounds: int = 6
    refine_rounds: int = 4
    refine: bool = True

    @classmethod
    def of(cls, smooth: float, refine: bool) -> Settings:
        """The defaults with their smoothing over time multiplied by ``smooth``."""
        base = cls(refine=refine)
        return replace(
            base, steady=base.steady * smooth, pose_smooth=base.pose_smooth * smooth,
            gaze_smooth=base.gaze_smooth * smooth,
        )  # fmt: skip


@dataclass(frozen=True)
class Motion:
    """Pose and expression of N frames."""

    rotation: Float
    translation: Float
    expression: Float
    """[N, E]"""
    gaze: Float | None = None
    """[N, 2, 2] yaw and pitch in degrees of the (left, right) eye; None: taken from the irises in every pass."""
    error: Float = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    """[N, P] landmark errors in solver units, NaN where not seen; only after ``solve_motion``."""

    def __len__(self) -> int:
        return len(self.rotation)


@dataclass(frozen=True)
class Known:
    """Coefficients that some frames have already."""

    rows: NDArray[np.int64]
    """[K] ascending."""
    expression: Float
    """[K, E]"""

    def spread(self, rows: NDArray[np.int64]) -> Float:
        """[N, E] the coefficients of the nearest known frame, for frames ``rows`` [N]."""
        after = (
            np.searchsorted(self.rows, rows).clip(1, len(self.rows) - 1) if len(self.rows) > 1 else 0 * rows
        )
        before = np.maximum(after - 1, 0)
        nearer = np.where(rows - self.rows[before] <= self.rows[after] - rows, before, after)
        return self.expression[nearer]


def fit_person(
    template: Basis, seen: Observations, settings: Settings, report: Callable[[float], None]
) -> tuple[Basis, Known]:
    """Learn the person: neutral face and, with ``settings.refine``, shapes, from at most FIT_FRAMES frames.

    Also returns those frames' coefficients.
    """
    rows = seen.sampled(FIT_FRAMES)
    sampled = seen.at(rows)
    prior = prior_of(template, settings)
    few = sampled.sampled(FIRST_FRAMES)
    seen = sampled.at(few)
    basis, motion = template, first_motion(template, seen)
    share = 0.5 if settings.refine else 1.0
    products = Products(basis.shapes)
    for step in range(settings.rounds):
        if step == FIRST_ROUNDS and len(few) < len(sampled):
            known = Known(few, motion.expression)
            seen = sampled
            motion = replace(first_motion(basis, seen), expression=known.spread(np.arange(len(seen))))
        sigma = max(settings.sigma, WIDE * 0.5**step)
        motion, _ = alternate(basis, products, seen, motion, prior, sigma)
        basis, motion = _identity(basis, template, products, seen, motion, prior, sigma)
        report(share * (step + 1) / settings.rounds)
    looking = gaze.angles(seen.iris, basis.eyes, basis.eye_radius, motion.rotation, motion.translation)
    basis = replace(basis, eyes=basis.eyes + gaze.parallel(looking, basis.eye_radius))
    if settings.refine:
        basis, motion = refine_person(
            basis, template, seen, motion, settings, lambda done: report(0.5 + 0.5 * done)
        )
    return basis, Known(rows, motion.expression)


def refine_person(
    person: Basis,
    template: Basis,
    seen: Observations,
    motion: Motion,
    settings: Settings,
    report: Callable[[float], None],
) -> tuple[Basis, Motion]:
    """Learn how this person does each expression from frames with a first ``motion``, which improves with it."""
    prior, basis, smoother = prior_of(template, settings), person, smoother_of(person)
    for step in range(settings.refine_rounds):
        basis = basis.with_person(basis.neutral, _refined(basis, smoother, seen, motion, settings.sigma))
        products = Products(basis.shapes)
        motion, _ = alternate(basis, products, seen, motion, prior, settings.sigma)
        basis, motion = _identity(basis, template, products, seen, motion, prior, settings.sigma)
        report((step + 1) / settings.refine_rounds)
    return basis, motion


def solve_motion(
    person: Basis,
    seen: Observations,
    settings: Settings,
    report: Callable[[float], None],
    known: Known | None = None,
) -> Motion:
    """Pose and expression of every frame for a known person, starting from what is ``known`` of some frames."""
    prior = prior_of(person, settings)
    products = Products(person.shapes)
    motion = first_motion(person, seen)
    if known is not None:
        motion = replace(motion, expression=known.spread(np.arange(len(seen))))
    for step in range(6 if known is None else KNOWN_ROUNDS):
        sigma = max(settings.sigma, WIDE * 0.5 ** (step + (0 if known is None else 1)))
        motion, _ = alternate(person, products, seen, motion, prior, sigma)
        report((step + 1) / 10)
    rotation, translation = pose.smoothed(
        motion.rotation, motion.translation, seen.linked, person.unit, settings.pose_smooth
    )
    looking = gaze.angles(seen.iris, person.eyes, person.eye_radius, rotation, translation)
    looking = gaze.smoothed(looking, seen.open_eyes, seen.linked, settings.gaze_smooth)
    motion = replace(motion, rotation=rotation, translation=translation, gaze=looking)
    for step in range(4):
        motion, _ = alternate(person, products, seen, motion, prior, settings.sigma, pose_steps=0)
        report((step + 7) / 10)
    return replace(motion, error=errors(person, seen, motion))


def first_motion(basis: Basis, seen: Observations) -> Motion:
    """Poses of the neutral face: Procrustes on the landmarks' relative depth, then three steps on the image."""

    def work(part: slice) -> tuple[Float, Float]:
        plane, depth = seen.plane(part), seen.depth(part)
        found = pose.initial(basis.neutral, plane, depth, basis.stability)
        points = np.broadcast_to(basis.neutral, (len(plane), *basis.neutral.shape))
        return pose.refine(points, *found, plane, basis.stability, basis.unit, 8.0, 3, depth)

    parts = list(_mapped(work, len(seen)))
    rotation, translation = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    return Motion(rotation, translation, np.zeros((len(seen), len(basis.shapes)), np.float32))


RARITY = {
    "jawOpen": 0.15, "eyeBlink": 0.1, "mouthSmile": 0.25, "browDown": 0.5, "browInnerUp": 0.7,
    "mouthShrugUpper": 1.5, "mouthRollUpper": 1.5, "noseSneer": 1.5, "eyeSquint": 3.0, "eyeWide": 2.0,
    "mouthPress": 2.0, "mouthFunnel": 2.0, "mouthDimple": 2.5, "mouthStretch": 2.5, "cheekSquint": 3.0,
    "jawForward": 4.0, "cheekPuff": 5.0, "mouthClose": 20.0,
}  # fmt: skip
"""How much rarer than others an expression is on people's faces, or how much worse one camera sees it. An open jaw and
mouthClose are, on closed lips, the same picture: were it not rare, jaws would seem to move where nobody speaks."""


def rare(name: str) -> float:
    """The factor on the prior's weights for the expression ``name``."""
    return RARITY.get(name.removesuffix("Left").removesuffix("Right"), 1.0)


def _looking(basis: Basis, seen: Observations, motion: Motion) -> Float:
    """Gaze [N, 2, 2] of every frame with the present poses; closed eyes look where the clip mostly does."""
    if motion.gaze is not None:
        return motion.gaze
    sight = gaze.angles(seen.iris, basis.eyes, basis.eye_radius, motion.rotation, motion.translation)
    return gaze.settled(sight, seen.open_eyes)


def prior_of(basis: Basis, settings: Settings) -> Prior:
    """What ``settings`` expect of the coefficients of ``basis``: tongues are not seen, lids follow the gaze."""
    look = np.array([name.startswith("eyeLook") for name in basis.names])
    rarity = np.array([rare(name) for name in basis.names], np.float32)
    return Prior(
        np.where(look, np.float32(0), settings.sparse * rarity).astype(np.float32),
        np.where(look, settings.look, settings.ridge * rarity).astype(np.float32),
        settings.steady,
        settings.jump,
        np.array([not name.startswith("tongue") for name in basis.names]),
    )


def _chunks(count: int) -> list[slice]:
    """Parts of ``count`` frames: as many for each thread, alike in size."""
    parts = min(LANES * -(-count // (LANES * CHUNK)), count)
    ends = [count * part // parts for part in range(parts + 1)] if parts else [0]
    return [slice(start, end) for start, end in pairwise(ends)]


def _mapped(work: Callable[[slice], Result], count: int) -> Iterator[Result]:
    """``work`` on every chunk, ``LANES`` at a time, results in order: the same bits whatever the timing."""
    chunks = _chunks(count)
    if LANES == 1 or len(chunks) == 1:
        yield from map(work, chunks)
        return
    with ThreadPoolExecutor(LANES) as pool:
        yield from pool.map(work, chunks)


def alternate(
    basis: Basis,
    products: Products,
    seen: Observations,
    motion: Motion,
    prior: Prior,
    sigma: float,
    pose_steps: int = 1,
    sweeps: int = 8,
    before: Float | None = None,
) -> tuple[Motion, tuple[Float, Float]]:
    """One alternation over all frames: pose with the current expression, then expression with the new pose.

    ``before`` [E] are the coefficients of the frame before the first one, where there is one that it continues.
    How the irises turn lids is known only roughly: eyeLook coefficients are pulled to the gaze, not set by it.
    Also returns the sums of A^T W A [6, P] and A^T W r [P, 3] that are left for the identity.
    """
    expression = motion.expression
    padded = np.concatenate([expression[:1], expression, expression[-1:]])
    linked = np.concatenate([seen.linked, [False]]).astype(np.float32)
    linked[0] = 0.0
    if before is not None:
        padded[0], linked[0] = before, 1.0

    looking = _looking(basis, seen, motion)

    def work(part: slice) -> tuple[Float, Float, Float, Float, Float]:
        w, plane = expression[part], seen.plane(part)
        points = basis.moved(w)
        rotation, translation = pose.refine(
            points,
            motion.rotation[part],
            motion.translation[part],
            plane,
            basis.stability,
            basis.unit,
            sigma,
            pose_steps,
            seen.depth(part),
        )
        linear = linearize(basis.moved(w), rotation, translation, plane, basis.unit)
        moment, pull = moments(linear, rotation, robust(linear, sigma) * basis.detail)
        moved = descend(
            products.normal(moment), products.gradient(pull), w.T,
            padded[part.start : part.stop].T, padded[part.start + 2 : part.stop + 2].T,
            (linked[part], linked[part.start + 1 : part.stop + 1]), prior, sweeps,
            gaze.coefficients(looking[part], basis.names, np.zeros_like(w)).T,
        ).T  # fmt: skip
        change = ((moved - w) @ products.flat).reshape(points.shape)
        for k, (a, b) in enumerate(PAIRS):  # what the new coefficients explain is no longer the identity's
            pull[..., a] -= moment[:, k] * change[..., b]
            if a != b:
                pull[..., b] -= moment[:, k] * change[..., a]
        return rotation, translation, moved, moment.sum(0), pull.sum(0)

    parts = list(_mapped(work, len(seen)))
    rotation, translation, w = (np.concatenate([p[i] for p in parts]) for i in range(3))
    moment = np.sum([p[3] for p in parts], axis=0)
    pull = np.sum([p[4] for p in parts], axis=0)
    return Motion(rotation, translation, w, motion.gaze), (moment, pull)


def _identity(
    basis: Basis,
    template: Basis,
    products: Products,
    seen: Observations,
    motion: Motion,
    prior: Prior,
    sigma: float,
) -> tuple[Basis, Motion]:
    motion, (moment, pull) = alternate(basis, products, seen, motion, prior, sigma)
    neutral = identity_step(basis, template, moment, pull, len(seen))
    neutral, rotation, translation = normalized(neutral, template, motion.rotation, motion.translation)
    return basis.with_person(neutral, basis.shapes), replace(
        motion, rotation=rotation, translation=translation
    )


def _refined(
    basis: Basis,
    smoother: Callable[[pose.Array], pose.Array],
    seen: Observations,
    motion: Motion,
    sigma: float,
) -> Float:
    refiner = ShapeRefiner(basis, smoother)

    def work(part: slice) -> tuple[Float, Float]:
        w, rotation = motion.expression[part], motion.rotation[part]
        linear = linearize(basis.moved(w), rotation, motion.translation[part], seen.plane(part), basis.unit)
        weight = robust(linear, 2 * sigma)
        return w, lifted(linear, rotation) * weight[..., None]

    for w, residual in _mapped(work, len(seen)):
        refiner.add(w, residual)
    return refiner.shapes()


def lifted(linear: Linearized, rotation: Float) -> Float:
    """Residuals [N, P, 3] in meters of head space, at the model's depth and parallel to the image."""
    flat = linear.residual / linear.scale[..., None] * linear.camera[..., 2:]
    return np.asarray(flat @ rotation[:, :2], np.float32)


def errors(basis: Basis, seen: Observations, motion: Motion) -> Float:
    """[N, P] distances of the landmarks ``seen`` from the face of ``motion``, solver units; NaN where unseen."""

    def work(part: slice) -> Float:
        linear = linearize(
            basis.moved(motion.expression[part]), motion.rotation[part], motion.translation[part],
            seen.plane(part), basis.unit,
        )  # fmt: skip
        return np.where(linear.seen, linear.error, np.float32(np.nan))

    return np.concatenate([np.asarray(e) for e in _mapped(work, len(seen))])
