"""The whole method on a person whose every pixel is known."""

from __future__ import annotations

import json
import os
import signal
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from avatarkit.data.clip import ClipFrames, crop_camera, split
from avatarkit.data.labels import decode
from avatarkit.data.regions import EMPTY, WHOLE
from avatarkit.files.avatar import load_avatar_file, save_avatar
from avatarkit.files.errors import AvatarkitError
from avatarkit.files.track import Track
from avatarkit.heads.arkit import INDEX
from avatarkit.losses.patch import structure
from avatarkit.methods import registry
from avatarkit.methods.nerfblendshape import checkpoint, config
from avatarkit.methods.nerfblendshape.avatar import NeRFBlendShapeAvatar
from avatarkit.methods.nerfblendshape.trainer import Trainer
from avatarkit.methods.registry import Drive, Subject
from avatarkit.methods.stage import Stage
from tests.methods import synthetic

SMALL: dict[str, Any] = {
    "resolution": 64, "steps": 400, "rays": 512, "samples": 64, "log2_size": 12, "finest": 128,
    "threads": 1, "patches_from": 0.7,
}  # fmt: skip


@dataclass
class Fitted:
    track: Track
    folder: Path
    avatar: NeRFBlendShapeAvatar
    reports: list[dict[str, Any]]

    @property
    def metrics(self) -> dict[str, Any]:
        found: dict[str, Any] = self.avatar.header["metrics"]
        return found


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> tuple[Track, Path]:
    folder = tmp_path_factory.mktemp("person")
    return synthetic.make(folder), folder


@pytest.fixture(scope="module")
def fitted(person: tuple[Track, Path]) -> Fitted:
    track, folder = person
    reports: list[dict[str, Any]] = []
    method = registry.get("nerfblendshape")
    avatar = method.fit(Subject(track, folder), config.make("fast", **SMALL), reports.append)
    assert isinstance(avatar, NeRFBlendShapeAvatar)
    return Fitted(track, folder, avatar, reports)


def psnr(a: np.ndarray, b: np.ndarray, weight: np.ndarray) -> float:
    error = ((a - b) ** 2).mean(-1)
    return float(-10 * np.log10((error * weight).sum() / weight.sum()))


def test_it_learns_the_person_and_what_its_expressions_do(fitted: Fitted) -> None:
    assert fitted.metrics["steps"] == 400
    assert fitted.metrics["train_psnr_head"] > 25
    # The nearest training frame is what a flip book would show.
    track, folder = fitted.track, fitted.folder
    training, heldout = split(track, 0.1)
    nearest = []
    with ClipFrames(track, folder, 64) as clip:
        for t in heldout:
            gap = np.abs(track.expression[training] - track.expression[t]).sum(1)
            gap += np.abs(track.rotation[training] - track.rotation[t]).sum((1, 2))
            other = int(training[np.argmin(gap)])
            nearest.append(psnr(clip.rgb(int(t)) / 255, clip.rgb(other) / 255, clip.head(int(t)) / 255))
    assert fitted.metrics["heldout_psnr_head"] > np.mean(nearest) + 3
    assert fitted.metrics["heldout_psnr_frame"] > fitted.metrics["heldout_psnr_head"]


def test_the_mouth_opens_when_the_coefficient_says_so(fitted: Fitted) -> None:
    camera = crop_camera(fitted.track, 64)
    drive = Drive.of(fitted.track, 0)
    pictures = {}
    for jaw in (0.0, 1.0):
        expression = drive.expression.copy()
        expression[INDEX["jawOpen"]] = jaw
        ours = fitted.avatar.render(replace(drive, expression=expression), camera)
        truth, matte = synthetic.picture(
            camera, drive.rotation, drive.translation, jaw, float(expression[INDEX["mouthSmileLeft"]])
        )
        pictures[jaw] = ours.rgb
        assert np.abs(ours.alpha - matte / 255).mean() < 0.02
        assert psnr(ours.rgb, truth / 255, (matte > 250).astype(float)) > 20
    x, y = camera.project(np.array([[0.0, -0.085, 0.01]]) @ drive.rotation.T + drive.translation)[0].astype(
        int
    )
    assert pictures[0.0][y, x].mean() - pictures[1.0][y, x].mean() > 0.2  # skin gives way to the dark inside


