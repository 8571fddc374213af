"""A fit under way: rays of a few training frames, the model's own loss, Adam."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatarkit.data.clip import ClipFrames
from avatarkit.data.sampling import Batch, Sampler
from avatarkit.methods.fitting import Paced
from avatarkit.methods.quality import Draw, Gauge
from avatarkit.methods.radiance.config import RayConfig
from avatarkit.methods.radiance.model import Moment, RayModel, View
from avatarkit.methods.radiance.picture import draw_head
from avatarkit.methods.registry import Drive, Frame
from avatarkit.rendering.camera import Camera

# Iterations over which the learning rate rises at the start, at most, and their largest share of all.
WARM_UP, WARM_UP_SHARE = 100, 0.05
BETAS, EPSILON = (0.9, 0.99), 1e-15
# Training frames in whose moments cells are searched at the end: evenly spread, and where the most active drivers peak.
PROBES, PEAKS = 6, 6


@dataclass
class Trainer(Paced):
    """Advances ``model``; every draw depends on the seed and the step's number alone."""

    config: RayConfig
    clip: ClipFrames
    gauge: Gauge
    """knows what is behind the head in every frame"""
    training: NDArray[np.int64]
    """positions of the training frames"""
    model: RayModel
    sampler: Sampler
    optimizer: torch.optim.Adam
    step: int = 0
    seconds: float = 0.0
    samples: int = 0
    """evaluations of a network so far"""

    @classmethod
    def create(
        cls,
        config: RayConfig,
        clip: ClipFrames,
        gauge: Gauge,
        training: NDArray[np.int64],
        model: RayModel,
    ) -> Trainer:
        """A trainer before its first step."""
        sampler = Sampler(
            clip, training, model.box, config.batch, config.rays, config.seed,
            outside=config.outside, focus=config.focus,
        )  # fmt: skip
        groups = [{**group, "initial": group["lr"]} for group in model.groups(config)]
        optimizer = torch.optim.Adam(groups, betas=BETAS, eps=EPSILON)
        return cls(config, clip, gauge, training, model, sampler, optimizer)

    def moment(self, position: int) -> Moment:
        """What the field is told of the frame at a position of the track."""
        drive = Drive.of(self.clip.track, position)
        return self.model.moment(drive, self._row.get(position, -1))

    @cached_property
    def _row(self) -> dict[int, int]:
        return {int(position): row for row, position in enumerate(self.training)}

    def advance(self) -> float:
        """One iteration; returns its loss."""
        started = time.perf_counter()
        share = min(self.share, 1.0)
        batch = self.sampler.batch(self.step, patches=False)
        generator = torch.Generator().manual_seed(batch.seed)
        everywhere = self.model.occupancy.everywhere(self.step)
        behind = self._behind(batch, generator)
        loss = torch.zeros(())
        each = self.config.rays // self.config.batch
        found: list[tuple[Tensor, Tensor]] = []
        for i, position in enumerate(batch.positions):
            rays = slice(i * each, (i + 1) * each)
            moment = self.moment(position)
            seen = self.model.render(
                self.model.begin(moment),
                torch.from_numpy(batch.origins[rays]),
                torch.from_numpy(batch.directions[rays]),
                generator,
                everywhere,
            )
            matte = torch.from_numpy(batch.matte[rays])
            target = torch.from_numpy(batch.rgb[rays])
            if self.config.training_background != "plate":
                target = target * matte[:, None] + behind[rays] * (1 - matte[:, None])
            view = View(moment, seen, target, behind[rays], matte, share, generator)
            loss = loss + self.model.loss(view, self.config) / self.config.batch
            found.append((seen.points, seen.density))
            self.samples += seen.samples
        self.optimizer.zero_grad(set_to_none=True)
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
            self._descend(share)
        with torch.no_grad():
            self.model.occupancy.note(*(torch.cat(part) for part in zip(*found, strict=True)))
            self.model.occupancy.settle(self.step)
        self.step += 1
        self.seconds += time.perf_counter() - started
        return float(loss.detach())

    def _descend(self, share: float) -> None:
        config = self.config
        rise = max(min(WARM_UP, WARM_UP_SHARE * config.steps), 1.0)
        decay = config.learning_rate_end**share * min(1.0, (self.step + 1) / rise)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial"] * decay
        self.optimizer.step()

    def _behind(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """[R, 3] what is behind the head: its last sample (Gafni et al. 2021, section 3.2), or a color that tells
        the field where the head ends."""
        count = len(batch.rgb)
        if self.config.training_background == "white":
            return torch.ones(count, 3)
        if self.config.training_background == "random":
            return torch.rand(count, 3, generator=generator)
        each = self.config.rays // self.config.batch
        parts = []
        for i, position in enumerate(batch.positions):
            picture = self.gauge.behind(position, self.clip.resolution)
            x, y = batch.pixels[i * each : (i + 1) * each].T
            parts.append(picture[y, x])
        return torch.from_numpy(np.concatenate(parts).astype(np.float32))

    def drawing(self) -> Draw:
        """Draws frames of the clip with the fit as it stands; codes of frames take their mean."""
        track = self.clip.track

        def draw(position: int, camera: Camera) -> Frame:
            return draw_head(self.model, Drive.of(track, position), camera)

        return draw

    def settle(self) -> None:
        """Finds the cells that hold anything in some frame of the training, for rendering."""
        weights = torch.stack([self.moment(int(p)).weights for p in self.training])
        every = torch.linspace(0, len(weights) - 1, min(PROBES, len(weights))).long()
        rows = torch.cat([every, weights[:, :PEAKS].argmax(0)]).unique()
        self.model.settle([self.moment(int(self.training[row])) for row in rows])

    def keepsake(self) -> dict[str, Tensor]:
        """Copies of the model's state."""
        return {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def recall(self, tensors: dict[str, Tensor]) -> None:
        """Puts the state of a ``keepsake`` in place of the present one."""
        self.model.load_state_dict(tensors)
