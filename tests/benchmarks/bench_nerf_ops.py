"""Time of the radiance field's kernels against their twins and against what the machine can do at most.

``python tests/benchmarks/bench_nerf_ops.py [threads] [seconds per entry]``: one training step of 4 images x 1024
rays and about 67,000 samples with K = 52 bases, operation by operation, then whole images.
"""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from avatarkit.ops import native, occupancy, reference, retain_memory, set_threads
from avatarkit.ops.composite import composite
from avatarkit.ops.encode import HashGrid, hash_encode
from avatarkit.ops.march import march
from avatarkit.ops.mlp import FieldWeights, field_mlp
from avatarkit.ops.render import render_rays
from avatarkit.ops.sh import spherical_harmonics
from avatarkit.ops.tables import AdamOptions, BlendTables

STEP, IMAGES, BASES = 3**0.5 / 512, 4, 52


def rays(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A camera's view of the unit cube, [size^2, 3] each."""
    v, u = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    directions = torch.nn.functional.normalize(
        torch.stack([0.35 * u, 0.35 * v, torch.ones_like(u)], -1), dim=-1
    )
    directions = directions.reshape(-1, 3).contiguous()
    return torch.tensor([0.5, 0.5, -1.2]).expand_as(directions).contiguous(), directions


def head_like_grid(cells: int = 128) -> torch.Tensor:
    """A hollow ball: about as many occupied steps a ray as a head's grid after training."""
    radius = (occupancy.cell_points(torch.arange(cells**3), cells) - 0.5).norm(dim=1)
    return occupancy.pack(((radius > 0.2) & (radius < 0.3)).float(), 0.5)


def median_ms(work: Callable[[], object], seconds: float, fewest: int = 5) -> tuple[float, float]:
    """Median and best in milliseconds."""
    work()
    times: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(times) < fewest:
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1e3)
    return float(np.median(times)), min(times)


@dataclass
class Table:
    """Prints the rows as they are measured."""

    seconds: float
    gflops: float
    gbytes: float

    def row(
        self,
        name: str,
        work: Callable[[], object],
        twin: Callable[[], object] | None,
        flops: float,
        traffic: float,
    ) -> float:
        """One line; ``flops`` or ``traffic`` (bytes) of one run give the rate and its share of the floor."""
        median, best = median_ms(work, self.seconds)
        slow = f"{median_ms(twin, 0.0, 1)[0]:9.1f}" if twin else " " * 9
        if flops:
            rate, unit, most = flops / best / 1e6, "GFLOP/s", self.gflops
        else:
            rate, unit, most = traffic / best / 1e6, "GB/s   ", self.gbytes
        print(
            f"{name:26s}{median:9.2f}{best:9.2f}{slow}  {rate:7.1f} {unit} {100 * rate / most:4.0f} %",
            flush=True,
        )
        return median


def machine_floor() -> tuple[float, float]:
    """GFLOP/s of torch's matrix product and GB/s of an in-place sum over memory, on the threads in use."""
    a, b, big = torch.randn(1024, 1024), torch.randn(1024, 1024), torch.zeros(64 * 2**20)
    other = torch.ones_like(big)
    product = min(median_ms(lambda: a @ b, 0.3))
    axpy = min(median_ms(lambda: big.add_(other), 0.3))
    return 2 * 1024**3 / product / 1e6, 3 * big.numel() * 4 / axpy / 1e6


