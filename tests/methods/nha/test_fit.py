"""The whole method on a person whose every pixel is known: a fit, its file, its seed, its checkpoint, its refusals."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from avatarkit import heads
from avatarkit.data.clip import ClipFrames
from avatarkit.data.labels import Label
from avatarkit.data.normal_maps import NAME, NormalMaps
from avatarkit.files.avatar import load_avatar_file, save_avatar
from avatarkit.files.errors import AvatarkitError, UsageError
from avatarkit.files.track import Track
from avatarkit.methods import registry
from avatarkit.methods.nha import config
from avatarkit.methods.nha.avatar import NeuralHeadAvatar
from avatarkit.methods.nha.evidence import Evidence, Weights, geometry_energy
from avatarkit.methods.nha.template import EARS
from avatarkit.methods.nha.trainer import Trainer
from avatarkit.methods.registry import Drive, Subject
from avatarkit.methods.stage import Stage
from avatarkit.ops import set_threads
from avatarkit.ops.native import module

pytestmark = pytest.mark.skipif(module() is None, reason="native kernels are not built")

SMALL: dict[str, Any] = {"resolution": 64, "steps": 6, "threads": 1, "keep_best": False}


def fit(person: tuple[Track, Path], **options: Any) -> NeuralHeadAvatar:
    track, folder = person
    return registry.get("nha").fit(
        Subject(track, folder), config.make(**{**SMALL, **options}), lambda at: None
    )


def weights(avatar: NeuralHeadAvatar) -> dict[str, torch.Tensor]:
    return dict(avatar.figure.state_dict())


def trainer(track: Track, clip: ClipFrames, rows: list[int], **options: Any) -> Trainer:
    set_threads(1)
    made, training = config.make(**{**SMALL, **options}), np.array(rows)
    normals = NormalMaps.open(Path(made.normals), track, training) if made.normals else None
    return Trainer.create(made, clip, training, heads.load(), normals)


def test_a_single_frame_is_overfitted(person: tuple[Track, Path]) -> None:
    track, folder = person
    options = {"steps": 70, "geometry_share": 0.0, "texture_share": 0.9, "texture_rate": 5e-3}
    with ClipFrames(track, folder, 64) as clip:
        made = trainer(track, clip, [4], **options)
        while not made.finished:
            made.advance()
        frame = made.drawing()(4, clip.camera)
        matte = clip.head(4).astype(np.float32)[..., None] / 255
        inside = (matte > 0.99) & (frame.alpha[..., None] > 0.99)
        error = np.square(frame.rgb - clip.rgb(4) / 255.0)[inside.repeat(3, -1)].mean()
    assert -10 * np.log10(error) > 30


def test_geometry_alone_finds_the_outline(person: tuple[Track, Path]) -> None:
    """A head that was tracked too thin behind the face: what its outline misses of the matte is found."""
    track, folder = person
    head = heads.load()
    thin = head.vertices.copy()
    outer = head.region_mask("scalp", "ears")
    thin[outer] *= np.array([0.82, 0.93, 0.9], np.float32)
    with ClipFrames(replace(track, neutral=thin), folder, 64) as clip:
        options = {
            "steps": 40,
            "geometry_share": 0.9,
            "texture_share": 0.0,
            "geometry_rate": 5e-3,
            "rate_end": 0.3,
        }
        made = trainer(clip.track, clip, list(range(12)), **options)

        def missed() -> float:
            with torch.no_grad():
                shape = made.figure.shape(made.moment(5), made.figure.geometry.fields())
                surface = made.figure.surface(shape.vertices, clip.camera)
                cover = made.figure.blended(surface, (surface.face >= 0).float()[..., None])[..., 0]
            upper = (cover - torch.from_numpy(clip.head(5) / 255.0)).abs()[:32]  # scalp and ears
            return float(upper.sum())

        before = missed()
        while made.stage == 0:
            made.advance()
        assert missed() < 0.8 * before


def test_normal_maps_from_files_take_the_place_of_pseudo_normals(
    person: tuple[Track, Path], tmp_path: Path
) -> None:
    """A network that knows the tracked head's normals gives the energy what the pseudo-normals give it."""
    track, folder = person
    with ClipFrames(track, folder, 64) as clip:
        plain = trainer(track, clip, [2, 5])
        evidence = {t: Evidence.of(clip, t) for t in (2, 5)}
        for t in (2, 5):
            known = plain._detail(t, evidence[t]).numpy()  # x right, y down, z forward
            picture = ((known * (1, -1, -1) + 1) / 2 * 255).astype(np.uint8)
            path = tmp_path / NAME.format(int(track.frame[t]))
            path.parent.mkdir()
            cv2.imwrite(str(path), picture[..., ::-1])
        made = trainer(track, clip, [2, 5], normals=str(tmp_path))
        assert made.normals is not None
        for t in (2, 5):
            ours, theirs = made._detail(t, evidence[t]), plain._detail(t, evidence[t])
            both = ours.square().sum(-1) > 0.5
            assert int(both.sum()) > 0.5 * int((theirs.square().sum(-1) > 0.5).sum()) > 100
            assert float((ours - theirs).abs()[both].max()) < 0.02  # 8 bits
        assert np.isfinite(made.advance())
    with pytest.raises(AvatarkitError, match=r"--normals .* have no map"):
        fit(person, normals=str(tmp_path))


