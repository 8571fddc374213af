"""Several avatars in one file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from avatarkit.files import identities
from avatarkit.files.avatar import load_avatar_file, save_avatar
from avatarkit.files.errors import AvatarkitError, UsageError


def state(i: int):
    return {"weights": torch.full((2, 3), float(i))}, {"method": "gaussians", "seed": i}


def test_each_comes_back_by_its_number(tmp_path: Path) -> None:
    path = tmp_path / "all.safetensors"
    save_avatar(path, *identities.together([state(i) for i in range(11)]))
    tensors, header = load_avatar_file(path)
    assert identities.count(header) == 11
    for i in (0, 1, 10):
        own, facts = identities.chosen(tensors, header, i)
        assert set(own) == {"weights"} and facts["seed"] == i
        assert (own["weights"] == i).all()
    with pytest.raises(UsageError, match="11 avatars"):
        identities.chosen(tensors, header, 11)


def test_one_alone_is_an_ordinary_file() -> None:
    tensors, header = identities.together([state(4)])
    assert identities.count(header) == 1 and "weights" in tensors
    assert identities.chosen(tensors, header)[1] is header
    with pytest.raises(UsageError, match="one avatar"):
        identities.chosen(tensors, header, 1)
    with pytest.raises(AvatarkitError, match="damaged"):
        identities.chosen({}, {"method": "x", "identities": ["x"]}, 0)
