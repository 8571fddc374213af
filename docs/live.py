"""Make the README's first picture: ``python docs/live.py [DEMO_FOLDER [TARGET]]``.

The subject that ``avatarkit demo`` draws, on film (left), and its Gaussian avatar driven by that film as it comes
through a pipe (right): decoded, tracked and drawn one by one, as those of a camera would be. DEMO_FOLDER is
what a demo left (default: ``demo``, made with ``make demo``); the avatar is fitted here unless the folder has it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from avatarkit.files import ffmpeg
from avatarkit.files.video import probe

SIDE = 256
SECONDS = 4.0
"""The film's end: the last 1.6 seconds were held out of the fit."""
EVERY = 2
"""One of how many frames is shown."""
MOST = 1_500_000
"""Bytes the picture may have."""


def avatarkit(*arguments: str | Path) -> list[str]:
    """The command line of one command."""
    return [sys.executable, "-m", "avatarkit", *map(str, arguments)]


def main() -> None:
    """Write the picture, as fine as fits."""
    demo = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("demo")
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent / "live.webp"
    film, avatar = demo / "person.mp4", demo / "gaussians.safetensors"
    if not avatar.exists():
        track = demo / "person.segment.track.npz"
        fit = avatarkit(
            "fit", track, "--video", film, "--method", "gaussians", "--minutes", "0", "--steps", "3000"
        )
        subprocess.run([*fit, "-o", str(avatar)], check=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reading = [ffmpeg.executable(), "-loglevel", "error", "-i", str(film), "-f", "yuv4mpegpipe", "-"]
        drawing = avatarkit("reenact", avatar, "-", "--transfer", "absolute", "-q", "-o", folder / "%04d.png")
        with subprocess.Popen(reading, stdout=subprocess.PIPE) as source:
            subprocess.run(drawing, stdin=source.stdout, check=True)
        copying = [*reading[:5], "-start_number", "0", str(folder / "f%04d.png")]
        subprocess.run(copying, check=True)
        info = probe(film)
        first = info.frames - round(SECONDS * info.fps)
        frames = [
            beside(folder / f"f{t:04d}.png", folder / f"{t:04d}.png")
            for t in range(first, info.frames, EVERY)
        ]
        duration = round(1000 * EVERY / info.fps)
        for quality in (85, 80, 75, 70, 60, 50, 40):
            frames[0].save(
                target, save_all=True, append_images=frames[1:], duration=duration, loop=0, quality=quality, method=4
            )  # fmt: skip
            if target.stat().st_size < MOST:
                break
    print(f"{target}: {len(frames)} frames, quality {quality}, {target.stat().st_size / 1e6:.2f} MB")


def beside(left: Path, right: Path) -> Image.Image:
    """Two square pictures next to each other, ``SIDE`` pixels each."""
    whole = Image.new("RGB", (2 * SIDE, SIDE))
    for i, path in enumerate((left, right)):
        whole.paste(
            Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS), (i * SIDE, 0)
        )
    return whole


if __name__ == "__main__":
    main()
