"""Template, networks and figure on the built-in head: shapes, agreement with the head model, gradients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from avatarkit import heads
from avatarkit.data.clip import crop_camera
from avatarkit.files.track import Track
from avatarkit.methods.drivers import Drivers
from avatarkit.methods.nha.figure import Figure, turning
from avatarkit.methods.nha.geometry import JointRange, joints_of
from avatarkit.methods.nha.template import EYES, HAIR, Template
from avatarkit.methods.registry import Drive
from avatarkit.ops.native import module

pytestmark = pytest.mark.skipif(module() is None, reason="native kernels are not built")


@pytest.fixture(scope="module")
def template() -> Template:
    head = heads.load()
    return Template.of(head, head.vertices, head.shapes)


@pytest.fixture(scope="module")
def figure(template: Template, person: tuple[Track, Path]) -> Figure:
    track = person[0]
    torch.manual_seed(0)
    rows = np.arange(len(track))
    drivers = Drivers.of(track, rows, 52, pose=True, components=8)
    joints = JointRange.of(np.stack([joints_of(Drive.of(track, int(t))) for t in rows]))
    return Figure(template, drivers, joints, 64, 4, float(crop_camera(track, 64).intrinsics[0, 0]))


def test_the_template_is_the_head_subdivided_and_closed(template: Template) -> None:
    head = heads.load()
    assert 16_000 < len(template) < 19_000
    np.testing.assert_allclose(template.neutral[template.landmarks], head.vertices[head.landmarks], atol=1e-6)
    edges = np.sort(
        np.concatenate(
            [template.triangles[:, [0, 1]], template.triangles[:, [1, 2]], template.triangles[:, [2, 0]]]
        ),
        1,
    )
    unique, count = np.unique(edges, axis=0, return_counts=True)
    # open at nothing but the neck below, where it fades, and at the ears' and gums' hidden roots
    border = np.unique(unique[count == 1])
    lips = template.landmarks[[13, 14, 78, 308]]
    assert count.max() == 2 and not np.isin(lips, border).any()
    low = template.neutral[template.opacity == 0]
    assert len(low) > 50 and low[:, 1].max() < -0.15
    assert (template.opacity[template.landmarks] == 1).all()
    assert (template.group == HAIR).sum() > 1000 and (template.group == EYES).sum() > 400
    assert template.freedom[template.group == EYES].max() == 0
    # halving charts leaves their area as it was
    fine = float(chart_area(template.uv, template.uv_triangles))
    kept = ~head.region_mask("torso")[head.triangles].all(1)
    assert abs(fine / float(chart_area(head.uv, head.uv_triangles[kept])) - 1) < 1e-4


def chart_area(uv: np.ndarray, triangles: np.ndarray) -> float:
    a, b, c = (uv[triangles[:, i]].astype(np.float64) for i in range(3))
    return float(np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]).sum())


def test_the_tracked_head_is_posed_like_the_head_model(figure: Figure, person: tuple[Track, Path]) -> None:
    head, track = heads.load(), person[0]
    drive = Drive.of(track, 9)
    drive = Drive(**{**drive.__dict__, "neck": np.array([0.2, -0.1, 0.05], np.float32)})
    truth = head.posed(drive.expression, neck=drive.neck, eyes=drive.eyes)
    truth = truth @ drive.rotation.T + drive.translation
    ours = figure.tracked(figure.moment(drive)).numpy()
    index = figure.template.landmarks
    np.testing.assert_allclose(ours[index], truth[head.landmarks], atol=1.5e-4)  # shapes are kept in 8 bits


def test_rotations_are_rodrigues_and_smooth_at_zero() -> None:
    vectors = torch.tensor([[0.0, 0.0, 0.0], [0.3, -0.4, 1.2]], dtype=torch.float64, requires_grad=True)
    found = turning(vectors)
    torch.testing.assert_close(found[0], torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(found[1] @ found[1].T, torch.eye(3, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(found[0, 2, 1], vectors)
    torch.testing.assert_close(gradient[0], torch.tensor([1.0, 0, 0], dtype=torch.float64))


def test_pictures_have_gradients_to_everything_that_learns(
    figure: Figure, person: tuple[Track, Path]
) -> None:
    track = person[0]
    moment = figure.moment(Drive.of(track, 3))
    moment.expression.requires_grad_()
    shape = figure.shape(moment, figure.geometry.fields())
    surface = figure.surface(shape.vertices, crop_camera(track, 64))
    picture = figure.picture(surface, moment)
    assert picture.shape == (64, 64, 4) and 0.1 < float(picture[..., 3].detach().mean()) < 0.7
    picture.square().mean().backward()
    for name, parameter in figure.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.abs().sum() > 0), name
    assert moment.expression.grad is not None and bool(moment.expression.grad.abs().sum() > 0)
    figure.zero_grad()


def test_outlines_have_gradients_that_move_them(figure: Figure, person: tuple[Track, Path]) -> None:
    """Alpha grows by the area that a head swept over when it comes nearer: finite differences agree."""
    track = person[0]
    moment = figure.moment(Drive.of(track, 3))
    with torch.no_grad():
        vertices = figure.shape(moment, figure.geometry.fields()).vertices
    camera = crop_camera(track, 64)
    scale = torch.tensor(1.0, requires_grad=True)

    def covered(factor: torch.Tensor) -> torch.Tensor:
        middle = vertices.mean(0)
        surface = figure.surface((vertices - middle) * factor + middle, camera)
        return figure.blended(surface, (surface.face >= 0).float()[..., None]).sum()

    (slope,) = torch.autograd.grad(covered(scale), scale)
    with torch.no_grad():
        rise = (covered(torch.tensor(1.02)) - covered(torch.tensor(0.98))) / 0.04
    assert abs(float(slope / rise) - 1) < 0.15


def test_static_networks_do_not_move(template: Template, figure: Figure, person: tuple[Track, Path]) -> None:
    track = person[0]
    still = Figure(
        template,
        figure.drivers,
        figure.joints,
        64,
        4,
        figure.focal,
        static_geometry=True,
        static_texture=True,
    )
    first, second = (still.moment(Drive.of(track, t)) for t in (0, 9))
    fields = still.geometry.fields()
    assert torch.equal(still.shape(first, fields).offsets, still.shape(second, fields).offsets)
    places = torch.rand(50, 3)
    patches = still.texture.patches(torch.rand(8, 8, 3), torch.arange(50))
    assert torch.equal(
        still.texture(places, patches, first.code), still.texture(places, patches, second.code)
    )
    moving = figure.geometry.mixed(figure.geometry.fields(), first.joints)[1]
    assert float(moving.detach().abs().max()) > 0
