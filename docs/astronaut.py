"""Make the README's moving picture: ``python docs/astronaut.py [docs/astronaut.webp]``.

scikit-image's portrait of an astronaut (NASA, public domain; it comes with its wheel) talks: the photo to the left,
what ``avatarkit reenact photo.png talk`` makes of it to the right.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from skimage import data

SIDE = 256
MOST = 2_000_000
"""Bytes the picture may have."""


def main() -> None:
    """Write the picture, as fine as fits."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "astronaut.webp"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Image.fromarray(data.astronaut()).save(folder / "photo.png")
        subprocess.run(
            [
                sys.executable, "-m", "avatarkit", "reenact", str(folder / "photo.png"), "talk", "--side-by-side",
                "--crop", "head", "--size", str(SIDE), "--quiet", "-o", str(folder / "%04d.png"),
            ],
            check=True,
        )  # fmt: skip
        frames = [Image.open(path).convert("RGB") for path in sorted(folder.glob("0*.png"))]
        for quality in (85, 80, 75, 70, 60, 50, 40):
            frames[0].save(
                target, save_all=True, append_images=frames[1:], duration=40, loop=0, quality=quality, method=4
            )  # fmt: skip
            if target.stat().st_size < MOST:
                break
    print(f"{target}: {len(frames)} frames, quality {quality}, {target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
