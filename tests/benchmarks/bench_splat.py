"""Time of Gaussian splats: ``python tests/benchmarks/bench_splat.py [threads] [seconds a row]``.

The scene is like an avatar: a head-sized shell and a torso card, median opacity .24, some 30 splats that count per
covered pixel. The floor is what the arithmetic of the pixels that are visited takes at the vector units' peak (21
instructions forward, 44 backward, for 16 pixels, two a cycle) or the bytes of records, lists and image at 10 GB/s,
whichever is more.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avatarkit.methods.gaussians.learning import Learner
from avatarkit.ops import native, set_threads
from avatarkit.ops.anchors import TOGETHER, LearnOptions, carry
from avatarkit.ops.figure import Figure
from avatarkit.ops.reference import splat as twin
from avatarkit.ops.resemblance import resemblance
from avatarkit.ops.splat import blend, splat

FORWARD, BACKWARD, BANDWIDTH = 21, 44, 10e9
RATES = (4e-5,) * 3 + (0.04,) + (0.008,) * 3 + (0.004,) * 4 + (0.012,) * 3
SHAPES = 48


def avatar(count: int) -> tuple[Tensor, Tensor]:
    """[14, N] Gaussians at rest and [12, 1] the map that puts them before the camera."""
    rng = torch.Generator().manual_seed(0)
    place = torch.nn.functional.normalize(torch.randn(3, count, generator=rng), dim=0)
    place *= torch.tensor([[0.08], [0.11], [0.09]])
    torso = count // 4
    place[:, :torso] = (torch.rand(3, torso, generator=rng) - 0.5) * torch.tensor([[0.30], [0.10], [0.02]])
    place[:, :torso] += torch.tensor([[0.0], [0.16], [0.02]])
    logit = torch.randn(1, count, generator=rng) * 1.2 - 1.15
    size = torch.randn(3, count, generator=rng) * 0.5 + np.log(0.0035 * np.sqrt(10000 / count))
    size[2] += np.log(0.4)
    color, turn = torch.rand(3, count, generator=rng), torch.randn(4, count, generator=rng)
    bone = torch.tensor([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0.6]).reshape(12, 1)
    return torch.cat([place, logit, color, turn, size]), bone


def milliseconds(work: Callable[[], object], seconds: float) -> tuple[float, float]:
    """Median and best."""
    work()
    times: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(times) < 3:
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1e3)
    return float(np.median(times)), min(times)


def machine() -> tuple[str, float]:
    """Its name, and its nominal clock in Hz."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = re.search(r"model name\s*: (.*)", text)
    clock = re.search(r"cpu MHz\s*: ([\d.]+)", text)
    return name[1] if name else "unknown processor", float(clock[1]) * 1e6 if clock else 2.5e9


def rows(count: int, side: int, threads: int, seconds: float, clock: float) -> None:
    """Times of one scene at one size."""
    base, bone = avatar(count)
    which, seen = torch.zeros(count, dtype=torch.int32), torch.ones(count)
    splats = [t.contiguous() for t in carry(base, bone, which, seen)]
    k = torch.tensor([[1.6 * side, 0, side / 2], [0, 1.6 * side, side / 2], [0, 0, 1]])
    pinhole = (1.6 * side, 1.6 * side, side / 2, side / 2)
    size, dilation = (side, side), 0.3 * (side / 256) ** 2
    background = torch.zeros(side, side, 3, dtype=torch.uint8)
    truth, behind = (torch.rand(side, side, 3) * 255).to(torch.uint8), torch.zeros(side, side, 3)
    matte, share = (torch.rand(side, side) * 255).to(torch.uint8), torch.full((side, side), 1 / side**2)
    learner = Learner.create(base.clone(), SHAPES)
    rounds, options = torch.randn(TOGETHER, SHAPES), LearnOptions(RATES)
    learner.begin(rounds)
    packed, scale = torch.ones(SHAPES, 7, count, dtype=torch.int8), torch.full((SHAPES, 7), 1e-4)
    coefficients, bodies = torch.randn(SHAPES), torch.rand(2, count)
    slope = torch.randn(side, side, 4) / side**2

    def both() -> None:
        leaves = [t.detach().requires_grad_() for t in splats]
        splat(*leaves, k, size, dilation).backward(slope)

    def live() -> None:
        moved = blend(base, packed, coefficients, scale)
        Figure(moved, bone, which, seen).over(background, pinhole, dilation)

    def training() -> None:
        exposure = Figure(base, bone, which, seen).exposed(pinhole, size, dilation)
        _, by_picture = resemblance(exposure.image, behind, truth, matte, share)
        gradient, _ = exposure.gradients(by_picture, bodies)
        if learner.advance(gradient, 1, options) is None:
            learner.begin(rounds)

    module = native.module()
    floors: dict[str, float] = {}
    if module is not None:
        frame, image = module.SplatFrame(), torch.empty(side, side, 4)
        module.splat_image(frame, *splats, pinhole, dilation, image)
        lanes = 16 if module.isa() == "avx512" else 8
        block = lanes * 4 // 16 * 16  # pixels of a tile: four vectors
        vectors = frame.entries * block / lanes
        traffic = frame.visible * 180 + frame.entries * 8 + side**2 * 16
        for name, instructions in (("image", FORWARD), ("image + gradients", FORWARD + BACKWARD)):
            floors[name] = 1e3 * max(vectors * instructions / 2 / clock, traffic / BANDWIDTH) / threads
        floors["pixels (u8)"] = floors["image"]
    work: dict[str, tuple[Callable[[], object], float]] = {
        "pixels (u8)": (lambda: Figure(base, bone, which, seen).over(background, pinhole, dilation), seconds),
        "image": (lambda: splat(*splats, k, size, dilation), seconds),
        "image + gradients": (both, seconds),
        "live: blend, carry, pixels": (live, seconds),
        "training step, whole": (training, seconds),
    }
    if side == 256 and count == 10000:
        work["twin: image"] = (lambda: twin.splat(*splats, k, size, dilation), 0)
    for name, (run, time_for) in work.items():
        if name == "training step, whole" and side > 256:
            continue
        median, best = milliseconds(run, time_for)
        floor = f"{floors[name]:8.2f}" if name in floors else " " * 8
        print(
            f"{count:6d}  {side:4d}^2  {name:27s}{median:9.2f}{best:9.2f}{floor}{1e3 / median:9.0f}",
            flush=True,
        )


def main() -> None:
    """Print one table."""
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
    set_threads(threads)
    name, clock = machine()
    module = native.module()
    print(f"{name}, {threads} thread(s), {module.isa() if module else 'no kernels'}")
    print(f"{'splats':>6s}  {'size':>6s}  {'':27s}{'median':>9s}{'best ms':>9s}{'floor':>8s}{'a second':>9s}")
    for side in (256, 512):
        for count in (10000, 20000):
            rows(count, side, threads, seconds, clock)


if __name__ == "__main__":
    main()
