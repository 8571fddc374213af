from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from avatarkit.ops import native


@pytest.fixture
def kernels() -> Iterator[None]:
    """Two threads, a fixed seed, and a skip where the kernels were not built."""
    if native.module() is None:
        pytest.skip("the native kernels are not built")
    before = torch.get_num_threads()
    native.set_threads(2)
    torch.manual_seed(0)
    yield
    native.set_threads(before)