def test_a_new_view_and_another_size_show_the_same_head(fitted: Fitted) -> None:
    drive = Drive.of(fitted.track, 3)
    small = fitted.avatar.render(drive, crop_camera(fitted.track, 32))
    large = fitted.avatar.render(drive, crop_camera(fitted.track, 64))
    halved = large.rgb.reshape(32, 2, 32, 2, 3).mean((1, 3))
    assert psnr(small.rgb, halved, (small.alpha > 0.99).astype(float)) > 25
    aside = replace(drive, translation=drive.translation + np.array([1, 0, 0], np.float32))
    assert fitted.avatar.render(aside, crop_camera(fitted.track, 32)).alpha.max() == 0


def test_the_file_gives_the_same_avatar_back(fitted: Fitted, tmp_path: Path) -> None:
    tensors, header = fitted.avatar.state()
    path = tmp_path / "me.safetensors"
    save_avatar(path, tensors, header)
    loaded_tensors, loaded_header = load_avatar_file(path)
    again = registry.get(loaded_header["method"]).Avatar.from_state(loaded_tensors, loaded_header, "cpu")
    drive, camera = Drive.of(fitted.track, 5), crop_camera(fitted.track, 64)
    before, after = fitted.avatar.render(drive, camera), again.render(drive, camera)
    # Bases are stored in half precision.
    assert np.abs(before.rgb * before.alpha[..., None] - after.rgb * after.alpha[..., None]).max() < 0.02
    for key in (
        "crop",
        "camera",
        "background",
        "expression_names",
        "reference",
        "clip",
        "seed",
        "device",
        "metrics",
    ):
        assert key in loaded_header
    assert loaded_header["metrics"]["perceptual"] == "structure"
    json.dumps(loaded_header)


def test_the_stage_lays_it_into_the_frame(fitted: Fitted) -> None:
    tensors, _ = fitted.avatar.state()
    stage = Stage.of(fitted.avatar, tensors)
    frame = stage.frame(Drive.of(fitted.track, 2)) / 255
    import cv2

    truth = cv2.imread(str(fitted.folder / "0002.png"))[..., ::-1] / 255
    assert frame.shape == truth.shape
    assert psnr(frame, truth, np.ones(truth.shape[:2])) > 24


def test_progress_tells_stage_loss_and_time_left(fitted: Fitted) -> None:
    stages = list(dict.fromkeys(report["stage"] for report in fitted.reports))
    assert stages == ["background", "reading frames", "fitting", "measuring"]
    last = [report for report in fitted.reports if report["stage"] == "fitting"][-1]
    assert last["step"] == last["steps"] == 400
    assert last["seconds_left"] == 0 and last["samples_per_second"] > 0 and 0 < last["loss"] < 1


def test_files_that_do_not_fit_together_are_refused(fitted: Fitted) -> None:
    tensors, header = fitted.avatar.state()
    create = NeRFBlendShapeAvatar.from_state
    with pytest.raises(AvatarkitError, match="fit it again"):
        create({k: v for k, v in tensors.items() if k != "bases"}, header, "cpu")
    with pytest.raises(AvatarkitError, match="fit it again"):
        create({**tensors, "base": tensors["base"][:-4]}, header, "cpu")
    with pytest.raises(AvatarkitError, match="not finite"):
        create({**tensors, "density0": tensors["density0"] * float("nan")}, header, "cpu")
    with pytest.raises(AvatarkitError, match="--device"):
        create(tensors, header, "cuda")


def trainer_of(track: Track, clip: ClipFrames, **options: Any) -> Trainer:
    settings = config.make("fast", **{**SMALL, "steps": 24, "rays": 128, "patches_from": 0.4, **options})
    torch.set_num_threads(1)
    return Trainer.create(settings, clip, split(track, 0.1)[0], structure)


def weights_of(trainer: Trainer) -> list[torch.Tensor]:
    tables = trainer.tables
    return [tables.base, tables.bases, *(w.detach() for w in trainer.field.weights), trainer.grid.density]


