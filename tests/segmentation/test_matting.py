from __future__ import annotations

import cv2
import numpy as np

from avatarkit.segmentation.matting import EPSILON, RADIUS, SURE, applied, edge_model


def scene(size: int = 160) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(guide, true matte, coarse matte) of a textured disk whose coarse matte is blurred and a pixel off."""
    random = np.random.default_rng(1)
    y, x = np.mgrid[:size, :size]
    true = (np.hypot(x - 80, y - 80) < 45).astype(np.float32)
    texture = cv2.GaussianBlur(random.normal(0, 1, (size, size, 3)), (0, 0), 1.5) * 6
    guide = np.where(true[..., None] > 0, [190, 120, 90], [60, 90, 160]) + texture
    coarse = cv2.GaussianBlur(np.roll(true, 1, 1), (0, 0), 3)
    return np.clip(guide, 0, 255).astype(np.uint8), true, coarse


def test_the_edge_model_is_the_guided_filter() -> None:
    guide, _, coarse = scene()
    model = edge_model(coarse, guide)
    ours = (model[..., :3] * (guide / np.float32(255))).sum(-1) + model[..., 3]
    reference = cv2.ximgproc.guidedFilter(guide, coarse, RADIUS, EPSILON * 255**2)
    reach = np.ones((2 * RADIUS + 1, 2 * RADIUS + 1))
    band = (cv2.erode(coarse, reach) <= SURE) & (cv2.dilate(coarse, reach) >= 1 - SURE)
    band[:20] = band[-20:] = False
    assert band.sum() > 1000
    assert np.abs(ours - reference)[band].max() < 2e-3


def test_the_matte_snaps_to_the_images_edge_and_is_clean_elsewhere() -> None:
    guide, true, coarse = scene()
    matte = applied(edge_model(coarse, guide), guide) / 255
    before, after = float(np.abs(coarse - true).mean()), float(np.abs(matte - true).mean())
    assert after < 0.75 * before
    far = cv2.erode(true, np.ones((31, 31))) > 0
    assert (matte[far] == 1).all()
    assert (matte[cv2.dilate(true, np.ones((41, 41))) == 0] == 0).all()


def test_an_edge_model_applies_to_a_finer_image() -> None:
    guide, true, coarse = scene()
    small = cv2.resize(guide, (80, 80), interpolation=cv2.INTER_AREA)
    model = edge_model(cv2.resize(coarse, (80, 80), interpolation=cv2.INTER_AREA), small)
    matte = applied(cv2.resize(model, (160, 160)), guide) / 255
    before, after = float(np.abs(coarse - true).mean()), float(np.abs(matte - true).mean())
    assert after < 0.6 * before


def test_empty_and_full_mattes_stay_so() -> None:
    guide, _, _ = scene()
    for value in (0.0, 1.0):
        matte = applied(edge_model(np.full(guide.shape[:2], value, np.float32), guide), guide)
        assert (matte == round(255 * value)).all()
