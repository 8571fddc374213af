"""What every ray method has to do: overfit one frame, come back from a file and a checkpoint, obey its seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avatarkit.data.clip import crop_camera
from avatarkit.files.avatar import load_avatar_file, save_avatar
from avatarkit.files.errors import AvatarkitError, UsageError
from avatarkit.files.track import Track
from avatarkit.methods import registry
from avatarkit.methods.best import Best
from avatarkit.methods.radiance import checkpoint
from avatarkit.methods.registry import Drive, Subject
from tests.methods.radiance import cases

METHODS = list(cases.TINY)
# What a single frame is known after.
KNOWN: dict[str, dict[str, Any]] = {
    "concat": {
        "resolution": 32, "steps": 250, "rays": 320, "batch": 1, "coarse": 64, "width": 64, "mask_until": 1.0,
        "distortion_weight": 0.0, "learning_rate": 0.02, "learning_rate_network": 3e-3,
    },
    # Its density knows a point by the volume alone: cells of 14 mm, as elsewhere in these tests, end at 32 dB.
    "neuralbody": {
        "resolution": 16, "steps": 350, "rays": 128, "width": 64, "coarse": 32, "voxel": 8.0, "position_octaves": 5,
        "learning_rate": 8e-3,
    },
    "manerf": {
        "resolution": 16, "steps": 400, "rays": 128, "width": 64, "coarse": 16, "position_octaves": 5,
        "learning_rate": 5e-3,
    },
    "nerface": {
        "resolution": 16, "steps": 400, "rays": 128, "width": 64, "coarse": 16, "learning_rate": 5e-3
    },
}  # fmt: skip


@pytest.mark.parametrize("name", list(KNOWN))
def test_a_single_frame_is_overfitted(name: str, person: tuple[Track, Path]) -> None:
    track, folder = person
    options = {"learning_rate_end": 0.03, "outside": 1.0, "focus": 0.0, "training_background": "plate"}
    with cases.setting(track, folder, KNOWN[name]["resolution"]) as place:
        trainer = place.trainer(name, np.array([4]), **options | KNOWN[name])
        while not trainer.finished:
            trainer.advance()
        trainer.settle()
        assert place.gauge.quality(trainer.drawing(), np.array([4])).head >= 35


@pytest.mark.parametrize("name", METHODS)
def test_file_checkpoint_and_seed(name: str, person: tuple[Track, Path], tmp_path: Path) -> None:
    track, folder = person
    path = tmp_path / "a.checkpoint"
    with cases.setting(track, folder) as place:
        whole = place.trainer(name, steps=8)
        for _ in range(8):
            whole.advance()
        first = place.trainer(name, steps=8)
        for _ in range(5):
            first.advance()
        best = Best()
        best.offer(first, 20.0)
        checkpoint.save(first, name, "this clip", path, best)
        second = place.trainer(name, steps=8)
        assert checkpoint.load(second, name, "this clip", path).curve == [(5, 20.0)]
        while not second.finished:
            second.advance()
        for key, value in whole.keepsake().items():
            assert torch.equal(value, second.keepsake()[key]), key
        best.restore(second)
        for key, value in first.keepsake().items():
            assert torch.equal(value, second.keepsake()[key]), key
        other = place.trainer(name, steps=8, seed=1)
        assert other.advance() != place.trainer(name, steps=8).advance()
        with pytest.raises(AvatarkitError, match="learning_rate"):
            checkpoint.load(place.trainer(name, steps=8, learning_rate=0.02), name, "this clip", path)
        with pytest.raises(AvatarkitError, match="another track"):
            checkpoint.load(place.trainer(name, steps=8), name, "that clip", path)


@pytest.mark.parametrize("name", METHODS)
def test_rays_that_meet_nothing_are_clear(name: str, person: tuple[Track, Path]) -> None:
    """A part of a picture where every cell is empty: nothing is evaluated, and nothing fails."""
    track, folder = person
    with cases.setting(track, folder) as place:
        trainer = place.trainer(name, steps=8)
        trainer.model.occupancy.bits.zero_()
        assert trainer.drawing()(0, place.clip.camera).alpha.max() == 0
        trainer.model.occupancy.allowed.zero_()
        assert np.isfinite(trainer.advance())


@pytest.mark.parametrize("name", METHODS)
def test_a_fit_gives_a_file_that_renders_the_same_bits(
    name: str, person: tuple[Track, Path], tmp_path: Path
) -> None:
    track, folder = person
    stages: list[str] = []
    method = registry.get(name)
    settings = cases.config(name, steps=6, images=5)
    avatar = method.fit(Subject(track, folder), settings, lambda at: stages.append(at["stage"]))
    assert list(dict.fromkeys(stages)) == ["background", "reading frames", "fitting", "measuring"]
    assert avatar.header["metrics"]["steps"] == 6 and avatar.header["metrics"]["training_frames"] == 5
    path = tmp_path / "me.safetensors"
    save_avatar(path, *avatar.state())
    tensors, header = load_avatar_file(path)
    again = registry.get(header["method"]).Avatar.from_state(tensors, header, "cpu")
    drive, camera = Drive.of(track, 5), crop_camera(track, 24)
    before, after = avatar.render(drive, camera), again.render(drive, camera)
    assert before.alpha.max() > 0
    assert np.array_equal(before.rgb, after.rgb) and np.array_equal(before.alpha, after.alpha)
    weight = next(key for key in tensors if key.startswith("model.") and tensors[key].is_floating_point())
    create = method.Avatar.from_state
    with pytest.raises(AvatarkitError, match="fit it again"):
        create({k: v for k, v in tensors.items() if k != weight}, header, "cpu")
    with pytest.raises(AvatarkitError, match="not finite"):
        create({**tensors, weight: tensors[weight] * float("nan")}, header, "cpu")
    with pytest.raises(AvatarkitError, match="--device"):
        create(tensors, header, "cuda")


@pytest.mark.parametrize("name", METHODS)
def test_options_that_cannot_work_are_told(name: str) -> None:
    with pytest.raises(UsageError, match="--rays must lie"):
        cases.config(name, rays=1)
    with pytest.raises(UsageError, match="--sampling"):
        cases.config(name, sampling="none")
    with pytest.raises(UsageError, match=f"{name} has no such option"):
        cases.config(name, wings=2)
    with pytest.raises(UsageError, match="--preset"):
        cases.config(name, preset="none")
