from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from avatarkit.files.errors import UsageError
from avatarkit.heads.arkit import INDEX
from avatarkit.methods.drivers import RESIDUAL_UNIT, TURN_UNIT, Drivers
from avatarkit.methods.nerfblendshape import config
from avatarkit.methods.nerfblendshape.density_grid import single_bases
from avatarkit.methods.registry import Drive
from tests.methods import synthetic


def test_drivers_are_the_active_coefficients_and_the_turn(tmp_path: Path) -> None:
    track = synthetic.make(tmp_path, frames=30)
    drivers = Drivers.of(track, np.arange(30), most=52, pose=True)
    assert len(drivers) == 5
    weights = drivers.weights(track.expression, track.rotation)
    column = drivers.columns.index(INDEX["jawOpen"])
    np.testing.assert_allclose(weights[:, column], track.expression[:, INDEX["jawOpen"]])
    # The head turns about y by 14 sin(.23 t) degrees, up to its mean.
    yaw = np.radians(14 * np.sin(np.arange(30) * 0.23)) / TURN_UNIT
    assert np.corrcoef(weights[:, 3], yaw)[0, 1] > 0.99
    again = Drivers.from_header(list(track.expression_names), json.loads(json.dumps(drivers.header())))
    np.testing.assert_allclose(again.weights(track.expression, track.rotation), weights, atol=1e-6)
    # A head turned further than ever seen drives the bases no further.
    far = synthetic.Rotation.from_euler("Y", 70, degrees=True).as_matrix().astype(np.float32)
    drive = replace(Drive.of(track, 0), rotation=track.rotation[0] @ far)
    assert np.abs(drivers.of_drive(drive)[0, 2:]).max() <= np.abs(weights[:, 2:]).max() + 1e-6


def test_the_clips_own_residual_drives_only_its_own_clip(tmp_path: Path) -> None:
    track = synthetic.make(tmp_path, frames=30)
    extra = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    track = replace(track, extra=extra, extra_names=tuple(f"residual{i}" for i in range(4)))
    plain = Drivers.of(track, np.arange(30), most=52, pose=True)
    drivers = Drivers.of(track, np.arange(30), most=52, pose=True, residual=True)
    assert len(drivers) == len(plain) + 4
    weights = drivers.weights(track.expression, track.rotation, track.extra)
    np.testing.assert_array_equal(weights[:, :-4], plain.weights(track.expression, track.rotation))
    typical = (extra > drivers.residual.low).all(1) & (extra < drivers.residual.high).all(1)  # type: ignore[union-attr]
    np.testing.assert_allclose(weights[typical, -4:], extra[typical] / RESIDUAL_UNIT)
    again = Drivers.from_header(list(track.expression_names), json.loads(json.dumps(drivers.header())))
    np.testing.assert_allclose(again.of_drive(Drive.of(track, 3))[0], weights[3], atol=1e-6)
    # Sliders, other people, and a tracking with other components leave these bases alone.
    for other in (None, extra[3, :2]):
        assert (drivers.of_drive(replace(Drive.of(track, 3), extra=other))[0, -4:] == 0).all()


def test_probes_are_those_of_equation_9() -> None:
    weights = torch.tensor([[0.2, -0.5], [0.7, 0.3], [0.1, 0.0]])
    found = single_bases(weights)
    assert found[:4].tolist() == [
        pytest.approx([0, 0]),
        pytest.approx([0.7, 0]),
        pytest.approx([0, 0.3]),
        pytest.approx([0.1, 0]),
    ]
    assert found[4].tolist() == pytest.approx([0, -0.5])
    assert torch.equal(found[-3:], weights)


def test_options_are_checked_in_one_line() -> None:
    assert config.make().preset == "robust" and config.make().warp and config.make("repro").images == 1
    assert config.make("paper").basis_levels == 16 and config.make("paper", finest=512).finest == 512
    for wrong in (
        {"preset": "quick"}, {"rays": 1}, {"holdout": 0.95}, {"bogus": 1}, {"coarsest": 200, "finest": 100},
        {"images": 64, "rays": 32}, {"device": "tpu"}, {"levels": 17}, {"levels": 4},
    ):  # fmt: skip
        with pytest.raises(UsageError) as error:
            config.make(**wrong)
        assert "\n" not in str(error.value)
