"""The training loop: one frame a step, its loss written out, Adam on the Gaussians and a rank-1 step on residuals."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatarkit.files.track import Track
from avatarkit.heads.model import HeadModel
from avatarkit.methods.fitting import Paced
from avatarkit.methods.gaussians.config import Config
from avatarkit.methods.gaussians.drivers import Drivers
from avatarkit.methods.gaussians.footage import Footage
from avatarkit.methods.gaussians.learning import Learner
from avatarkit.methods.gaussians.planting import plant
from avatarkit.methods.gaussians.puppet import TURN_UNIT, UNSURE, Pose, Puppet, torso_model
from avatarkit.methods.gaussians.rig import NECK_STEPS, Rig
from avatarkit.methods.registry import Drive
from avatarkit.ops.anchors import TOGETHER, LearnOptions
from avatarkit.ops.native import retain_memory
from avatarkit.ops.resemblance import resemblance

Float = NDArray[np.float32]

RATES = (6e-5,) * 3 + (0.04,) + (0.008,) * 3 + (0.004,) * 4 + (0.012,) * 3
"""Learning rates of a Gaussian's channels: position (meters), logit, color, quaternion, log scale."""
CORRECTION_RATE = 2e-5
"""Of the corrections of cranium and torso, meters."""
BETAS, EPSILON = (0.9, 0.99), 1e-15
SMALL = (4.5e-4,) * 3 + (9e-8,) + (6e-6,) * 3 + (9e-7,) * 4 + (7.5e-7,) * 3
"""Adam's epsilons of 10,000 Gaussians: a third of what gradients usually measure. What is hardly ever seen, behind
ears or in a closed mouth, stays as it was planted."""
WARM_UP = 30
"""Steps over which the rates rise."""


