"""What the preset robust adds: the warp by the tracked mesh, components, soft ranges, the best state kept."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avatarkit import heads
from avatarkit.data.clip import ClipFrames, crop_camera, split
from avatarkit.data.rays import SceneBox
from avatarkit.files.avatar import load_avatar_file, save_avatar
from avatarkit.files.track import Track
from avatarkit.heads.arkit import INDEX, NAMES
from avatarkit.losses.patch import structure
from avatarkit.methods import registry
from avatarkit.methods.best import Best
from avatarkit.methods.drivers import Components, Drivers
from avatarkit.methods.hull import COLUMNS, mesh_front, possible_cells
from avatarkit.methods.nerfblendshape import checkpoint, config
from avatarkit.methods.nerfblendshape.density_grid import CELLS
from avatarkit.methods.nerfblendshape.trainer import Trainer
from avatarkit.methods.nerfblendshape.warp import MeshWarp
from avatarkit.methods.registry import Drive, Subject
from avatarkit.ops.warp import warp_points
from tests.methods import synthetic

BOX = SceneBox((0.0, -0.02, -0.08), 0.36)
SMALL: dict[str, Any] = {
    "resolution": 64, "steps": 300, "rays": 512, "samples": 64, "log2_size": 12, "threads": 1, "finest": 128,
}  # fmt: skip


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> tuple[Track, Path]:
    """The synthetic person with a mesh: points all over the ellipsoid, which jawOpen stretches along y."""
    folder = tmp_path_factory.mktemp("robust")
    track = synthetic.make(folder)
    generator = np.random.default_rng(1)
    sphere = generator.normal(size=(468, 3))
    sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
    shapes = np.zeros((len(NAMES), 468, 3), np.float16)
    shapes[INDEX["jawOpen"], :, 1] = 0.12 * sphere[:, 1] * synthetic.RADII[1]
    neutral = (synthetic.CENTER + sphere * synthetic.RADII).astype(np.float32)
    return replace(track, neutral=neutral, shapes=shapes), folder


def test_the_warp_takes_the_moved_mesh_back_to_rest() -> None:
    head = heads.load()
    track = _track_of(head.vertices, head.shapes.astype(np.float16))
    mesh = MeshWarp.of(track, BOX)
    assert mesh is not None
    expression = torch.zeros(len(NAMES))
    ends = torch.tensor([0, 468])
    skin = head.landmarks[:468]
    rest = torch.from_numpy(BOX.to_unit(head.vertices[skin]).astype(np.float32))
    assert torch.equal(warp_points(rest, ends, mesh.warp(expression)), rest)
    for name in ("jawOpen", "mouthSmileLeft", "browInnerUp", "mouthPucker"):
        moved = torch.from_numpy(
            BOX.to_unit(head.vertices[skin] + head.shapes[INDEX[name]][skin]).astype(np.float32)
        )
        one = torch.zeros(len(NAMES))
        one[INDEX[name]] = 1.0
        back = warp_points(moved, ends, mesh.warp(one))
        far = (moved - rest).norm(dim=1)
        some = far > 0.3 * far.max()
        assert float((back - rest).norm(dim=1)[some].mean()) < 0.35 * float(far[some].mean()), name
        # The back of the head stays where it is.
        behind = torch.tensor([[0.5, 0.5, 0.1]])
        assert torch.allclose(warp_points(behind, ends.clamp(max=1), mesh.warp(one)), behind)
    again = MeshWarp.from_state(mesh.state(), BOX.side, len(NAMES))
    assert again is not None
    one[INDEX["jawOpen"]] = 0.7
    assert torch.allclose(again.volume(one), mesh.volume(one), atol=2e-4)


def test_a_track_without_shapes_uses_those_of_its_head_or_none() -> None:
    head = heads.load()
    own = MeshWarp.of(_track_of(head.vertices, head.shapes), BOX)
    borrowed = MeshWarp.of(_track_of(head.vertices, None), BOX)
    assert own is not None and borrowed is not None
    assert torch.equal(own.shapes, borrowed.shapes)
    assert MeshWarp.of(_track_of(head.vertices[:100], None), BOX) is None


def test_nothing_is_in_front_of_the_face(person: tuple[Track, Path]) -> None:
    track, folder = person
    front = mesh_front(track, BOX)
    assert front is not None

    def allowed(x: float, y: float) -> float:
        """Meters in front of the head's center plane."""
        column, row, _ = np.floor(BOX.to_unit(np.array([x, y, 0.0])) * COLUMNS).astype(int)
        return float(BOX.from_unit(np.full(3, front[row, column]))[2])

    tip = synthetic.CENTER[2] + synthetic.RADII[2]
    assert tip < allowed(0.0, -0.02) < tip + 0.04  # 35 mm: the middle of this face does not move
    assert allowed(0.0, -0.02) > allowed(0.07, -0.02)  # the sides are further back
    head = heads.load()
    own = _track_of(head.vertices, None)
    face = mesh_front(own, BOX)
    assert face is not None
    nose = head.vertices[head.landmarks[1]]
    column, row, _ = np.floor(BOX.to_unit(nose) * COLUMNS).astype(int)
    ahead = float(BOX.from_unit(np.full(3, face[row, column]))[2]) - nose[2]
    assert 0 < ahead < 0.025
    assert mesh_front(replace(track, neutral=np.zeros((468, 3), np.float32)), BOX) is None
    with ClipFrames(track, folder, 64) as clip:
        positions = np.arange(0, 36, 4)
        free = possible_cells(clip, positions, BOX, mesh=False)
        bound = possible_cells(clip, positions, BOX, mesh=True)
    assert not (bound & ~free).any()
    cells = bound.reshape(CELLS, CELLS, CELLS)  # z, y, x
    highest = int(cells.any(2).any(1).nonzero().max())
    assert tip < float(BOX.from_unit(np.full(3, (highest + 0.5) / CELLS))[2]) < tip + 0.04
    # All of the head itself is still there.
    inside = synthetic.CENTER + 0.95 * synthetic.RADII * np.eye(3)
    x, y, z = np.floor(BOX.to_unit(inside) * CELLS).astype(int).T
    assert bool(cells[z, y, x].all())