def test_the_same_seed_gives_the_same_bits_and_so_does_a_resumed_run(
    person: tuple[Track, Path], tmp_path: Path
) -> None:
    track, folder = person
    path = tmp_path / "a.checkpoint"
    with ClipFrames(track, folder, 64) as clip:
        whole = trainer_of(track, clip)
        for _ in range(24):
            whole.advance()
        first = trainer_of(track, clip)
        for _ in range(11):
            first.advance()
        checkpoint.save(first, "this clip", path)
        second = trainer_of(track, clip)
        checkpoint.load(second, "this clip", path)
        while not second.finished:
            second.advance()
        assert second.step == 24
        for ours, theirs in zip(weights_of(second), weights_of(whole), strict=True):
            assert torch.equal(ours, theirs)
        other = trainer_of(track, clip, seed=1)
        for _ in range(24):
            other.advance()
        assert not torch.equal(other.tables.base, whole.tables.base)

        with pytest.raises(AvatarkitError, match="learning_rate"):
            checkpoint.load(trainer_of(track, clip, learning_rate=0.02), "this clip", path)
        with pytest.raises(AvatarkitError, match="another track"):
            checkpoint.load(trainer_of(track, clip), "that clip", path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(AvatarkitError, match="not a checkpoint"):
        checkpoint.load(second, "this clip", path)


def test_colors_of_the_uncertain_band_can_be_left_out(person: tuple[Track, Path], tmp_path: Path) -> None:
    track, folder = person
    assert track.mattes is not None
    x, y, side = (int(v) for v in track.crop[:3])
    for t, path in enumerate(sorted(folder.glob("*.png"))):
        frame, matte = cv2.imread(str(path)), decode(track.mattes[t]["head"])
        band = (matte > EMPTY) & (matte <= WHOLE)
        assert 20 < band.sum() < 0.2 * band.size
        frame[y : y + side, x : x + side][band] ^= 255
        cv2.imwrite(str(tmp_path / path.name), frame)

    def trained(source: Path, weight: float) -> torch.Tensor:
        with ClipFrames(track, source, 64) as clip:
            trainer = trainer_of(track, clip, band=weight, patches_from=1.0)
            for _ in range(3):
                trainer.advance()
        return trainer.tables.base

    assert torch.equal(trained(folder, 0.0), trained(tmp_path, 0.0))
    assert not torch.equal(trained(folder, 0.5), trained(tmp_path, 0.5))


def test_interrupting_keeps_the_work(person: tuple[Track, Path], tmp_path: Path) -> None:
    track, folder = person
    path = tmp_path / "me.checkpoint"
    options = config.make("fast", **{**SMALL, "steps": 10**6, "rays": 64, "checkpoint": str(path)})
    method = registry.get("nerfblendshape")

    def progress(report: dict[str, Any]) -> None:
        if report["stage"] == "fitting":
            # Sent from aside, as a terminal does, while an iteration runs.
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        method.fit(Subject(track, folder), options, progress)
    assert signal.getsignal(signal.SIGINT) is before
    with ClipFrames(track, folder, 64) as clip:
        trainer = Trainer.create(options, clip, split(track, 0.1)[0], structure)
        from avatarkit.methods.session import track_hash

        checkpoint.load(trainer, track_hash(track), path)
    assert 0 < trainer.step < 10**6


@pytest.mark.parametrize("preset", ["paper", "repro"])
def test_the_papers_presets_run_through_their_phases(preset: str, person: tuple[Track, Path]) -> None:
    track, folder = person
    small = {"resolution": 64, "steps": 40, "rays": 1024, "samples": 48, "log2_size": 12, "threads": 1}
    settings = config.make(preset, **small)
    with ClipFrames(track, folder, 64) as clip:
        trainer = Trainer.create(settings, clip, split(track, 0.1)[0], structure)
        losses = [trainer.advance() for _ in range(40)]
    assert trainer.tables.prefix == trainer.tables.base.numel()  # bases on all levels
    assert len(trainer.drivers) == 2  # jawOpen and the smile: nothing else moves
    assert np.isfinite(losses).all()
    assert losses[6] < losses[0]  # color and mask, before the weights change
    assert np.mean(losses[22:25]) < np.mean(losses[7:10])  # color alone


def test_only_the_most_active_coefficients_are_kept(person: tuple[Track, Path]) -> None:
    track, folder = person
    with ClipFrames(track, folder, 32) as clip:
        trainer = trainer_of(track, clip, expressions=1, pose_bases=False, resolution=32)
    assert [track.expression_names[c] for c in trainer.drivers.columns] == ["jawOpen"]
