"""The method ``photo`` from a photo to frames: the astronaut of scikit-image, and a real pair where there is one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from avatarkit.files.avatar import load_avatar_file, save_avatar
from avatarkit.files.errors import AvatarkitError, UsageError
from avatarkit.files.images import write_image
from avatarkit.files.track import Track
from avatarkit.methods import registry
from avatarkit.methods.driving import neutral_drive, still
from avatarkit.methods.photo import config
from avatarkit.methods.photo.avatar import PhotoAvatar
from avatarkit.methods.registry import Drive, Subject
from avatarkit.methods.stage import Stage
from avatarkit.segmentation.pipeline import segment
from avatarkit.tracking import track


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from skimage.data import astronaut

    path = tmp_path_factory.mktemp("photo") / "astronaut.png"
    write_image(path, cv2.resize(astronaut(), (320, 320), interpolation=cv2.INTER_AREA))
    return path


@pytest.fixture(scope="module")
def tracked(source: Path) -> Track:
    return segment(track(source), source)


@pytest.fixture(scope="module")
def avatar(source: Path, tracked: Track) -> PhotoAvatar:
    made = registry.get("photo").fit(Subject(tracked, source), config.make(size=320), lambda note: None)
    assert isinstance(made, PhotoAvatar)
    return made


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(np.square(a.astype(float) - b).mean(), 1e-9)))


def test_the_rest_frame_is_the_photo(avatar: PhotoAvatar) -> None:
    rest = avatar.frame(neutral_drive(avatar.header))
    assert rest.shape == (320, 320, 3)
    assert rest.dtype == np.uint8
    assert psnr(rest, avatar.layers.photo) >= 42
    # The layers alone come near it.
    assert avatar.header["metrics"]["rest_psnr_layers"] > 28


def test_the_background_stays_and_the_face_moves(avatar: PhotoAvatar) -> None:
    moved = avatar.frame(still(avatar.header, {"jawOpen": 0.5, "eyeBlinkLeft": 1.0}, yaw=15))
    apart = np.abs(moved.astype(int) - avatar.layers.photo).mean(-1)
    left, top = avatar.points[:468, :2].min(0).astype(int)
    right, bottom = avatar.points[:468, :2].max(0).astype(int)
    assert apart[top:bottom, left:right].mean() > 15
    assert apart[:60, :60].max() <= 1
    # No hole shows: skin stays where the face is.
    middle = avatar.posed(still(avatar.header, {}, yaw=15)).landmarks[4, :2].astype(int)
    skin = avatar.layers.photo[int(avatar.points[4, 1]), int(avatar.points[4, 0])].astype(int)
    assert np.abs(moved[middle[1], middle[0]] - skin).max() < 60


def test_sliders_move_what_they_name(avatar: PhotoAvatar) -> None:
    rest = avatar.points
    opened = avatar.posed(still(avatar.header, {"jawOpen": 0.8})).landmarks
    assert opened[14, 1] - opened[13, 1] > rest[14, 1] - rest[13, 1] + 3
    shut = avatar.posed(still(avatar.header, {"eyeBlinkLeft": 1.0})).landmarks
    assert shut[374, 1] - shut[386, 1] < 0.35 * (rest[374, 1] - rest[386, 1])
    assert shut[145, 1] - shut[159, 1] == pytest.approx(rest[145, 1] - rest[159, 1], abs=0.6)
    turned = avatar.posed(still(avatar.header, {}, yaw=20))
    assert np.degrees(turned.turn) == pytest.approx(20, abs=1.5)


def test_saved_and_loaded_it_draws_the_same(avatar: PhotoAvatar, tmp_path: Path) -> None:
    path = tmp_path / "me.safetensors"
    save_avatar(path, *avatar.state())
    tensors, header = load_avatar_file(path)
    again = PhotoAvatar.from_state(tensors, header, "cpu")
    drive = still(header, {"mouthSmileLeft": 0.7}, yaw=-12, pitch=6)
    assert np.array_equal(again.frame(drive), avatar.frame(drive))
    del tensors["matte"]
    with pytest.raises(AvatarkitError, match="fit it again"):
        PhotoAvatar.from_state(tensors, header, "cpu")


def test_render_is_the_person_alone(avatar: PhotoAvatar) -> None:
    stage = Stage.of(avatar, avatar.state()[0])
    head = stage.head(neutral_drive(avatar.header))
    assert head.alpha[head.alpha.shape[0] // 2, head.alpha.shape[1] // 2] > 0.99
    assert head.alpha.min() < 0.05


def test_options_and_tracks_that_cannot_work(source: Path, tracked: Track) -> None:
    with pytest.raises(UsageError, match="--mouth"):
        config.make(mouth="wide")
    with pytest.raises(UsageError, match="--size"):
        config.make(size=1)
    with pytest.raises(AvatarkitError, match="segment"):
        registry.get("photo").fit(
            Subject(replace(tracked, mattes=None), source), config.make(), lambda note: None
        )


def test_a_real_clip_reenacts_itself(shared: Path, tmp_path: Path) -> None:
    """Frame 0 of a clip moved by four others is nearer to them than the unmoved photo is."""
    from avatarkit.files.video import read_frames_at
    from avatarkit.tracking import TrackOptions

    clip = shared / "data" / "person05.mp4"
    if not clip.exists():
        pytest.skip("the shared clips are not here")
    driver = track(clip, replace(TrackOptions(), max_frames=61))
    frames = dict(read_frames_at(clip, [0, 15, 30, 45, 60]))
    path = tmp_path / "first.png"
    write_image(path, frames[0])
    subject = Subject(segment(track(path), path), path)
    made = registry.get("photo").fit(subject, config.make(size=256), lambda note: None)
    assert isinstance(made, PhotoAvatar)
    motion = made.start(Drive.of(driver, 0))
    gains = []
    for t in (15, 30, 45, 60):
        truth = cv2.resize(frames[t], (256, 256), interpolation=cv2.INTER_AREA)
        moved = made.frame(Drive.of(driver, t), motion)
        gains.append(psnr(moved, truth) - psnr(made.layers.photo, truth))
    assert np.mean(gains) > 1.0
