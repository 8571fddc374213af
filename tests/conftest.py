"""What every test may ask for: the shared real clips and models, and small tracks and clips made on the spot."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from avatarkit.files.track import Track
from avatarkit.files.video import VideoWriter, probe

REPOSITORY = Path(__file__).resolve().parents[1]


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background jobs ignore Ctrl-C, and so would the commands that tests start and interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def shared_folder() -> Path | None:
    """``$AVATARKIT_SHARED``, or ``shared`` beside the checkout; None where neither exists."""
    named = os.environ.get("AVATARKIT_SHARED")
    folder = Path(named) if named else REPOSITORY.parent / "shared"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared test inputs; the test is skipped where it is absent."""
    folder = shared_folder()
    if folder is None:
        pytest.skip("no shared test inputs: set AVATARKIT_SHARED to their folder")
    return folder


@pytest.fixture(scope="session")
def clip(shared: Path) -> Callable[[str], Path]:
    """``clip("person01")``: path of a real clip or photo; the test is skipped where it is absent."""

    def find(name: str) -> Path:
        for suffix in ("", ".mp4", ".jpg", ".png"):
            path = shared / "data" / (name + suffix)
            if path.is_file():
                return path
        pytest.skip(f"the shared inputs hold no {name}")

    return find


@pytest.fixture(scope="session")
def model(shared: Path) -> Callable[[str], Path]:
    """``model("face_landmarker.task")``: path of a shared model file; skipped where it is absent."""

    def find(name: str) -> Path:
        path = shared / "models" / name
        if not path.is_file():
            pytest.skip(f"the shared models hold no {name}")
        return path

    return find


@pytest.fixture(autouse=True, scope="session")
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither read nor fill the user's cache, and never touch the network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVATARKIT_HOME", str(tmp_path_factory.getbasetemp() / "home"))
        patch.setenv("AVATARKIT_OFFLINE", "1")
        yield


@pytest.fixture(scope="session")
def moving_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 96x64 clip of 24 frames at 12 per second: a bright square that moves by 2 pixels a frame on a ramp."""
    path = tmp_path_factory.mktemp("clips") / "moving.mp4"
    with VideoWriter(path, 96, 64, 12.0, synthetic=False, crf=4) as writer:
        for t in range(24):
            writer.write(moving_frame(t))
    return path


def moving_frame(t: int) -> np.ndarray:
    """[64, 96, 3] uint8: frame ``t`` of ``moving_clip`` before compression."""
    frame = np.zeros((64, 96, 3), np.uint8)
    frame[..., 0] = np.linspace(20, 120, 96).astype(np.uint8)
    frame[..., 2] = np.linspace(20, 120, 64).astype(np.uint8)[:, None]
    frame[24:40, 8 + 2 * t : 24 + 2 * t] = (230, 200, 60)
    return frame


@pytest.fixture
def make_track() -> Callable[..., Track]:
    """``make_track(video, frames=24)``: a small valid track with made-up numbers that speaks of ``video``."""

    def make(video: Path, frames: int = 24, seed: int = 0) -> Track:
        random = np.random.default_rng(seed)
        info = probe(video)
        side = min(info.width, info.height)
        landmarks = random.uniform(0.25, 0.75, (frames, 478, 3)).astype(np.float32) * side
        return Track(
            meta={"format": 1, "video": info.meta(), "head": {"name": "builtin", "version": "1", "hash": ""}},
            frame=np.arange(frames, dtype=np.int32),
            valid=np.ones(frames, np.bool_),
            intrinsics=np.array(
                [[1.6 * info.width, 0, info.width / 2], [0, 1.6 * info.width, info.height / 2], [0, 0, 1]],
                np.float32,
            ),
            rotation=np.repeat(np.diag([1.0, -1.0, -1.0]).astype(np.float32)[None], frames, 0),
            translation=np.tile(np.array([0, 0, 0.6], np.float32), (frames, 1)),
            expression=random.random((frames, 52)).astype(np.float32),
            expression_names=_arkit(),
            neck=np.zeros((frames, 3), np.float32),
            jaw=np.zeros((frames, 3), np.float32),
            eyes=np.zeros((frames, 2, 3), np.float32),
            neutral=random.normal(0, 0.05, (60, 3)).astype(np.float32),
            landmarks=landmarks,
            residual=random.uniform(0.2, 0.6, frames).astype(np.float32),
            crop=np.array([(info.width - side) // 2, (info.height - side) // 2, side, side], np.int32),
        )

    return make


def _arkit() -> tuple[str, ...]:
    from avatarkit.heads.arkit import NAMES

    return NAMES