def training_step(table: Table) -> float:
    """Rows of one iteration; returns the sum of the medians."""
    grid, bitfield = HashGrid(), head_like_grid()
    torch.manual_seed(0)
    origins, directions = rays(64)
    shuffle = torch.randperm(origins.shape[0])
    origins, directions = origins[shuffle].contiguous(), directions[shuffle].contiguous()
    samples = march(origins, directions, bitfield, STEP, seed=1)
    count, per_image = samples.points.shape[0], origins.shape[0] // IMAGES
    image_offsets = samples.ray_offsets[::per_image].clone()
    tables = BlendTables.from_canonical(torch.randn(grid.size) * 0.1, torch.randn(BASES, grid.size) * 0.1)
    # Semantic coefficients are sparse: about half are zero in any one frame.
    coefficients = torch.rand(IMAGES, BASES) * (torch.rand(BASES) < 0.55)
    used = int((coefficients != 0).any(0).sum())
    blended = tables.blend(coefficients).requires_grad_()
    weights = FieldWeights.create().map(lambda matrix: matrix.requires_grad_())
    harmonics = spherical_harmonics(directions)
    features = hash_encode(samples.points, blended, image_offsets, grid)
    leaf = features.detach().requires_grad_()
    density, rgb = field_mlp(leaf, harmonics, samples.ray_offsets, weights)
    to_features, to_density, to_rgb = (
        torch.randn_like(features),
        torch.randn_like(density),
        torch.randn_like(rgb),
    )
    d, c = (density.detach() * 50).requires_grad_(), rgb.detach().requires_grad_()
    out = composite(d, c, samples.t, samples.ray_offsets, STEP)
    to_color = torch.randn_like(out.color)
    gradients = torch.randn(IMAGES, grid.size)
    options = AdamOptions()
    flops = 2.0 * count * (64 * 64 + 2 * 64 * 16 + 64 * 3)
    corners = count * grid.levels * 8 * 16.0  # bytes of table entries read
    offsets = samples.ray_offsets
    print(f"{count} samples, {used} of {BASES} bases used; milliseconds:")
    print(f"{'operation':26s}{'median':>9s}{'best':>9s}{'twin':>9s}  {'best rate':>15s}  of floor")
    total = table.row(
        "march",
        lambda: march(origins, directions, bitfield, STEP, seed=1),
        lambda: reference.march(origins, directions, bitfield, STEP, 1024, 1),
        0,
        count * 16.0,
    )
    total += table.row(
        "hash_encode",
        lambda: hash_encode(samples.points, blended, image_offsets, grid),
        lambda: reference.hash_encode(samples.points, blended, image_offsets, grid),
        0,
        corners,
    )
    total += table.row(
        "hash_encode backward",
        lambda: torch.autograd.grad(features, blended, to_features, retain_graph=True),
        None,
        0,
        2 * corners,
    )
    total += table.row(
        "field_mlp",
        lambda: field_mlp(leaf, harmonics, offsets, weights),
        lambda: reference.field_mlp(leaf, harmonics, offsets, weights),
        flops,
        0,
    )
    total += table.row(
        "field_mlp backward",
        lambda: torch.autograd.grad(
            (density, rgb), (leaf, *weights), (to_density, to_rgb), retain_graph=True
        ),
        None,
        2 * flops,
        0,
    )
    total += table.row(
        "composite",
        lambda: composite(d, c, samples.t, offsets, STEP),
        lambda: reference.composite(d, c, samples.t, offsets, STEP, 1e-4, False),
        0,
        count * 24.0,
    )
    total += table.row(
        "composite backward",
        lambda: torch.autograd.grad(out.color, (d, c), to_color, retain_graph=True),
        None,
        0,
        count * 40.0,
    )
    moved = (used * 24.0 + 24.0 + 8.0 * IMAGES) * grid.size
    twin = BlendTables.from_canonical(tables.base, tables.canonical())
    total += table.row(
        "adam_blend",
        lambda: tables.adam_blend(gradients, coefficients, coefficients, options),
        lambda: reference.adam_blend(twin, gradients, coefficients, coefficients, options),
        0,
        moved,
    )
    return total


def images(table: Table) -> None:
    """Rows of whole pictures."""
    grid, bitfield = HashGrid(), head_like_grid()
    weights = FieldWeights.create(torch.Generator().manual_seed(5))
    weights.density1[:, 0] *= 4.0
    values = torch.randn(grid.size)
    for size in (256, 512):
        origins, directions = rays(size)
        count = march(origins, directions, bitfield, STEP).points.shape[0]
        for fast in (False, True):

            def picture(
                fast: bool = fast, origins: torch.Tensor = origins, to: torch.Tensor = directions
            ) -> object:
                return render_rays(origins, to, bitfield, values, grid, weights, step=STEP, fast=fast)

            name = f"render {size}^2{' fast' if fast else ''}"
            # Of every sample on the rays, although those behind an opaque surface are skipped.
            table.row(name, picture, None, 2.0 * count * (64 * 64 + 2 * 64 * 16 + 64 * 3), 0)
    base, bases = torch.randn(grid.size), torch.randn(BASES, grid.size)
    tables = BlendTables.from_canonical(base, bases)
    coefficients = torch.rand(1, BASES)
    table.row("blend, all bases", lambda: tables.blend(coefficients), None, 0, BASES * 4.0 * grid.size)


def main() -> None:
    """Print one table."""
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
    set_threads(threads)
    retain_memory()
    gflops, gbytes = machine_floor()
    module = native.module()
    kernels = "no kernels: twins only" if module is None else f"{module.isa()} kernels"
    print(
        f"{platform.processor() or platform.machine()}, torch {torch.__version__}, {threads} threads, {kernels}"
    )
    print(f"floor: torch matrix product {gflops:.0f} GFLOP/s, torch in-place sum {gbytes:.1f} GB/s")
    table = Table(seconds, gflops, gbytes)
    total = training_step(table)
    print(f"{'one training step':26s}{total:9.2f}")
    images(table)


if __name__ == "__main__":
    main()
