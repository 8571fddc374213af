"""Photos and folders of images, however they were stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avatarkit.files.errors import AvatarkitError
from avatarkit.files.images import read_image, write_image
from avatarkit.files.video import probe, read_frames


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (12, 20, 3)).astype(np.uint8)


def test_grey_alpha_palette_and_16_bits(tmp_path: Path, picture: np.ndarray) -> None:
    Image.fromarray(picture[..., 0]).save(tmp_path / "grey.png")
    assert (read_image(tmp_path / "grey.png") == picture[..., :1]).all()
    Image.fromarray(picture[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    assert (read_image(tmp_path / "deep.png") == picture[..., :1]).all()
    alpha = np.full((12, 20, 1), 255, np.uint8)
    alpha[:, 10:] = 0
    Image.fromarray(np.dstack([picture, alpha])).save(tmp_path / "alpha.png")
    shown = read_image(tmp_path / "alpha.png")
    assert (shown[:, :10] == picture[:, :10]).all() and (shown[:, 10:] == 255).all()
    Image.fromarray(picture).quantize(64).save(tmp_path / "palette.png")
    assert np.abs(read_image(tmp_path / "palette.png").astype(int) - picture).mean() < 25


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_exif_rotation(tmp_path: Path, picture: np.ndarray, orientation: int, turns: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture).save(tmp_path / "photo.png", exif=exif)
    assert (read_image(tmp_path / "photo.png") == np.rot90(picture, turns)).all()
    info = probe(tmp_path / "photo.png")
    assert (info.kind, info.frames) == ("photo", 1)
    assert (info.height, info.width) == np.rot90(picture, turns).shape[:2]


def test_a_folder_is_read_in_natural_order(tmp_path: Path, picture: np.ndarray) -> None:
    for i in (10, 2, 1):
        write_image(tmp_path / f"frame{i}.png", np.full_like(picture, i))
    (tmp_path / "notes.txt").write_text("not a picture")
    info = probe(tmp_path)
    assert (info.kind, info.frames, info.width, info.height) == ("folder", 3, 20, 12)
    assert [(i, int(f[0, 0, 0])) for i, f in read_frames(tmp_path)] == [(0, 1), (1, 2), (2, 10)]
    write_image(tmp_path / "frame11.png", picture[:5])
    with pytest.raises(AvatarkitError, match="one size"):
        list(read_frames(tmp_path))


def test_writing_is_lossless_and_atomic(tmp_path: Path, picture: np.ndarray) -> None:
    path = tmp_path / "ü b.png"
    write_image(path, picture)
    assert (read_image(path) == picture).all()
    with pytest.raises(AvatarkitError, match=r"\.png"):
        write_image(tmp_path / "a.nonsense", picture)
    assert [p.name for p in tmp_path.iterdir()] == ["ü b.png"]


def test_refusals(tmp_path: Path, picture: np.ndarray) -> None:
    write_image(tmp_path / "whole.png", picture)
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:200])
    with pytest.raises(AvatarkitError, match=r"cut\.png"):
        read_image(tmp_path / "cut.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(AvatarkitError, match="no images"):
        probe(tmp_path / "empty")
