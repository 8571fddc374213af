"""The training loop: three phases of losses over rays and patches, Adam fused with the next blend."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatarkit.data.clip import ClipFrames
from avatarkit.data.rays import scene_box
from avatarkit.data.regions import EMPTY, WHOLE
from avatarkit.data.sampling import Batch, Sampler
from avatarkit.losses.patch import PatchLoss, as_patches
from avatarkit.losses.photometric import binary_entropy, l1
from avatarkit.methods.drivers import Drivers
from avatarkit.methods.fitting import Paced
from avatarkit.methods.hull import possible_cells
from avatarkit.methods.nerfblendshape.config import Config
from avatarkit.methods.nerfblendshape.density_grid import (
    SWEEPS,
    UPDATE_EVERY,
    DensityGrid,
    Probes,
    single_bases,
    telling_frames,
)
from avatarkit.methods.nerfblendshape.field import Field, as_frame
from avatarkit.methods.nerfblendshape.warp import FrameWarps, MeshWarp
from avatarkit.methods.quality import Draw
from avatarkit.methods.registry import Frame
from avatarkit.ops.composite import Composite
from avatarkit.ops.encode import HashGrid
from avatarkit.ops.mlp import FieldWeights
from avatarkit.ops.tables import AdamOptions, BlendTables
from avatarkit.ops.warp import Warp
from avatarkit.rendering.camera import Camera

FEATURES = 4
# Uniform distribution of the tables at the start (Gao et al. 2022, table 1).
INITIAL = 1e-4
# Iterations over which the learning rates rise at the start, at most, and their largest share of all.
WARM_UP, WARM_UP_SHARE = 100, 0.05
BETAS, EPSILON = (0.9, 0.99), 1e-15
HULL_FRAMES = 24


@dataclass
class Trainer(Paced):
    """A fit under way. ``run`` advances it; every draw depends on the seed and the step's number alone."""

    config: Config
    clip: ClipFrames
    training: NDArray[np.int64]
    """positions of the training frames"""
    drivers: Drivers
    coefficients: Tensor
    """[T, K] drivers of every tracked frame"""
    sampler: Sampler
    field: Field
    tables: BlendTables
    optimizer: torch.optim.Adam
    grid: DensityGrid
    patch_loss: PatchLoss
    blended: Tensor
    """[B, M] tables of the next step's frames"""
    probes: Probes
    warps: FrameWarps | None = None
    """where the points of every frame come from"""
    step: int = 0
    seconds: float = 0.0
    samples: int = 0
    """ray samples shaded so far"""

    @classmethod
    def create(
        cls, config: Config, clip: ClipFrames, training: NDArray[np.int64], patch_loss: PatchLoss
    ) -> Trainer:
        """A trainer before its first step."""
        track = clip.track
        drivers = Drivers.of(
            track, training, config.expressions, config.pose_bases, config.components, config.residual
        )
        coefficients = torch.from_numpy(drivers.weights(track.expression, track.rotation, track.extra))
        some = training[np.linspace(0, len(training) - 1, min(HULL_FRAMES, len(training))).astype(int)]
        box = scene_box(clip, some)
        generator = torch.Generator().manual_seed(config.seed)
        weights = FieldWeights.create(generator, config.levels * FEATURES).map(torch.nn.Parameter)
        shape = HashGrid(config.levels, config.log2_size, FEATURES, config.coarsest, config.finest)
        base = (torch.rand(shape.size, generator=generator) * 2 - 1) * INITIAL
        # Bases start at zero: a coefficient that no training frame moves must not disturb the mean.
        bases = torch.zeros(len(drivers), shape.prefix(config.basis_levels))
        tables = BlendTables.from_canonical(base, bases)
        field = Field(shape, weights, box, 1.0 / config.samples)
        sampler = Sampler(
            clip, training, box, config.images, config.rays, config.seed,
            outside=config.outside, focus=config.focus,
        )  # fmt: skip
        mesh = MeshWarp.of(track, box) if config.warp else None
        warps = (
            None if mesh is None else FrameWarps(mesh, torch.from_numpy(drivers.clamped(track.expression)))
        )
        trainer = cls(
            config, clip, training, drivers, coefficients, sampler, field, tables,
            torch.optim.Adam(list(weights), lr=config.learning_rate_network, betas=BETAS, eps=EPSILON, fused=True),
            DensityGrid.create(possible_cells(clip, some, box, config.mesh_hull), field.step), patch_loss,
            torch.empty(0), _probes(coefficients, training, warps), warps,
        )  # fmt: skip
        trainer.blended = tables.blend(trainer._next_coefficients(0))
        return trainer

    def advance(self) -> float:
        """One iteration; returns its loss."""
        started = time.perf_counter()
        config, share = self.config, self.share
        batch = self.sampler.batch(self.step, share >= config.patches_from)
        coefficients = self.coefficients[torch.tensor(batch.positions)]
        tables = self.blended.requires_grad_()
        rays = tuple(
            self.sampler.patch_size**2 if patch else config.rays // config.images for patch in batch.patch
        )
        origins, directions = torch.from_numpy(batch.origins), torch.from_numpy(batch.directions)
        bits, stride = self.grid.marching(self.step)
        thinning = config.distortion_weight > 0
        warp = None if self.warps is None else self.warps.of(batch.positions)
        seen, samples = self.field.shade(
            tables, origins, directions, rays, bits, batch.seed, stride, thinning, warp
        )
        loss = self._loss(batch, rays, seen, share)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        with torch.no_grad():
            self.grid.note(samples, seen.weights)
            self._descend(tables, coefficients, share)
            if self.step % UPDATE_EVERY == 0:
                self._look(tables, warp)
        self.step += 1
        self.samples += samples.t.numel()
        self.seconds += time.perf_counter() - started
        return float(loss.detach())

    def keepsake(self) -> dict[str, Tensor]:
        """Copies of base, bases (half precision), network and grid."""
        return {
            "base": self.tables.base.clone(),
            "bases": self.tables.bases.half(),
            "dense": self.grid.dense.clone(),
            **{f"weight{i}": matrix.detach().clone() for i, matrix in enumerate(self.field.weights)},
        }

    def recall(self, tensors: dict[str, Tensor]) -> None:
        """Puts the weights of a ``keepsake`` in place of the present ones."""
        with torch.no_grad():
            self.tables.base.copy_(tensors["base"])
            self.tables.bases.copy_(tensors["bases"])
            for i, matrix in enumerate(self.field.weights):
                matrix.copy_(tensors[f"weight{i}"])
        self.grid.dense = tensors["dense"]

    def drawing(self, bitfield: Tensor | None = None) -> Draw:
        """Draws frames of the clip with the fit as it stands, inside ``bitfield`` (default: the grid's dense cells)."""
        track = self.clip.track

        def draw(position: int, camera: Camera) -> Frame:
            with torch.no_grad():
                rendered = self.field.image(
                    self.tables.blend(self.coefficients[position : position + 1])[0],
                    torch.from_numpy(track.rotation[position]),
                    torch.from_numpy(track.translation[position]),
                    camera,
                    self.grid.dense if bitfield is None else bitfield,
                    None if self.warps is None else self.warps.of((position,)),
                )
            return as_frame(rendered, camera)

        return draw

    def _loss(self, batch: Batch, rays: tuple[int, ...], seen: Composite, share: float) -> Tensor:
        config = self.config
        behind = self._behind(batch, rays)
        matte = torch.from_numpy(batch.matte)[:, None]
        target = torch.from_numpy(batch.rgb) * matte + behind * (1 - matte)
        predicted = seen.color + (1 - seen.alpha)[:, None] * behind
        patched = torch.repeat_interleave(torch.tensor(batch.patch), torch.tensor(rays))
        loss = predicted.new_zeros(())
        if config.distortion_weight:
            loss = loss + config.distortion_weight * seen.distortion.mean()
        if not all(batch.patch):
            scattered = ~patched
            loss = loss + l1(predicted[scattered], target[scattered], self._trust(matte[scattered]))
            mask_weight = config.mask_weight if share < config.mask_until else config.mask_weight_later
            if mask_weight:
                loss = loss + mask_weight * l1(seen.alpha[scattered], matte[scattered, 0])
            if config.entropy_weight:
                loss = loss + config.entropy_weight * binary_entropy(seen.alpha[scattered])
        if any(batch.patch):
            count, size = sum(batch.patch), self.sampler.patch_size
            ours, theirs = (
                as_patches(predicted[patched], count, size),
                as_patches(target[patched], count, size),
            )
            loss = loss + config.patch_color_weight * l1(ours, theirs)
            loss = loss + config.perceptual_weight * self.patch_loss(ours, theirs)
        return loss

    def _trust(self, matte: Tensor) -> Tensor | None:
        """[R, 1] weight of the colors under ``matte`` [R, 1]; None where all count alike."""
        band = self.config.band
        uncertain = (matte > EMPTY / 255) & (matte <= WHOLE / 255)
        return None if band == 1 else torch.where(uncertain, band, 1.0)

    def _behind(self, batch: Batch, rays: tuple[int, ...]) -> Tensor:
        """[R, 3] constant background: white, or at random for every ray, and for a patch as a whole.

        A random one leaves the field no way to paint the background itself.
        """
        if self.config.training_background == "white":
            return torch.ones(len(batch.rgb), 3)
        generator = torch.Generator().manual_seed(batch.seed)
        parts = [
            torch.rand(1, 3, generator=generator).expand(count, 3)
            if patch
            else torch.rand(count, 3, generator=generator)
            for patch, count in zip(batch.patch, rays, strict=True)
        ]
        return torch.cat(parts)

    def _descend(self, tables: Tensor, coefficients: Tensor, share: float) -> None:
        config = self.config
        rise = max(min(WARM_UP, WARM_UP_SHARE * config.steps), 1.0)
        decay = config.learning_rate_end ** min(share, 1.0) * min(1.0, (self.step + 1) / rise)
        self.optimizer.param_groups[0]["lr"] = config.learning_rate_network * decay
        self.optimizer.step()
        options = AdamOptions(
            lr=config.learning_rate * decay,
            lr_bases=config.learning_rate_bases * decay,
            betas=BETAS,
            eps=EPSILON,
            l2=config.basis_l2,
        )
        assert tables.grad is not None
        following = self._next_coefficients(self.step + 1)
        self.blended = self.tables.adam_blend(tables.grad, coefficients, following, options)

    def _next_coefficients(self, step: int) -> Tensor:
        return self.coefficients[torch.from_numpy(self.sampler.frames(step))]

    def _look(self, tables: Tensor, warp: Warp | None) -> None:
        """Updates the density grid from the next probe of eq. 9 or, every other time, from a frame of this batch."""
        if self.step in SWEEPS:
            warps = [_image(warp, image) for image in range(len(tables))]
            self.grid.sweep(self.step, self.config.seed, self.field, tables.detach(), warps)
            return
        count = self.step // UPDATE_EVERY
        if count % 2:
            table, warp = tables.detach()[count // 2 % len(tables)], _image(warp, count // 2 % len(tables))
        else:
            weights, warp = self.probes[count // 2 % len(self.probes)]
            table = self.tables.blend(weights[None])[0]
        self.grid.update(self.step, self.config.seed, self.field, table, warp)


def _image(warp: Warp | None, image: int) -> Warp | None:
    """One image's part of a batch's ``warp``."""
    return None if warp is None else Warp(warp.volumes[image : image + 1], warp.grid)


def _probes(coefficients: Tensor, training: NDArray[np.int64], warps: FrameWarps | None) -> Probes:
    weights = coefficients[training]
    if warps is None:
        return Probes(single_bases(weights), lambda index: None)
    rows = telling_frames(weights)
    positions = training[rows.numpy()]
    return Probes(weights[rows], lambda index: warps.of((int(positions[index]),)))
