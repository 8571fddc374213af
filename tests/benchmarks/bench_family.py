"""The radiance fields of the papers: samples a second of their network, the sparse convolutions, and equal-time fits.

    python tests/benchmarks/bench_family.py [--speed] [--fits person05 ...] [--methods concat nerface ...] [--minutes 5]

Speed: forward passes of NerFACE's 8 x 256 network beside the floor that the processor's own matrix products set, and
forward and backward of the displacement volume's network. Fits: every method on every clip for the same minutes (or
``--steps``, for instance with ``--images 50``), one line each: training and held-out PSNR on head and frame.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from avatarkit.methods import registry
from avatarkit.methods.radiance.diffusion import Diffusion
from avatarkit.methods.radiance.network import RadianceNetwork
from avatarkit.ops import set_threads
from avatarkit.ops.sparse import occupied
from tests.benchmarks.bench_fit import nearest, subject

SAMPLES = 8192
# Head vertices, and cells of 5 mm across a box of 0.36 m: the volume of MA-NeRF and Neural Body.
VERTICES, CELLS = 34_650, 72


def median(work: Callable[[], object], times: int = 7) -> float:
    """Seconds"""
    work()
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def speed() -> None:
    """Prints both tables."""
    network = RadianceNetwork(63, 27, 84)
    positions, directions, code = torch.randn(SAMPLES, 63), torch.randn(SAMPLES, 27), torch.randn(84)
    work = 2 * network.operations()
    square = torch.randn(2048, 2048)
    with torch.no_grad():
        peak = 2 * 2048**3 / median(lambda: square @ square)
        forward = median(lambda: network(positions, directions, code))

    def step() -> None:
        density, rgb = network(positions, directions, code)
        (density.sum() + rgb.sum()).backward()

    both = median(step, 3)
    print(f"8 x 256 network, {SAMPLES} samples: {work / 1e6:.2f} MFLOP a sample")
    print(
        f"  matrix products of this machine   {peak / 1e9:8.0f} GFLOP/s: at most {peak / work / 1e6:.3f} M samples/s"
    )
    print(
        f"  forward                           {work * SAMPLES / forward / 1e9:8.0f} GFLOP/s: "
        f"{SAMPLES / forward / 1e6:.3f} M samples/s"
    )
    print(
        f"  forward and backward              {1000 * both:8.1f} ms: {SAMPLES / both / 1e6:.3f} M samples/s"
    )
    generator = torch.Generator().manual_seed(0)
    places = torch.randn(VERTICES, 3, generator=generator)
    radii = torch.tensor([0.085, 0.12, 0.1]) / 0.36
    places = 0.5 + radii * places / places.norm(dim=1, keepdim=True)
    diffusion, codes = Diffusion(16, CELLS), torch.randn(VERTICES, 16, requires_grad=True)
    sites, _ = occupied(places * CELLS, (CELLS, CELLS, CELLS))

    def learn() -> None:
        sum(features.sum() for features, _ in diffusion(codes, places).levels).backward()  # type: ignore[union-attr]

    with torch.no_grad():
        forward = median(lambda: diffusion(codes, places))
    print(f"displacement volume of {VERTICES} vertices in {len(sites)} cells of 5 mm")
    print(
        f"  forward {1000 * forward:6.1f} ms   forward and backward {1000 * median(learn):6.1f} ms (rules included)"
    )


def fits(given: argparse.Namespace) -> None:
    """Prints a line for every clip and method."""
    shown = ("steps", "seconds", "train_psnr_head", "heldout_psnr_head", "heldout_psnr_frame")
    for name in given.fits:
        person = subject(name, given.tracks)
        base = nearest(person.track, person.source, 0.1, given.resolution)
        print(f"{name:10}{'nearest frame':16}{'':30}{base.head:10.2f}{base.frame:10.2f}", flush=True)
        for method in given.methods:
            made = registry.get(method)
            options = {"resolution": given.resolution, "threads": given.threads, "minutes": given.minutes}
            options |= {"steps": given.steps} if given.steps else {}
            options |= {"images": given.images} if given.images and method != "nerfblendshape" else {}
            settings = sys.modules[made.Config.__module__].make(**options)
            found = made.fit(person, settings, lambda at: None).header["metrics"]
            print(f"{name:10}{method:16}" + "".join(f"{found[key]:10.2f}" for key in shown), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--fits", nargs="*", default=[])
    parser.add_argument("--methods", nargs="*", default=["nerfblendshape", "concat", "nerface"])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--images", type=int, default=0)
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tracks", type=Path)
    given = parser.parse_args()
    set_threads(given.threads)
    torch.manual_seed(0)
    print(f"{platform.processor() or platform.machine()}, {given.threads} threads, torch {torch.__version__}")
    if given.speed or not given.fits:
        speed()
    fits(given)


if __name__ == "__main__":
    main()
