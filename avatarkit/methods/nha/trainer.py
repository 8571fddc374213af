"""A fit under way: one frame a step, in three stages: geometry, texture, both (section 3.2)."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from avatarkit.data.clip import ClipFrames
from avatarkit.data.normal_maps import NormalMaps
from avatarkit.heads.model import HeadModel
from avatarkit.losses.perceptual import patch_loss
from avatarkit.methods.drivers import Drivers
from avatarkit.methods.fitting import Paced
from avatarkit.methods.nha.avatar import as_frame
from avatarkit.methods.nha.config import Config
from avatarkit.methods.nha.coverage import Coverage, survey
from avatarkit.methods.nha.energies import priors
from avatarkit.methods.nha.evidence import Evidence, Regularity, Weights, appearance_energy, geometry_energy
from avatarkit.methods.nha.figure import Figure, Moment, turning
from avatarkit.methods.nha.geometry import JointRange, joints_of
from avatarkit.methods.nha.template import Template
from avatarkit.methods.quality import Draw
from avatarkit.methods.registry import Drive, Frame
from avatarkit.methods.session import some
from avatarkit.ops import raster
from avatarkit.ops.native import retain_memory
from avatarkit.ops.raster import Rasterizer
from avatarkit.rendering.camera import Camera

BETAS, EPSILON = (0.9, 0.99), 1e-12
WARM_UP = 50
"""Steps over which a stage's rates rise."""
TABLE_RATE = 5.0
"""Learning rate of the hash table, in units of the texture network's."""
SHAPE_EVERY = 2
"""In the third stage every so many steps the geometry learns, too; its own pass costs as much as the texture's."""
PRIOR = 2e-3
"""Weight of the prior on what frames add of their own."""
SURVEYED = 60
"""Training frames that are asked what they show of the head."""
TURN, MOVE = 0.1, 0.02
"""Radians and meters that one unit of a frame's own pose is worth: pose and coefficients learn at one rate."""


