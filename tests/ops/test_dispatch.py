"""The paths that one process cannot take one after the other: instruction sets, and no kernels at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from avatarkit.ops import native
from tests.ops.cases import relative_error

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = """
import sys, torch
from avatarkit.ops import native, set_threads
from avatarkit.ops.composite import composite
from avatarkit.ops.encode import HashGrid, hash_encode
from avatarkit.ops.march import march
from avatarkit.ops.mlp import field_mlp
from avatarkit.ops.sh import spherical_harmonics
from avatarkit.ops.tables import AdamOptions, BlendTables
from tests.ops.cases import STEP, camera_rays, opaque_weights, parameters, shell

torch.manual_seed(3)
set_threads(2)
grid = HashGrid(log2_size=10)
tables = BlendTables.from_canonical(torch.randn(grid.size), torch.randn(5, grid.prefix(8)))
coefficients = torch.rand(2, 5)
leaf = tables.blend(coefficients).requires_grad_()
origins, directions = camera_rays(24)
samples = march(origins, directions, shell(), STEP, seed=1)
image_offsets = samples.ray_offsets[:: origins.shape[0] // 2].clone()
features = hash_encode(samples.points, leaf, image_offsets, grid)
weights = parameters(opaque_weights(), torch.float32)
density, rgb = field_mlp(features, spherical_harmonics(directions), samples.ray_offsets, weights)
out = composite(density, rgb, samples.t, samples.ray_offsets, STEP, distortion=True)
(out.color.square().sum() + out.alpha.sum() + out.distortion.sum()).backward()
after = tables.adam_blend(leaf.grad, coefficients, coefficients, AdamOptions(eps=1e-2))
name = "twin" if native.module() is None else native.module().isa()
torch.save({"name": name, "color": out.color.detach(), "alpha": out.alpha.detach(), "table": leaf.grad,
            "weights": weights.density0.grad, "after": after}, sys.argv[1])
"""


def outcome(folder: Path, **environment: str) -> dict[str, torch.Tensor | str]:
    path = folder / "outcome.pt"
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "ignore", **environment}
    subprocess.run([sys.executable, "-c", SCRIPT, str(path)], check=True, env=env, cwd=REPOSITORY)
    result: dict[str, torch.Tensor | str] = torch.load(path, weights_only=True)
    return result


@pytest.mark.usefixtures("kernels")
def test_every_path_computes_the_same(tmp_path: Path) -> None:
    module = native.module()
    assert module is not None
    best = outcome(tmp_path)
    assert best["name"] == module.isa()
    again = outcome(tmp_path)
    others = [outcome(tmp_path, AVATARKIT_ISA="baseline"), outcome(tmp_path, AVATARKIT_NATIVE="0")]
    assert [other["name"] for other in others] == ["baseline", "twin"]
    for key, value in best.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, again[key])  # type: ignore[arg-type]
            for other in others:
                # A hidden unit within rounding of zero may fall on either side of its ReLU.
                assert relative_error(other[key], value) < 5e-3, (key, other["name"])  # type: ignore[arg-type]