def test_components_are_the_directions_of_most_motion() -> None:
    generator = np.random.default_rng(0)
    strong, weak = generator.normal(size=(2, 200))
    expression = np.stack([0.5 + 0.2 * strong, 0.5 - 0.2 * strong, 0.3 + 0.02 * weak], 1).astype(np.float32)
    parts = Components.of(expression, 2)
    weights = (expression - parts.mean) @ parts.matrix
    assert abs(weights[:, 0].std() - 1) < 1e-3
    assert abs(abs(np.corrcoef(weights[:, 0], strong)[0, 1]) - 1) < 1e-4
    assert abs(weights[:, 1].std() - 0.02 / (0.2 * 2**0.5)) < 0.02
    assert Components.of(expression, 99).matrix.shape == (3, 2)  # two of the three are one


def test_drivers_with_components_come_back_from_a_header(person: tuple[Track, Path]) -> None:
    track, _ = person
    training = split(track, 0.1)[0]
    drivers = Drivers.of(track, training, 52, True, components=16)
    assert len(drivers) == 2 + 3  # two coefficients move
    weights = drivers.weights(track.expression, track.rotation)
    again = Drivers.from_header(list(track.expression_names), json.loads(json.dumps(drivers.header())))
    np.testing.assert_allclose(again.weights(track.expression, track.rotation), weights, atol=1e-5)
    # Beyond the training range a coefficient saturates; inside it nothing is touched.
    narrow = Drivers.of(replace(track, expression=track.expression * 0.5), training, 52, False)
    inside = track.expression[training] * 0.5
    np.testing.assert_allclose(narrow.clamped(inside), inside, atol=1e-6)
    far = narrow.clamped(np.ones((1, len(NAMES)), np.float32))[0, INDEX["jawOpen"]]
    assert inside[:, INDEX["jawOpen"]].max() < far < inside[:, INDEX["jawOpen"]].max() + 0.1