@pytest.mark.parametrize("told", [True, False])
def test_ears_are_a_region_where_label_maps_show_them(person: tuple[Track, Path], told: bool) -> None:
    """Hair over the ears costs a head with bare ears something where the maps know ears, and nothing elsewhere."""
    track, folder = person
    track = replace(track, meta={**track.meta, "segment": {"ears": told}})
    with ClipFrames(track, folder, 64) as clip:
        made = trainer(track, clip, [4])
        figure, moment = made.figure, made.moment(4)
        bare, labels = Evidence.of(clip, 4), clip.labels(4).copy()
        assert (labels == Label.EARS).sum() > 20
        labels[labels == Label.EARS] = Label.HAIR
        over = Evidence.seen(clip.rgb(4), clip.head(4), labels, clip.points(4), clip.visible, told)
        shape = figure.shape(moment, figure.geometry.fields())
        alone, energies, pull = Weights(0, 0, 1, 0, 0, 0, False), [], []
        for evidence in (bare, over):
            vertices = shape.vertices.detach().requires_grad_()
            surface = figure.surface(vertices, clip.camera)
            energy = geometry_energy(figure, shape, surface, None, evidence, alone, torch.empty(0))
            energy.backward()
            energies.append(float(energy.detach()))
            pull.append(vertices.grad)
    ears = torch.from_numpy(figure.template.group == EARS)
    differs = float((pull[0] - pull[1])[ears].abs().sum())
    rise = (energies[1] - energies[0]) * 64 * 64 / 0.1  # pixels, at the regions' weight
    if told:
        shown = bare.regions[..., 3]
        assert rise > 1.2 * float(shown.sum()) > 20 and differs > 0
        assert float((shown * bare.regions[..., 0]).max()) == 0
    else:
        assert abs(rise) < 8 and bare.regions.shape[-1] == 3


def test_a_file_gives_the_same_bits_back(
    avatar: NeuralHeadAvatar, person: tuple[Track, Path], tmp_path: Path
) -> None:
    path = tmp_path / "me.safetensors"
    with open(path, "wb") as out:
        save_avatar(out, *avatar.state())
    again = NeuralHeadAvatar.from_state(*load_avatar_file(path), "cpu")
    stage = Stage.load(path)
    drive = Drive.of(person[0], 3)
    before, after = avatar.render(drive, stage.camera), again.render(drive, stage.camera)
    assert (before.rgb == after.rgb).all() and (before.alpha == after.alpha).all()
    picture = stage.frame(drive)
    assert picture.shape == (64, 64, 3) and stage.frame(drive, 128).shape == (64, 64, 3)
    backdrop = stage.scene.behind(stage._torso_motion(drive))
    apart = backdrop + before.alpha[..., None] * (before.rgb - backdrop)
    assert np.abs(picture / 255.0 - apart).max() < 1.6 / 255  # painted over at once, or composed
    assert path.stat().st_size < 16e6
    assert {"heldout_psnr_head", "train_psnr_head", "perceptual"} <= set(avatar.header["metrics"])


