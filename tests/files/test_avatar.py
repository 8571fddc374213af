"""The avatar file: round trip, fixed bytes, and refusals."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from avatarkit.files.avatar import load_avatar_file, read_header, save_avatar, tensor_shapes
from avatarkit.files.errors import AvatarkitError


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "table": torch.randn(7, 4, generator=generator),
        "half": torch.randn(3, generator=generator).half(),
        "plate": torch.arange(20, dtype=torch.uint8),
        "strided": torch.randn(4, 6, generator=generator).T,
    }


def test_round_trip_and_fixed_bytes(tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    header = {"method": "x", "camera": (1, 2.5), "best": float("nan"), "n": np.float32(2), "name": "Zoë"}
    path = tmp_path / "ü.safetensors"
    save_avatar(path, tensors, header)
    back, read = load_avatar_file(path)
    assert set(back) == set(tensors)
    for key, value in tensors.items():
        assert back[key].dtype == value.dtype and torch.equal(back[key], value)
    assert read["method"] == "x" and read["camera"] == [1, 2.5] and read["best"] is None and read["n"] == 2
    assert read["name"] == "Zoë" and read["format"] == 1 and read["tool"].startswith("avatarkit ")
    assert read_header(path) == read
    assert tensor_shapes(path)["table"] == ("F32", [7, 4])
    stream = io.BytesIO()
    save_avatar(stream, dict(reversed(tensors.items())), dict(reversed(header.items())))
    assert stream.getvalue() == path.read_bytes()
    assert torch.equal(load_avatar_file(io.BytesIO(stream.getvalue()))[0]["half"], tensors["half"])


def test_refusals(tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_avatar(path, tensors, {"method": "x"})
    data = path.read_bytes()
    bad = tmp_path / "bad.safetensors"
    for content in (b"", b"hello", data[:-10], data[:30], b"\xff" * 64, b"PK" + data):
        bad.write_bytes(content)
        with pytest.raises(AvatarkitError, match=r"bad\.safetensors: not a"):
            load_avatar_file(bad)
    tensors = {k: v.contiguous() for k, v in tensors.items()}
    for metadata, message in (
        (None, "has no 'avatarkit' header"),
        ({"avatarkit": "no json"}, "damaged"),
        ({"avatarkit": json.dumps({"format": 7, "method": "x"})}, "newer"),
        ({"avatarkit": json.dumps({"format": 1})}, "damaged"),
    ):
        save_file(tensors, bad, metadata=metadata)
        with pytest.raises(AvatarkitError, match=message):
            load_avatar_file(bad)
    with pytest.raises(AvatarkitError, match="no such file"):
        load_avatar_file(tmp_path / "missing")
    with pytest.raises(AvatarkitError, match="folder"):
        load_avatar_file(tmp_path)
    with pytest.raises(AvatarkitError, match="empty"):
        load_avatar_file(io.BytesIO(b""))
    with pytest.raises(ValueError, match="method"):
        save_avatar(path, tensors, {})