def test_a_robust_fit_learns_the_person_and_travels_through_its_file(
    person: tuple[Track, Path], tmp_path: Path
) -> None:
    track, folder = person
    avatar = registry.get("nerfblendshape").fit(
        Subject(track, folder), config.make("robust", **SMALL), lambda at: None
    )
    metrics = avatar.header["metrics"]
    assert metrics["heldout_psnr_head"] > 24
    curve = avatar.header["heldout_curve"]
    assert [step for step, _ in curve][-1] == 300 and len(curve) == 25
    assert metrics["kept_step"] == max(curve, key=lambda look: look[1])[0]
    save_avatar(tmp_path / "me.safetensors", *avatar.state())
    tensors, header = load_avatar_file(tmp_path / "me.safetensors")
    again = registry.get("nerfblendshape").Avatar.from_state(tensors, header, "cpu")
    drive, camera = Drive.of(track, 5), crop_camera(track, 64)
    before, after = avatar.render(drive, camera), again.render(drive, camera)
    assert np.abs(before.rgb * before.alpha[..., None] - after.rgb * after.alpha[..., None]).max() < 0.02
    # The mesh moves the silhouette: the crown rises by 14 mm, three pixels, where jawOpen says so.
    reach = {}
    for jaw in (0.0, 1.0):
        expression = drive.expression.copy()
        expression[INDEX["jawOpen"]] = jaw
        alpha = again.render(replace(drive, expression=expression), camera).alpha
        reach[jaw] = int(np.flatnonzero(alpha.max(1) > 0.5)[0])
    assert 1 < reach[0.0] - reach[1.0] < 5


def test_the_best_state_is_kept_and_survives_a_checkpoint(person: tuple[Track, Path], tmp_path: Path) -> None:
    track, folder = person
    torch.set_num_threads(1)
    settings = config.make("robust", **{**SMALL, "steps": 20, "rays": 128})
    with ClipFrames(track, folder, 64) as clip:
        trainer = Trainer.create(settings, clip, split(track, 0.1)[0], structure)
        best = Best()
        assert math.isnan(best.last)
        for value in (20.0, 23.0, math.nan, 22.0):
            trainer.advance()
            best.offer(trainer, value)
            if value == 23.0:
                kept = trainer.tables.base.clone(), trainer.field.weights.color1.detach().clone()
        assert (best.value, best.step, best.last) == (23.0, 2, 22.0)
        assert best.stale(4, 2) and not best.stale(4, 3) and not best.stale(100, 0)
        checkpoint.save(trainer, "clip", tmp_path / "a", best)
        other = Trainer.create(settings, clip, split(track, 0.1)[0], structure)
        found = checkpoint.load(other, "clip", tmp_path / "a")
        assert found.curve == best.curve
        found.restore(other)
        assert torch.equal(other.tables.base, kept[0])
        assert torch.equal(other.field.weights.color1.detach(), kept[1])


def _track_of(neutral: np.ndarray, shapes: np.ndarray | None) -> Track:
    one = np.zeros((1, 3), np.float32)
    return Track(
        meta={"head": {"name": "builtin"}}, frame=np.zeros(1, np.int32), valid=np.ones(1, bool),
        intrinsics=np.eye(3, dtype=np.float32), rotation=np.eye(3, dtype=np.float32)[None], translation=one,
        expression=np.zeros((1, len(NAMES)), np.float32), expression_names=tuple(NAMES), neck=one, jaw=one,
        eyes=np.zeros((1, 2, 3), np.float32), neutral=neutral, landmarks=np.zeros((1, 478, 3), np.float32),
        residual=np.zeros(1, np.float32), crop=np.array([0, 0, 64, 64], np.int32), shapes=shapes,
    )  # fmt: skip