def test_the_same_seed_gives_the_same_bits(avatar: NeuralHeadAvatar, person: tuple[Track, Path]) -> None:
    again, other = fit(person), fit(person, seed=1)
    for name, value in weights(avatar).items():
        assert torch.equal(value, weights(again)[name]), name
    assert not torch.equal(weights(avatar)["texture.table"], weights(other)["texture.table"])


def test_resumed_work_ends_in_the_same_bits(
    avatar: NeuralHeadAvatar, person: tuple[Track, Path], tmp_path: Path
) -> None:
    path, (track, folder) = tmp_path / "work.checkpoint", person

    def interrupt(at: dict[str, Any]) -> None:
        if at["stage"] == "fitting" and at["step"] >= 1:
            os.kill(os.getpid(), signal.SIGINT)

    made = config.make(**SMALL, checkpoint=str(path))
    with pytest.raises(KeyboardInterrupt):
        registry.get("nha").fit(Subject(track, folder), made, interrupt)
    resumed = fit(person, checkpoint=str(path), resume=True)
    for name, value in weights(avatar).items():
        assert torch.equal(value, weights(resumed)[name]), name
    with pytest.raises(AvatarkitError, match="other options"):
        fit(person, checkpoint=str(path), resume=True, seed=5)


@pytest.mark.parametrize(
    "damage",
    [
        lambda t: t.pop("figure.texture.table"),
        lambda t: t.update({"template.triangles": t["template.triangles"] + 5}),
        lambda t: t.update({"template.freedom": t["template.freedom"][:-1]}),
        lambda t: t.update({"figure.texture.bias0": t["figure.texture.bias0"] * float("nan")}),
        lambda t: t.update({"template.shapes": t["template.shapes"][:-1]}),
    ],
)
def test_damaged_files_are_refused(avatar: NeuralHeadAvatar, damage: Any) -> None:
    tensors, header = avatar.state()
    damage(tensors)
    with pytest.raises(AvatarkitError, match="do not fit together"):
        NeuralHeadAvatar.from_state(tensors, header, "cpu")


def test_options_and_tracks_are_checked(person: tuple[Track, Path]) -> None:
    assert config.make("draft").steps < config.make().steps
    for wrong in (
        {"bases": 0},
        {"perceptual": "eye"},
        {"backend": "opengl"},
        {"nothing": 1},
        {"geometry_share": 1.0},
    ):
        with pytest.raises(UsageError):
            config.make(**wrong)
    track, folder = person
    with pytest.raises(AvatarkitError, match="another head"):
        fit((replace(track, neutral=track.neutral[:100]), folder))
    if find_spec("pytorch3d") is None:
        with pytest.raises(AvatarkitError, match="--backend pytorch3d: it cannot be imported"):
            fit(person, backend="pytorch3d")


def test_a_frame_is_fitted_for_pose_and_expression_only(
    avatar: NeuralHeadAvatar, person: tuple[Track, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pose that is 4 mm and 2 degrees off and a mouth that is too closed come back; the avatar stays as it is."""
    from avatarkit.methods.nha import refitting

    track, folder = person
    monkeypatch.setattr(refitting, "STEPS", 25)
    before = {name: value.clone() for name, value in weights(avatar).items()}
    drive = Drive.of(track, 6)
    turn = np.array([[1, 0, 0.035], [0, 1, 0], [-0.035, 0, 1]], np.float32)
    jaw = list(track.expression_names).index("jawOpen")
    expression = drive.expression.copy()
    expression[jaw] -= 0.2
    wrong = replace(
        drive, rotation=turn @ drive.rotation, translation=drive.translation + np.float32(0.004),
        expression=expression,
    )  # fmt: skip
    with ClipFrames(track, folder, 64) as clip:
        found = avatar.refitted(
            wrong, clip.camera, clip.rgb(6), clip.head(6), clip.labels(6), clip.points(6), clip.visible
        )

    def off(other: Drive) -> float:
        return float(np.abs(other.translation - drive.translation)[:2].sum())

    assert off(found) < 0.5 * off(wrong)
    assert abs(found.expression[jaw] - drive.expression[jaw]) < 0.15
    assert all(torch.equal(value, before[name]) for name, value in weights(avatar).items())
