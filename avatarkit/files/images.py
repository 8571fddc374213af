"""Photos and folders of images, decoded to upright HWC uint8 sRGB whatever they were stored as."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avatarkit.files.errors import AvatarkitError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})


def is_photo(path: Path) -> bool:
    """Whether the file's first bytes are those of a still image (its name does not count)."""
    with open(path, "rb") as file:
        head = file.read(16)
    return (
        head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"MM\0*"))
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
    )  # fmt: skip


def listed(folder: Path) -> list[Path]:
    """The images of ``folder`` in natural order (2.png before 10.png). Raises AvatarkitError when there are none."""
    images = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
    if not images:
        raise AvatarkitError(f"{folder}: the folder holds no images ({', '.join(sorted(SUFFIXES))})")
    return sorted(images, key=_natural)


def _natural(path: Path) -> tuple[list[tuple[int, int | str]], str]:
    parts: list[str] = re.findall(r"\d+|\D+", path.name)
    return [(0, int(p)) if p.isdecimal() else (1, p) for p in parts], path.name


def read_image(path: Path) -> NDArray[np.uint8]:
    """The image at ``path`` as [H, W, 3] uint8 sRGB, EXIF rotation applied.

    Grey is repeated over the channels, 16 bits are reduced to 8, transparency is laid over white.
    Raises AvatarkitError when the file cannot be decoded.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I") or image.mode == "F":
                values = np.asarray(image, np.float64)
                scale = 255.0 / 65535.0 if values.max(initial=0) > 255 else 1.0
                grey = np.clip(np.rint(values * scale), 0, 255).astype(np.uint8)
                return np.repeat(grey[..., None], 3, axis=2)
            if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
                rgba = np.asarray(image.convert("RGBA"), np.float32)
                alpha = rgba[..., 3:] / 255.0
                return np.rint(rgba[..., :3] * alpha + 255.0 * (1.0 - alpha)).astype(np.uint8)
            return np.array(image.convert("RGB"))
    except Image.DecompressionBombError as error:
        raise AvatarkitError(f"{path}: the image has too many pixels: reduce it first") from error
    except (OSError, ValueError, SyntaxError) as error:  # what Pillow's decoders raise on damaged data
        raise AvatarkitError(
            f"{path}: the image cannot be decoded: truncated, or another kind of file?"
        ) from error


def write_image(path: Path, image: NDArray[np.uint8]) -> None:
    """Write [H, W], [H, W, 3] or [H, W, 4] uint8 sRGB as the kind of image ``path``'s suffix names, atomically."""
    from avatarkit.files.streams import atomic

    data = encoded(image, path.suffix or ".png")
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def encoded(image: NDArray[np.uint8], suffix: str = ".png") -> bytes:
    """``image`` ([H, W], [H, W, 3] RGB or [H, W, 4] RGBA uint8) as the bytes of a ``suffix`` file."""
    import cv2

    if image.ndim == 3:
        image = image[..., ::-1] if image.shape[2] == 3 else image[..., [2, 1, 0, 3]]
    try:
        good, data = cv2.imencode(suffix, np.ascontiguousarray(image))
    except cv2.error as error:
        raise AvatarkitError(f"cannot write images as '{suffix}': choose .png or .jpg") from error
    if not good:
        raise AvatarkitError(f"the image could not be encoded as '{suffix}'")
    return bytes(data.tobytes())
