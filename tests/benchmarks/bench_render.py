"""What a frame of a NeRFBlendShape avatar costs, part by part: milliseconds, medians over a driver's frames.

    python tests/benchmarks/bench_render.py AVATAR.safetensors TRACK.npz [--sizes 256 512] [--frames 12]

"whole" is what ``render`` does from drive to pixels, without the encoder; the other rows are its parts, each timed by
itself. The floor under the field: the fp32 products of the samples it sees, which are counted here by the marching
of ``visible_samples``, at 16-bit integer speed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from avatarkit.data.rays import image_rays
from avatarkit.files.track_io import load_track
from avatarkit.methods.driving import drives
from avatarkit.methods.nerfblendshape.avatar import NeRFBlendShapeAvatar
from avatarkit.methods.nerfblendshape.field import MAX_SAMPLES, STRIDE, UNSEEN
from avatarkit.methods.registry import Drive
from avatarkit.methods.stage import Stage
from avatarkit.ops import set_threads
from avatarkit.ops.visible import visible_samples


def parts(stage: Stage, drive: Drive, size: int, note: Callable[[str, Callable[[], Any]], Any]) -> int:
    """Times the parts of one frame with ``note``; returns how many samples the field sees."""
    avatar = stage.avatar
    assert isinstance(avatar, NeRFBlendShapeAvatar)
    x, y, side = stage.scene.crop
    camera = stage.camera.cropped(x, y, side, size)
    rotation, translation = (np.asarray(v, np.float32) for v in (drive.rotation, drive.translation))
    pose = torch.from_numpy(rotation), torch.from_numpy(translation)
    note("whole", lambda: stage.frame(drive, size))
    table = note("blend", lambda: avatar.tables.blend(torch.from_numpy(avatar.drivers.of_drive(drive)))[0])
    warp = None
    mesh = avatar.mesh
    if mesh is not None:
        expression = torch.from_numpy(avatar.drivers.clamped(drive.expression))
        warp = note("warp volume", lambda: mesh.warp(expression))
    origin, directions = note("rays", lambda: image_rays(camera, rotation, translation, avatar.field.box))
    note("rays and field", lambda: avatar.field.image(table, *pose, camera, avatar.bitfield, warp))
    head = note("head", lambda: avatar.render(drive, camera))
    behind = note("behind", lambda: stage.scene.behind(stage._torso_motion(drive)))
    note("over", lambda: stage.scene.over(behind, head.rgb, head.alpha))
    samples = visible_samples(
        torch.from_numpy(origin).expand(len(directions), 3), torch.from_numpy(directions),
        torch.tensor([0, len(directions)]), avatar.bitfield, table[None], avatar.field.grid, avatar.field.weights,
        step=STRIDE * avatar.field.step, max_samples=MAX_SAMPLES, minimum_transmittance=UNSEEN, warp=warp,
    ).samples  # fmt: skip
    return samples.t.numel()


def main() -> None:
    """Parses the command line and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("avatar", type=Path, nargs="?")
    parser.add_argument("track", type=Path, nargs="?")
    parser.add_argument("--sizes", type=int, nargs="*", default=[256, 512])
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    chosen = parser.parse_args()
    if chosen.avatar is None or chosen.track is None:
        print("bench_render: give an avatar and a track to time it with")
        return
    set_threads(chosen.threads)
    stage, track = Stage.load(chosen.avatar), load_track(chosen.track)
    rows = np.linspace(0, len(track) - 1, chosen.frames).astype(int)
    driven = [d for i, d in enumerate(drives(track, stage.avatar.header)) if i in rows and d is not None]
    print(f"{len(driven)} frames, {chosen.threads} threads, load {os.getloadavg()[0]:.1f}")
    for size in chosen.sizes:
        times: dict[str, list[float]] = defaultdict(list)

        def note(name: str, work: Callable[[], Any], times: dict[str, list[float]] = times) -> Any:
            start = time.perf_counter()
            result = work()
            times[name].append(1000 * (time.perf_counter() - start))
            return result

        samples = [parts(stage, drive, size, note) for drive in driven]
        print(f"{size}^2, {round(statistics.mean(samples))} samples seen")
        for name, values in times.items():
            print(f"  {name:16} {statistics.median(values):7.1f}  best {min(values):7.1f}")


if __name__ == "__main__":
    main()
