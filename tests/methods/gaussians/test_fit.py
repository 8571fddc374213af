"""The whole method on a person whose every pixel is known."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avatarkit import heads
from avatarkit.data.clip import ClipFrames
from avatarkit.files.avatar import load_avatar_file, save_avatar
from avatarkit.files.errors import AvatarkitError, UsageError
from avatarkit.files.track import Track
from avatarkit.methods import registry
from avatarkit.methods.driving import still
from avatarkit.methods.gaussians import checkpoint, config, method
from avatarkit.methods.gaussians import rig as rigs
from avatarkit.methods.gaussians.avatar import GaussiansAvatar
from avatarkit.methods.gaussians.measure import Gauge
from avatarkit.methods.gaussians.method import around, train
from avatarkit.methods.gaussians.planting import plant
from avatarkit.methods.gaussians.rig import Rig
from avatarkit.methods.gaussians.trainer import Trainer
from avatarkit.methods.registry import Drive, Progress, Subject
from avatarkit.methods.stage import Stage
from avatarkit.ops.native import module
from avatarkit.rendering.composite import Scene

pytestmark = pytest.mark.skipif(module() is None, reason="native kernels are not built")

SMALL: dict[str, Any] = {"resolution": 96, "steps": 500, "minutes": 0, "count": 2500, "threads": 1}


@dataclass
class Fitted:
    track: Track
    folder: Path
    avatar: GaussiansAvatar
    reports: list[dict[str, Any]]

    @property
    def metrics(self) -> dict[str, Any]:
        found: dict[str, Any] = self.avatar.header["metrics"]
        return found


@pytest.fixture(scope="module")
def fitted(person: tuple[Track, Path]) -> Fitted:
    track, folder = person
    reports: list[dict[str, Any]] = []
    avatar = registry.get("gaussians").fit(Subject(track, folder), config.make(**SMALL), reports.append)
    return Fitted(track, folder, avatar, reports)


def small_fit(person: tuple[Track, Path], **options: Any) -> GaussiansAvatar:
    track, folder = person
    made = config.make(**{**SMALL, "steps": 30, "count": 600, "resolution": 48, **options})
    return registry.get("gaussians").fit(Subject(track, folder), made, lambda at: None)


def test_held_out_frames_are_reproduced(fitted: Fitted) -> None:
    """The held-out frames hold the first half-closed lids of a turned head; their nearest neighbor has 23 dB."""
    assert fitted.metrics["heldout_psnr_head"] > 26
    assert fitted.metrics["heldout_psnr_frame"] > 29
    assert fitted.metrics["train_psnr_head"] > fitted.metrics["heldout_psnr_head"] - 0.5
    assert fitted.metrics["steps"] == SMALL["steps"]


def test_progress_tells_stages_loss_and_time(fitted: Fitted) -> None:
    stages = [at["stage"] for at in fitted.reports]
    assert {"reading frames", "background", "planting", "fitting", "measuring"} <= set(stages)
    fits = [at for at in fitted.reports if at["stage"] == "fitting"]
    assert fits[-1]["loss"] < 0.6 * fits[0]["loss"]
    assert fits[-1]["seconds_left"] == 0


def test_a_file_gives_the_same_bits_back(fitted: Fitted, tmp_path: Path) -> None:
    path = tmp_path / "me.safetensors"
    with open(path, "wb") as out:
        save_avatar(out, *fitted.avatar.state())
    again = GaussiansAvatar.from_state(*load_avatar_file(path), "cpu")
    stage = Stage.load(path)
    drive = Drive.of(fitted.track, 11)
    before, after = fitted.avatar.render(drive, stage.camera), again.render(drive, stage.camera)
    assert (before.rgb == after.rgb).all() and (before.alpha == after.alpha).all()
    assert path.stat().st_size < 4e6
    picture = stage.frame(drive)
    assert picture.shape == (96, 96, 3)


def test_quantizing_costs_nothing(fitted: Fitted, person: tuple[Track, Path]) -> None:
    """Between float weights and those of the file lie less than 0.05 dB at 45 dB."""
    avatar = fitted.avatar
    pose = avatar.puppet.pose(Drive.of(fitted.track, 20))
    camera = Stage.of(avatar, avatar.pictures).camera
    exact = avatar.base.clone()
    residual = avatar.residual.float() * avatar.scale[..., None]
    exact[:7] += torch.einsum("k,kcn->cn", torch.from_numpy(pose.coefficients), residual)
    again = GaussiansAvatar.quantized({}, avatar.puppet, avatar.base, residual, {})
    a, b = (avatar.puppet.draw(g, pose, camera) for g in (exact, again.gaussians(pose)))
    assert float((a - b).square().mean()) < 10**-5.5


def test_closed_lids_show_no_eye(fitted: Fitted) -> None:
    """Sliders alone close both eyes: what was white and blue is skin."""
    header = {**fitted.avatar.header, "expression_names": list(fitted.track.expression_names)}
    head = heads.load()
    open_, closed = (
        still(header, {"eyeBlinkLeft": value, "eyeBlinkRight": value, "jawOpen": 0}) for value in (0.0, 1.0)
    )
    camera = Stage.of(fitted.avatar, fitted.avatar.pictures).camera
    center = head.joints_of(fitted.track.neutral)[2:4] + np.array([0, 0, 0.012])
    at = camera.project(center @ open_.rotation.T + open_.translation).astype(int)
    blue = [
        float(np.mean([fitted.avatar.render(d, camera).rgb[y, x] @ [-1, 0, 1] for x, y in at]))
        for d in (open_, closed)
    ]
    assert blue[0] > -0.05 and blue[1] < -0.08


def test_a_turned_head_is_whole(fitted: Fitted) -> None:
    """25 degrees, twice what the clip shows: no holes in the face and no spikes around it."""
    head = heads.load()
    for yaw in (-25, 25):
        drive = still(fitted.avatar.header, {}, yaw=yaw)
        camera = Stage.of(fitted.avatar, fitted.avatar.pictures).camera
        frame = fitted.avatar.render(drive, camera)
        points = head.vertices[head.region_mask("skin", "brows")]
        facing = head.normals()[head.region_mask("skin", "brows")] @ drive.rotation.T
        inner = points[facing[:, 2] < -0.6] @ drive.rotation.T + drive.translation
        x, y = camera.project(inner).astype(int).T
        assert np.quantile(frame.alpha[y, x], 0.02) > 0.8
        assert frame.alpha[: camera.height // 8].max() < 0.1


def test_the_same_seed_gives_the_same_bits(person: tuple[Track, Path]) -> None:
    first, second, other = (small_fit(person, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.base, second.base) and torch.equal(first.residual, second.residual)
    assert not torch.equal(first.base, other.base)


def test_resumed_work_ends_in_the_same_bits(person: tuple[Track, Path], tmp_path: Path) -> None:
    path = tmp_path / "work.checkpoint"
    whole = small_fit(person)

    def interrupt(at: dict[str, Any]) -> None:
        if at["stage"] == "fitting" and at["step"] >= 1:
            os.kill(os.getpid(), signal.SIGINT)

    track, folder = person
    options = {**SMALL, "steps": 30, "count": 600, "resolution": 48, "checkpoint": str(path)}
    with pytest.raises(KeyboardInterrupt):
        registry.get("gaussians").fit(Subject(track, folder), config.make(**options), interrupt)
    resumed = small_fit(person, checkpoint=str(path), resume=True)
    assert torch.equal(whole.base, resumed.base) and torch.equal(whole.residual, resumed.residual)
    with pytest.raises(AvatarkitError, match="other options"):
        small_fit(person, checkpoint=str(path), resume=True, seed=5)


def test_interrupted_while_the_rest_is_read(
    person: tuple[Track, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(method, "EARLY", 12)
    path = tmp_path / "fit.checkpoint"
    whole = small_fit(person)
    track, folder = person
    read: list[int] = []

    def interrupt(at: dict[str, Any]) -> None:
        if at["stage"] == "reading frames" and at["steps"] == 24:
            read.append(at["step"])
            if at["step"] == 5:
                os.kill(os.getpid(), signal.SIGINT)

    options = {**SMALL, "steps": 30, "count": 600, "resolution": 48, "checkpoint": str(path)}
    with pytest.raises(KeyboardInterrupt):
        registry.get("gaussians").fit(Subject(track, folder), config.make(**options), interrupt)
    assert read == [1, 2, 3, 4, 5], "at once"
    resumed = small_fit(person, checkpoint=str(path), resume=True)
    assert torch.equal(whole.base, resumed.base) and torch.equal(whole.residual, resumed.residual)


def test_a_checkpoint_belongs_to_its_track(person: tuple[Track, Path], tmp_path: Path) -> None:
    track, folder = person
    made = config.make(**{**SMALL, "count": 600, "resolution": 48})
    with ClipFrames(track, folder, 48) as clip:
        trainer = Trainer.create(
            made, clip, np.arange(20), heads.load(), 0, np.zeros((48, 48, 3), np.float32)
        )
    checkpoint.save(trainer, "one", tmp_path / "c")
    with pytest.raises(AvatarkitError, match="another track"):
        checkpoint.load(trainer, "two", tmp_path / "c")


def test_a_fit_begins_before_all_frames_are_read(person: tuple[Track, Path]) -> None:
    track, folder = person
    made = config.make(**{**SMALL, "steps": 60, "count": 600, "resolution": 48})
    training, heldout = np.arange(36), np.arange(36, 40)
    first = training[::3]
    with ClipFrames(track, folder, 48, first=np.union1d(first, heldout)) as clip:
        plate = np.zeros((48, 48, 3), np.float32)
        trainer = Trainer.create(made, clip, training, heads.load(), 0, plate, first)
        order = [trainer.frame_of(step) for step in range(72)]
        assert sorted(order[:12]) == first.tolist() and sorted(order[:36]) == training.tolist()
        assert sorted(order[36:]) == training.tolist() and sorted(order[36:48]) != first.tolist()
        asked: list[int] = []

        def finish(progress: Progress) -> None:
            with pytest.raises(KeyError):
                clip.rgb(1)
            asked.append(trainer.step)
            clip.finish(progress)

        train(trainer, heldout, Gauge(clip, plate), lambda at: None, finish)
        assert asked == [12] and trainer.step == 60
        assert clip.rgb(1).shape == (48, 48, 3)


def test_planting_covers_the_person(person: tuple[Track, Path]) -> None:
    track, folder = person
    head = heads.load()
    positions = np.arange(0, 40, 4)
    drives = [Drive.of(track, int(t)) for t in positions]
    rig, _ = Rig.of(head, track.neutral, head.shapes, track.rotation[0], track.translation[0])
    with ClipFrames(track, folder, 96, positions=positions) as clip:
        planting = plant(head, track.neutral, rig, clip, drives, positions, 3000, 0)
    assert planting.base.shape == (14, 3000)
    bone, opening = planting.bone.numpy(), planting.opening.numpy()
    assert bone.min() == 0 and bone.max() < rig.bones
    assert 150 <= (opening == 2).sum() <= 200
    irises = np.isin(bone, (rigs.IRIS_LEFT, rigs.IRIS_RIGHT))
    blue = planting.base[4:7, irises].mean(1)
    assert float(blue[2]) > float(blue[0])
    # the torso's card goes on below the picture, in the torso's blue
    torso = planting.base[:, bone == rigs.NECK_STEPS - 1]
    assert float(torso[6].mean()) > float(torso[4].mean()) + 0.2


def test_options_are_checked() -> None:
    assert config.make("draft").steps < config.make().steps
    for wrong in ({"count": 3}, {"device": "cuda"}, {"nothing": 1}, {"holdout": 0.95}):
        with pytest.raises(UsageError):
            config.make(**wrong)
    with pytest.raises(UsageError, match="preset"):
        config.make("paper")


@pytest.mark.parametrize(
    "damage",
    [
        lambda t: t.pop("residual"),
        lambda t: t.update(bone=t["bone"] + 30000),
        lambda t: t.update(scale=t["scale"] * float("nan")),
        lambda t: t.update(base=t["base"][:, :-1]),
    ],
)
def test_damaged_files_are_refused(fitted: Fitted, damage: Any) -> None:
    tensors, header = fitted.avatar.state()
    damage(tensors)
    with pytest.raises(AvatarkitError, match="do not fit together"):
        GaussiansAvatar.from_state(tensors, header, "cpu")


def test_a_track_of_another_head_is_refused(person: tuple[Track, Path]) -> None:
    track, folder = person
    with pytest.raises(AvatarkitError, match="another head"):
        small_fit((replace(track, neutral=track.neutral[:100]), folder))


def test_what_the_crop_cuts_off_above_is_no_torso() -> None:
    """Outside the crop the torso layer holds shoulders, not the tips of hair."""
    whole = np.full((120, 100, 4), 255, np.uint8)
    scene, pictures = around(Scene(whole[..., :3], whole, (20, 30, 60)))
    assert scene.torso is not None and "torso" in pictures
    there = scene.torso[..., 3] > 0
    assert (
        not there[:60].any() and there[60:, :10].all() and there[100:].all() and not there[60:90, 20:80].any()
    )
