"""The known person, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from avatarkit.files.track import Track
from tests.methods.radiance import cases


@pytest.fixture(scope="session")
def person(tmp_path_factory: pytest.TempPathFactory) -> tuple[Track, Path]:
    folder = tmp_path_factory.mktemp("known")
    return cases.make(folder), folder