@dataclass
class Trainer(Paced):
    """Advances a figure; every draw depends on the seed and the step's number alone."""

    config: Config
    clip: ClipFrames
    training: NDArray[np.int64]
    """positions of the training frames"""
    figure: Figure
    own: nn.Parameter
    """[N, E + 6] what each training frame adds to its tracked coefficients, turn and place"""
    optimizer: torch.optim.Adam
    normals: NormalMaps | None = None
    """of the training frames, from files; None: pseudo-normals"""
    step: int = 0
    seconds: float = 0.0
    samples: int = 0
    """evaluations of the texture network so far"""
    _order: tuple[int, NDArray[np.int64]] | None = field(default=None, init=False)
    _moments: dict[int, Moment] = field(default_factory=dict, init=False)
    _fields: Tensor | None = field(default=None, init=False)

    @classmethod
    def create(
        cls, config: Config, clip: ClipFrames, training: NDArray[np.int64], head: HeadModel,
        normals: NormalMaps | None = None, rasterize: Rasterizer = raster.rasterize,
    ) -> Trainer:  # fmt: skip
        """A trainer before its first step; see ``Trainer`` and ``Figure`` for the last two."""
        torch.manual_seed(config.seed)
        track = clip.track
        template = Template.of(head, track.neutral, head.shapes if track.shapes is None else track.shapes)
        drivers = Drivers.of(
            track, training, len(track.expression_names), pose=True, components=config.expressions
        )
        joints = JointRange.of(np.stack([joints_of(Drive.of(track, int(t))) for t in training]))
        figure = Figure(
            template, drivers, joints, config.width, config.bases, float(clip.camera.intrinsics[0, 0]),
            static_geometry=config.static_geometry, static_texture=config.static_texture,
        )  # fmt: skip
        figure.rasterize = rasterize
        own = nn.Parameter(torch.zeros(len(training), len(track.expression_names) + 6))
        network = [p for p in figure.texture.parameters() if p is not figure.texture.table]
        groups = [
            {"params": list(figure.geometry.parameters()), "initial": config.geometry_rate},
            {"params": network, "initial": config.texture_rate},
            {"params": [figure.texture.table], "initial": config.texture_rate * TABLE_RATE},
            {"params": [own], "initial": config.frame_rate},
        ]
        optimizer = torch.optim.Adam([{**g, "lr": 0.0} for g in groups], betas=BETAS, eps=EPSILON, fused=True)
        return cls(config, clip, training, figure, own, optimizer, normals)

    def __post_init__(self) -> None:
        retain_memory()
        config, template = self.config, self.figure.template
        self.perceptual, self.perceptual_name = patch_loss(config.perceptual)
        self._weights = Weights(
            config.landmark_weight, config.normal_weight, config.semantic_weight, config.offset_weight,
            config.photometric_weight, config.perceptual_weight, config.lid_term,
        )  # fmt: skip
        self._regularity = Regularity.of(template)
        self._row = {int(position): row for row, position in enumerate(self.training)}

    # Progress ------------------------------------------------------------------------------------------

    @property
    def stage(self) -> int:
        """0: geometry, 1: texture, 2: both."""
        first, second = self.config.geometry_share, self.config.texture_share
        return 0 if self.share < first else 1 if self.share < first + second else 2

    def frame_of(self, step: int) -> int:
        """The training frame of a step: all of them once, in random order, then again in another."""
        epoch, at = divmod(step, len(self.training))
        if self._order is None or self._order[0] != epoch:
            random = np.random.default_rng([self.config.seed, epoch])
            self._order = epoch, random.permutation(len(self.training))
        return int(self.training[self._order[1][at]])

    def moment(self, position: int) -> Moment:
        """What the head is told of the frame at ``position``, as tracked."""
        if position not in self._moments:
            self._moments[position] = self.figure.moment(Drive.of(self.clip.track, position))
        return self._moments[position]

    def corrected(self, position: int) -> tuple[Moment, Tensor]:
        """The moment of a training frame with what it adds of its own, and that [E + 6]."""
        moment, own = self.moment(position), self.own[self._row[position]]
        turn, move = own[-6:-3] * TURN, own[-3:] * MOVE
        return replace(
            moment,
            rotation=turning(turn[None])[0] @ moment.rotation,
            translation=moment.translation + move,
            expression=moment.expression + own[:-6],
        ), own

    # A step --------------------------------------------------------------------------------------------

    def advance(self) -> float:
        """One iteration; returns its loss."""
        started = time.perf_counter()
        position, stage = self.frame_of(self.step), self.stage
        shaping = stage == 0 or (stage == 2 and self.step % SHAPE_EVERY == 0)
        evidence = Evidence.of(self.clip, position)
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step)
        moment, own = self.corrected(position)
        if not shaping:
            moment = replace(
                moment, rotation=moment.rotation.detach(), translation=moment.translation.detach(),
                expression=moment.expression.detach(),
            )  # fmt: skip
        figure = self.figure
        shape = figure.shape(moment, figure.geometry.fields() if shaping else self.fields())
        surface = figure.surface(shape.vertices, self.clip.camera)
        loss = torch.zeros(())
        if shaping:
            detail = self._detail(position, evidence)
            loss = loss + geometry_energy(
                figure, shape, surface, detail, evidence, self._weights, self._regularity
            )
            loss = loss + self.config.prior_weight * self._prior(own)
            self._fields = None
        if stage > 0:
            self.samples += len(surface.visible)
            loss = loss + appearance_energy(
                figure.picture(surface, moment), evidence, self._weights, self.perceptual, generator
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._descend()
        self.step += 1
        self.seconds += time.perf_counter() - started
        return float(loss.detach())

    def _detail(self, position: int, evidence: Evidence) -> Tensor:
        """[R, R, 3] normals of a face, 0 elsewhere: a network's, or pseudo-normals of the tracked and refined mesh."""
        if self.normals is not None:
            found = torch.from_numpy(self.normals.of(position, self.config.resolution))
            return found * (evidence.regions[..., :1] > 0.5)
        with torch.no_grad():
            tracked = self.figure.surface(self.figure.tracked(self.moment(position)), self.clip.camera)
            return tracked.normals * (tracked.facial[..., None] > 0.5)

    def _prior(self, own: Tensor) -> Tensor:
        return PRIOR * priors.prior(own[:-6], own[-6:-3] * TURN, own[-3:] * MOVE)

    def _descend(self) -> None:
        """A step of Adam; networks that got no gradient stay as they are."""
        config = self.config
        rise = min(1.0, (self.step + 1) / WARM_UP)
        rate = rise * config.rate_end ** min(self.share, 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial"] * rate
        self.optimizer.step()

    def fields(self) -> Tensor:
        """The geometry network's offset fields as they are, worked out once until it learns again."""
        if self._fields is None:
            with torch.no_grad():
                self._fields = self.figure.geometry.fields()
        return self._fields

    def coverage(self) -> Coverage:
        """What the training frames showed of the head as it is fitted."""
        chosen = (int(position) for position in some(self.training, SURVEYED))
        frames = ((position, self.moment(position)) for position in chosen)
        return survey(self.figure, self.clip, frames, self.fields())

    def drawing(self) -> Draw:
        """Draws frames of the clip with the fit as it stands, as tracked."""
        track = self.clip.track

        def draw(position: int, camera: Camera) -> Frame:
            seen = self.figure.draw(Drive.of(track, position), camera, self.fields())
            return as_frame(seen.numpy())

        return draw

    def keepsake(self) -> dict[str, Tensor]:
        """Copies of the networks' weights."""
        return {name: value.detach().clone() for name, value in self.figure.state_dict().items()}

    def recall(self, tensors: dict[str, Tensor]) -> None:
        """Puts the weights of a ``keepsake`` in place of the present ones."""
        self.figure.load_state_dict(tensors)
        self._fields = None
