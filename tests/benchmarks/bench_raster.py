"""Time of the rasterizer's kernels and of their twins: ``python tests/benchmarks/bench_raster.py [threads]``."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from avatarkit.ops import raster, set_threads
from avatarkit.ops import raster_reference as twin
from avatarkit.ops.native import retain_memory
from avatarkit.ops.normals import Incidence, vertex_normals


def sphere(rows: int, columns: int, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A bumpy sphere that fills most of the image: vertices [V, 3], triangles [F, 3], uv [V, 2]."""
    theta, phi = np.meshgrid(
        np.linspace(0.02, np.pi - 0.02, rows), np.linspace(0, 2 * np.pi, columns), indexing="ij"
    )
    radius = 0.45 * (1 + 0.05 * np.sin(7 * theta) * np.cos(5 * phi))
    x, y = radius * np.sin(theta) * np.cos(phi), radius * np.cos(theta)
    z = 3 + radius * np.sin(theta) * np.sin(phi)
    points = np.stack([size / 2 + size * x, size / 2 + size * y, z], -1).reshape(-1, 3)
    a = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).reshape(-1)
    t = np.concatenate(
        [np.stack([a, a + 1, a + columns], 1), np.stack([a + 1, a + columns + 1, a + columns], 1)]
    )
    uv = np.stack([phi / (2 * np.pi), 1 - theta / np.pi], -1).reshape(-1, 2)
    return (
        torch.tensor(points, dtype=torch.float32),
        torch.tensor(t, dtype=torch.int32),
        torch.tensor(uv, dtype=torch.float32),
    )


def median_ms(work: Callable[[], object], seconds: float = 1.0) -> tuple[float, float]:
    """Median and best of repeated runs in milliseconds."""
    work()
    times: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(times) < 3:
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1e3)
    return float(np.median(times)), min(times)


def main() -> None:
    """Print one table."""
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    set_threads(threads)
    retain_memory()  # as fits do
    size = 512
    vertices, triangles, uv = sphere(71, 72, size)
    image = torch.rand(512, 512, 3)
    opposite = raster.edge_opposites(triangles)
    face, barycentric, depth = raster.rasterize(vertices, triangles, size, size)
    place = raster.interpolate(uv, triangles, face, barycentric)

    def textured() -> torch.Tensor:
        f, b, _ = raster.rasterize(vertices, triangles, size, size)
        return raster.texture(image, raster.interpolate(uv, triangles, f, b), f)

    def gradients() -> None:
        v, t = vertices.clone().requires_grad_(), image.clone().requires_grad_()
        f, b, d = raster.rasterize(v, triangles, size, size)
        color = raster.texture(t, raster.interpolate(uv, triangles, f, b), f)
        raster.antialias(color, v, triangles, opposite, f, d).square().sum().backward()

    color = textured()
    fine, fine_triangles, _ = sphere(128, 128, size)
    fine_opposite, around = raster.edge_opposites(fine_triangles), Incidence.of(fine_triangles, len(fine))
    others = torch.rand(len(fine), 5)

    def meshed(rasterize: raster.Rasterizer = raster.rasterize) -> None:
        """What a mesh with learned geometry needs: normals, attributes, soft outlines, gradients to vertices."""
        v = fine.clone().requires_grad_()
        f, b, d = rasterize(v, fine_triangles, size, size)
        values = raster.interpolate(torch.cat([vertex_normals(v, around), others], 1), fine_triangles, f, b)
        raster.antialias(values, v, fine_triangles, fine_opposite, f, d).sum().backward()

    # each of the pictures written and read once forwards and its gradient backwards, and the sums of the chunks
    pictures, sums = torch.empty(size, size, 1 + 3 + 1 + 8 + 8), torch.empty(8, len(fine), 3 + 8)
    copies = torch.empty_like(pictures), torch.empty_like(sums)

    def floor() -> None:
        for _ in range(2):
            copies[0].copy_(pictures)
        copies[1].copy_(sums)

    rows: dict[str, Callable[[], object]] = {
        "rasterize": lambda: raster.rasterize(vertices, triangles, size, size),
        "interpolate uv": lambda: raster.interpolate(uv, triangles, face, barycentric),
        "texture": lambda: raster.texture(image, place, face),
        "antialias": lambda: raster.antialias(color, vertices, triangles, opposite, face, depth),
        "forward, textured": textured,
        "forward + backward": gradients,
        f"{len(fine_triangles)} triangles, 8 values": meshed,
        "  its memory alone": floor,
        "vertex normals": lambda: vertex_normals(fine, around),
        "twin: rasterize": lambda: twin.rasterize(vertices[None], triangles, size, size, True),
    }
    try:
        other = raster.rasterizer("pytorch3d")
        rows["pytorch3d: rasterize"] = lambda: other(vertices, triangles, size, size)
        rows[f"pytorch3d: {len(fine_triangles)} triangles"] = lambda: meshed(other)
    except ImportError as error:
        print(f"no comparison with pytorch3d: {error}")
    print(f"{platform.processor() or platform.machine()}, {threads} thread(s), {size}^2, {len(triangles)} triangles, "
          f"{float((face >= 0).float().mean()):.0%} covered")  # fmt: skip
    print(f"{'':26s}{'median ms':>10s}{'best ms':>10s}")
    for name, work in rows.items():
        median, best = median_ms(work)
        print(f"{name:26s}{median:10.2f}{best:10.2f}")


if __name__ == "__main__":
    main()
