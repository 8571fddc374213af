"""The evaluation's rows, jitter and the nearest-frame baseline on cases whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from avatarkit.metrics.evaluate import METRICS, Evaluation, Truth, motion_features, nearest_rows
from avatarkit.metrics.temporal import Jitter, jitter


def test_jitter_of_a_constant_or_linear_error_is_zero_and_of_an_alternating_one_known() -> None:
    truth = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    ramp = torch.arange(6.0).view(6, 1, 1, 1) * 0.01
    assert jitter(truth + 0.1, truth) == pytest.approx(0, abs=1e-6)
    assert jitter(truth + ramp, truth) == pytest.approx(0, abs=1e-6)
    flicker = 0.05 * (-1.0) ** torch.arange(6.0).view(6, 1, 1, 1)
    assert jitter(truth + flicker, truth) == pytest.approx(0.2, abs=1e-5)


def test_jitter_ignores_gaps_and_masked_pixels() -> None:
    meter = Jitter()
    image = torch.zeros(3, 4, 4)
    for index in (0, 1, 3, 4):
        meter.add(index, image + index, image)
    assert math.isnan(meter.value())
    mask = torch.zeros(1, 4, 4)
    mask[:, :2] = 1
    trembling = [torch.zeros(3, 4, 4) for _ in range(3)]
    trembling[1][:, 2:] = 1
    meter = Jitter()
    for index, pred in enumerate(trembling):
        meter.add(index, pred, image, mask)
    assert meter.value() == 0.0


def test_rows_have_every_key_and_the_right_numbers() -> None:
    random = np.random.default_rng(0)
    evaluation = Evaluation()
    head = np.zeros((200, 200), np.float32)
    head[40:160, 60:150] = 1
    mouth = np.zeros_like(head)
    mouth[120:140, 90:120] = 1
    for index in range(4):
        truth = random.integers(40, 200, (200, 200, 3)).astype(np.uint8)
        brighter = truth.copy()
        brighter[40:160, 60:150] += 10
        regions = {"head": head, "frame": np.ones_like(head), "mouth": mouth, "eyes": np.zeros_like(head)}
        evaluation.add(Truth(index, truth, regions), {"same": truth, "brighter": brighter})
    rows = {(row["name"], row["region"]): row for row in evaluation.rows("heldout")}
    assert set(rows) == {
        (n, r) for n in ("same", "brighter") for r in ("head", "frame", "mouth")
    }  # no eyes seen
    for row in rows.values():
        assert set(row) == {"name", "region", "split", "frames", *METRICS}
        assert (
            row["split"] == "heldout" and row["frames"] == 4 and row["lpips"] is None and row["csim"] is None
        )
    on_head = rows["brighter", "head"]
    assert on_head["psnr"] == pytest.approx(20 * math.log10(255 / 10), abs=1e-3)
    assert on_head["l1"] == pytest.approx(10 / 255, rel=1e-4)
    share = head.mean()
    assert rows["brighter", "frame"]["mse"] == pytest.approx((10 / 255) ** 2 * share, rel=1e-3)
    assert rows["same", "head"]["psnr"] == 100.0 and rows["same", "frame"]["ssim"] == pytest.approx(
        1, abs=1e-6
    )
    assert rows["brighter", "head"]["jitter"] == pytest.approx(0, abs=1e-6)
    assert rows["brighter", "mouth"]["ms_ssim"] is None and rows["brighter", "frame"]["ms_ssim"] < 1


def test_the_nearest_frame_is_found_by_pose_and_by_expression() -> None:
    from scipy.spatial.transform import Rotation

    frames = 12
    turns = np.linspace(-20, 20, frames)
    rotation = Rotation.from_euler("y", turns[:, None], degrees=True).as_matrix().astype(np.float32)
    rotation[11] = np.nan  # an invalid frame may hold anything
    translation = np.tile(np.float32([0, 0, 0.6]), (frames, 1))
    expression = np.zeros((frames, 3), np.float32)
    expression[::2, 1] = 1
    training, wanted = np.array([0, 1, 2, 3, 8, 9]), np.array([10, 4])
    eyes = np.zeros((frames, 2, 3), np.float32)
    rows = np.union1d(training, wanted)
    features = motion_features(rotation, translation, expression, eyes, training, rows)
    assert np.isnan(features[11]).all()
    assert nearest_rows(features, training, wanted).tolist() == [8, 2]
    assert nearest_rows(features, training, np.array([2, 0])).tolist() == [0, 2]  # not itself
    assert nearest_rows(features, np.array([3]), np.array([3])).tolist() == [3]
