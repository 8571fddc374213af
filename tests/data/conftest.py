from __future__ import annotations

from pathlib import Path

import pytest

from avatarkit.files.track import Track
from tests.methods import synthetic


@pytest.fixture(scope="session")
def subject(tmp_path_factory: pytest.TempPathFactory) -> tuple[Track, Path]:
    """The analytic person: its segmented track of 20 frames and the folder of its frames."""
    folder = tmp_path_factory.mktemp("person")
    return synthetic.make(folder, frames=20), folder
