"""What a head shows where no training frame looked: plain colors instead of the network's noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from avatarkit import heads
from avatarkit.files.track import Track
from avatarkit.methods.driving import neutral_drive
from avatarkit.methods.nha.avatar import NeuralHeadAvatar
from avatarkit.methods.nha.baking import rigged
from avatarkit.methods.nha.coverage import UNSEEN, Coverage, spread
from avatarkit.methods.nha.figure import MARGIN, SOFT, trust
from avatarkit.methods.nha.template import HAIR, SKIN, Template
from avatarkit.methods.registry import Drive
from avatarkit.methods.stage import Stage
from avatarkit.ops.native import module

pytestmark = pytest.mark.skipif(module() is None, reason="native kernels are not built")


def test_colors_spread_evenly_over_what_was_not_seen() -> None:
    head = heads.load()
    template = Template.of(head, head.vertices, head.shapes)
    x, y, z = template.neutral.T
    hair, skin = template.group == HAIR, template.group == SKIN
    random = np.random.default_rng(0)
    color = np.where(hair[:, None], (0.2, 0.1, 0.05), (0.8, 0.6, 0.5)) + random.normal(0, 0.05, (len(x), 3))
    seen = (z > -0.03).astype(float)
    found = spread(template, color, seen)
    back = hair & (z < -0.1) & (y > -0.02)  # above the nape, where hair and skin meet
    np.testing.assert_allclose(found[back], np.broadcast_to((0.2, 0.1, 0.05), (back.sum(), 3)), atol=0.05)
    assert found[back].std(0).max() < 0.02  # no streaks
    assert np.abs(found[skin & (z > 0)].mean(0) - (0.8, 0.6, 0.5)).max() < 0.02
    # seen from its left alone, in two colors: the right is as the left
    color = np.where((z > 0)[:, None], (0.9, 0.5, 0.4), (0.5, 0.3, 0.2))
    found = spread(template, color, (x > 0.01).astype(float))
    for there, truth in ((skin & (z > 0.02), (0.9, 0.5, 0.4)), (skin & (z < -0.03), (0.5, 0.3, 0.2))):
        assert np.abs(found[there & (x < -0.03)].mean(0) - truth).max() < 0.08


def test_points_are_trusted_as_squarely_as_they_were_seen() -> None:
    now = torch.tensor([0.1, 0.4, 0.4 + MARGIN, 0.4 + MARGIN + SOFT / 2, 0.4 + MARGIN + SOFT, 1.0])
    found = trust(torch.full((6,), 0.4), now)
    np.testing.assert_allclose(found, [1, 1, 1, 0.5, 0, 0], atol=1e-5)
    assert float(trust(torch.tensor([UNSEEN]), torch.tensor([0.0]))) < 1e-6


def test_training_views_show_the_network_and_the_back_is_plain(
    avatar: NeuralHeadAvatar, person: tuple[Track, Path]
) -> None:
    figure, stage = avatar.figure, Stage.of(avatar, {})
    template, facing = figure.template, avatar.coverage.facing
    nose = template.landmarks[4]
    assert facing[nose] > 0.9 and (facing[template.neutral[:, 2] < -0.15] < 0.3).all()
    assert ((facing >= UNSEEN - 0.005) & (facing <= 1)).all()
    drive = Drive.of(person[0], 3)
    turned = Drive(**{**neutral_drive(avatar.header).__dict__})
    back = np.diag([-1.0, 1.0, -1.0]).astype(np.float32)
    turned = Drive(
        **{**turned.__dict__, "rotation": turned.rotation @ back, "translation": turned.translation}
    )
    pictures = {}
    for name, moment in (("front", drive), ("back", turned)):
        frame = avatar.render(moment, stage.camera)
        coverage, figure.coverage = figure.coverage, None
        raw = avatar.render(moment, stage.camera)
        figure.coverage = coverage
        sure = frame.alpha > 0.99
        pictures[name] = np.abs(frame.rgb - raw.rgb)[sure].mean(), frame.rgb[sure]
    assert 2 * pictures["front"][0] < pictures["back"][0] and pictures["back"][0] > 0.05
    # the painted person's hair, not the stripes of a network that was never asked
    upper = pictures["back"][1]
    assert np.median(np.abs(upper - np.median(upper, 0)), 0).max() < 0.1
    # the same in the atlas
    unseen = Coverage(
        np.full(len(template), UNSEEN, np.float32), np.full((len(template), 3), 0.25, np.float32)
    )
    plain = NeuralHeadAvatar(avatar.header, figure, unseen)
    assert (np.abs(rigged(plain, size=64).texture.astype(int) - 64) <= 1).all()
    figure.coverage = avatar.coverage.tensor()  # the session's avatar as it was


def test_coverage_comes_back_from_its_file(avatar: NeuralHeadAvatar) -> None:
    coverage, count = avatar.coverage, len(avatar.figure.template)
    again = Coverage.from_state(coverage.state(), count)
    assert np.array_equal(again.facing, coverage.facing) and np.array_equal(again.plain, coverage.plain)
    with pytest.raises(ValueError, match="vertices"):
        Coverage.from_state(coverage.state(), count + 1)