@dataclass
class Trainer(Paced):
    """A fit under way. Every draw depends on the seed and the step's number alone."""

    config: Config
    clip: Footage
    training: NDArray[np.int64]
    puppet: Puppet
    plate: Float
    """[R, R, 3] what is behind the person in the crop"""
    learner: Learner
    correction_moments: Float
    first: NDArray[np.int64]
    """the training frames of the first steps"""
    poses: dict[int, Pose] = field(default_factory=dict)
    blended: Tensor = field(default_factory=lambda: torch.empty(0))
    """[14, N] Gaussians of the next step's frame"""
    step: int = 0
    seconds: float = 0.0
    _order: tuple[int, NDArray[np.int64]] | None = field(default=None, init=False)
    """an epoch and the order of its frames"""
    _drawn: tuple[int, list[list[float]]] | None = field(default=None, init=False)
    """a round of steps and its random numbers"""

    @classmethod
    def create(
        cls,
        config: Config,
        clip: Footage,
        training: NDArray[np.int64],
        head: HeadModel,
        rest: int,
        plate: Float,
        first: NDArray[np.int64] | None = None,
    ) -> Trainer:
        """A trainer before its first step; ``rest`` is the frame in whose pose the torso stands.

        ``first``: the training frames it is planted and begun with, one a step; default: all.
        """
        first = training if first is None else first
        track = clip.track
        shapes = head.shapes if track.shapes is None else track.shapes
        rig, _ = Rig.of(head, track.neutral, shapes, track.rotation[rest], track.translation[rest])
        drives = [Drive.of(track, int(t)) for t in training]
        drivers = Drivers.of(drives, rig, track.intrinsics, config.expressions, config.landmarks, config.pose)
        planted = [drives[i] for i in np.flatnonzero(np.isin(training, first))]
        planting = plant(head, track.neutral, rig, clip, planted, first, config.count, config.seed)
        puppet = Puppet(
            rig, drivers, planting.bone, planting.opening,
            np.zeros((2, 6, len(drivers) + 1), np.float32), np.zeros((4, 0), np.float32),
            np.eye(2, 3, dtype=np.float32), float(clip.camera.intrinsics[0, 0]),
        )  # fmt: skip
        if track.torso is not None and np.isfinite(track.torso[rest]).all():
            puppet.torso_rest = track.torso[rest].astype(np.float32)
            seen = np.isfinite(track.torso[training]).all((1, 2)) & (_confidence(track)[training] > UNSURE)
            poses = np.stack([drivers.placed(drive) for drive in drives])
            if seen.any():
                puppet.torso_map = torso_model(
                    track.torso[training][seen],
                    _confidence(track)[training][seen],
                    puppet.torso_rest,
                    poses[seen],
                )
        trainer = cls(
            config, clip, training, puppet, plate, Learner.create(planting.base, len(drivers)),
            np.zeros((2, *puppet.corrections.shape), np.float32), first,
        )  # fmt: skip
        trainer.blended = trainer.learner.begin(trainer.round_of(0))
        return trainer

    # Progress ------------------------------------------------------------------------------------------

    def frame_of(self, step: int) -> int:
        """The training frame of a step: all of them once, in random order, then again in another."""
        epoch, at = divmod(step, len(self.training))
        if self._order is None or self._order[0] != epoch:
            order = np.random.default_rng([self.config.seed, epoch]).permutation(self.training)
            if epoch == 0:
                begun = np.isin(order, self.first)
                order = np.concatenate([order[begun], order[~begun]])
            self._order = epoch, order
        return int(self._order[1][at])

    @property
    def early(self) -> int:
        """Steps that need the first frames only."""
        return len(self.first) if len(self.first) < len(self.training) else 0

    def pose(self, position: int) -> Pose:
        """The frame's own pose, worked out once."""
        found = self.poses.get(position)
        if found is None:
            found = self.poses[position] = self.puppet.pose(Drive.of(self.clip.track, position))
        return found

    def gaussians(self, pose: Pose) -> Tensor:
        """[14, N] as a pose blends them."""
        return self.learner.blended(torch.from_numpy(pose.coefficients))

    def round_of(self, step: int) -> Tensor:
        """[TOGETHER, K] coefficients of the frames of a round of steps from ``step`` on."""
        poses = [self.pose(self.frame_of(step + i)) for i in range(TOGETHER)]
        return torch.from_numpy(np.stack([pose.coefficients for pose in poses]))

    # A step --------------------------------------------------------------------------------------------

    def advance(self) -> float:
        """One iteration; returns its loss."""
        started = time.perf_counter()
        position = self.frame_of(self.step)
        pose = self.pose(position)
        truth, matte, share, behind = self._picture(position)
        camera = self.clip.camera.scaled(truth.shape[1], truth.shape[0])
        exposure = self.puppet.exposed(self.blended, pose, camera)
        value, slope = resemblance(
            exposure.image,
            behind,
            truth,
            matte,
            share,
            self.config.structure_weight,
            self.config.matte_weight,
        )
        gradient, wrench = exposure.gradients(slope, self._rigid)
        if self.config.opacity_weight:
            self._opaque(gradient)
        rate = self._rate()
        self._correct(pose, wrench.numpy(), rate)
        small = tuple(e * 10000 / gradient.shape[1] for e in SMALL)
        options = LearnOptions(tuple(rate * r for r in RATES), self.config.residual_rate, BETAS, small)
        following = self.learner.advance(gradient, self.step + 1, options)
        self.blended = self.learner.begin(self.round_of(self.step + 1)) if following is None else following
        self.step += 1
        self.seconds += time.perf_counter() - started
        return value

    def _rate(self) -> float:
        rise = min(1.0, (self.step + 1) / WARM_UP)
        return float(self.config.rate * rise * self.config.rate_end ** min(self.share, 1.0))

    def _picture(self, position: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Truth and matte (bytes, or floats), weights and background of a frame, small while the fit is coarse."""
        side = self.clip.resolution
        size = side // 2 if self.share < self.config.coarse else side
        if size not in self._still:
            left, top, right, bottom = self.clip.visible
            counts = np.zeros((side, side), np.float32)
            counts[top:bottom, left:right] = 1
            counts = _resized(counts, size)
            self._still[size] = (
                torch.from_numpy(counts / max(float(counts.sum()), 1.0)),
                torch.from_numpy(_resized(self.plate, size)),
            )
        picture, matte = (
            torch.from_numpy(_resized(image, size))
            for image in (self.clip.rgb(position), self.clip.person(position))
        )
        share, behind = self._still[size]
        swapped, *color = self._chances(self.step)
        if swapped < self.config.swap:
            plain = torch.tensor(color).expand_as(behind)
            # what the matte takes to be background is exchanged, soft edges as mixtures
            matte = matte / 255
            picture = picture / 255 + (1 - matte)[..., None] * (plain - behind)
            behind = plain.contiguous()
        return picture, matte, share, behind

    def _chances(self, step: int) -> list[float]:
        """Four random numbers of a step."""
        first, at = divmod(step, TOGETHER)
        if self._drawn is None or self._drawn[0] != first:
            random = np.random.default_rng([self.config.seed, 1, first])
            self._drawn = first, random.random((TOGETHER, 4)).tolist()
        return self._drawn[1][at]

    def _opaque(self, gradient: Tensor) -> None:
        """Adds the gradient of a prior on opacities o: mean o (1 - o), which has none that are half transparent."""
        o = torch.sigmoid(self.blended[3])
        gradient[3] += self.config.opacity_weight / len(o) * (1 - 2 * o) * o * (1 - o)

    def _correct(self, pose: Pose, total: Float, rate: float) -> None:
        """A step of Adam on the corrections of cranium and torso, from the forces and torques on them [2, 6]."""
        total[:, 3:] -= np.stack(
            [_crossed(*rows) for rows in zip(pose.pivots.tolist(), total[:, :3].tolist(), strict=True)]
        )
        total[:, 3:] *= TURN_UNIT
        slope = total[..., None] * pose.inputs
        first, second = self.correction_moments
        first *= BETAS[0]
        first += (1 - BETAS[0]) * slope
        slope *= slope
        second *= BETAS[1]
        second += (1 - BETAS[1]) * slope
        steps = self.step + 1
        root = np.sqrt(second * np.float32(1 / (1 - BETAS[1] ** steps)))
        root += np.float32(EPSILON)
        self.puppet.corrections -= first * np.float32(rate * CORRECTION_RATE / (1 - BETAS[0] ** steps)) / root

    def __post_init__(self) -> None:
        retain_memory()
        self._still: dict[int, tuple[Tensor, Tensor]] = {}
        bone = self.puppet.bone.float()
        torso = torch.where(bone < NECK_STEPS, bone / (NECK_STEPS - 1), torch.zeros(()))
        cranium = torch.where(bone < NECK_STEPS, 1 - torso, torch.zeros(()))
        self._rigid = torch.stack([cranium, torso])
        """[2, N] how much of each correction a Gaussian takes part in"""


def _crossed(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, float]:
    """a x b"""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _confidence(track: Track) -> Float:
    """[T] of the tracked torso."""
    return np.ones(len(track), np.float32) if track.torso_confidence is None else track.torso_confidence


def _resized(image: NDArray[Any], size: int) -> NDArray[Any]:
    """The square ``image`` at ``size`` pixels, at most its own."""
    if image.shape[0] == size:
        return image
    return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA))
