"""The painted person, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from avatarkit.files.avatar import save_avatar
from avatarkit.files.track import Track, save_track
from avatarkit.methods.nha import config
from avatarkit.methods.nha.avatar import NeuralHeadAvatar
from avatarkit.methods.nha.method import NeuralHead
from avatarkit.methods.registry import Subject
from tests.methods.nha import person as known


@pytest.fixture(scope="session")
def person(tmp_path_factory: pytest.TempPathFactory) -> tuple[Track, Path]:
    folder = tmp_path_factory.mktemp("nha")
    return known.make(folder), folder


@pytest.fixture(scope="session")
def avatar(person: tuple[Track, Path]) -> NeuralHeadAvatar:
    """An avatar of a few steps: recognizable by nobody, complete in every part."""
    track, folder = person
    made = config.make(resolution=64, steps=6, threads=1, keep_best=False)
    return NeuralHead().fit(Subject(track, folder), made, lambda at: None)


@pytest.fixture
def folder(
    avatar: NeuralHeadAvatar, person: tuple[Track, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A working folder that holds me.safetensors and me.track.npz."""
    monkeypatch.chdir(tmp_path)
    save_avatar(tmp_path / "me.safetensors", *avatar.state())
    save_track(person[0], tmp_path / "me.track.npz")
    return tmp_path
