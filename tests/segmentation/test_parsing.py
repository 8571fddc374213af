from __future__ import annotations

import cv2
import numpy as np

from avatarkit.data.labels import Label
from avatarkit.heads import load
from avatarkit.heads.landmarks import OVAL
from avatarkit.segmentation.backdrop import Backdrop, in_one_piece
from avatarkit.segmentation.colors import ColorModel, bins
from avatarkit.segmentation.geometry import Face, coordinates, head_share, polygon, ramp
from avatarkit.segmentation.labeling import label_map
from avatarkit.segmentation.parsing import CLASSES, CLOTH, HAIR, SKIN, MeshParser, Sample
from avatarkit.segmentation.window import GRID

SAME = np.eye(2, 3)
METER = 700.0
"""Pixels of a meter in the synthetic pictures: a face of about 115 of 256 pixels."""


def face() -> Face:
    """A frontal built-in head in the middle of the work grid."""
    head = load()
    points = head.vertices[head.landmarks].astype(np.float64)
    middle = np.array([128.0, 105.0])
    to_head = np.array([[1, 0, -middle[0]], [0, -1, middle[1]]]) / METER
    to_head[1, 2] -= 0.04  # MAP_CENTER lies that much below the eyes
    to_head[1, 2] += 0.04 * 2
    chin = points[152, 1]
    to_neck = np.array([[1, 0, -middle[0]], [0, -1, middle[1]]]) / METER
    to_neck[1, 2] -= chin - 0.05
    pixels = middle + points[:, :2] * [METER, -METER]
    return Face(to_head, to_neck, pixels.astype(np.float32))


SKIN_COLOR, HAIR_COLOR, WALL = (205, 150, 125), (60, 40, 30), (170, 190, 200)


def picture(cloth: tuple[int, int, int], seed: int = 0, long_hair: bool = False) -> Sample:
    """A person painted from the face's own geometry: hair cap, oval, neck, shoulders."""
    f = face()
    image = np.empty((GRID, GRID, 3), np.float32)
    image[:] = WALL
    y, x = np.mgrid[:GRID, :GRID]
    person = np.zeros((GRID, GRID), bool)

    def paint(mask: np.ndarray, color: tuple[int, int, int]) -> None:
        image[mask] = color
        person[mask] = True

    if long_hair:
        paint((np.abs(x - 128) < 70) & (y > 80) & (y < 250), HAIR_COLOR)
    paint(((x - 128) / 115) ** 2 + ((y - 262) / 60) ** 2 < 1, cloth)
    if long_hair:
        paint((np.abs(np.abs(x - 128) - 58) < 14) & (y > 80) & (y < 250), HAIR_COLOR)
    paint((np.abs(x - 128) < 30) & (y > 150) & (y < 215), SKIN_COLOR)
    paint(((x - 128) / 64) ** 2 + ((y - 100) / 84) ** 2 < 1, HAIR_COLOR)
    paint(polygon(f, OVAL, SAME) > 0, SKIN_COLOR)
    noise = np.random.default_rng(seed).normal(0, 5, image.shape)
    image = cv2.GaussianBlur(np.clip(image + noise, 0, 255).astype(np.uint8), (0, 0), 0.8)
    return Sample(image, person.astype(np.float32), f, SAME, image)


def test_classes_of_a_painted_person() -> None:
    for cloth in ((40, 60, 140), (235, 235, 235), (45, 45, 60)):
        samples = [picture(cloth, seed) for seed in range(6)]
        parser = MeshParser()
        parser.learn(samples)
        best = parser.probabilities(samples[0]).argmax(-1)
        assert (best[8:60, 118:138] == HAIR)[samples[0].matte[8:60, 118:138] > 0].mean() > 0.8
        assert (best[110:160, 108:148] == SKIN).mean() > 0.97
        assert (best[195:208, 112:144] == SKIN).mean() > 0.9, "the neck is skin"
        assert (best[235:, 60:190] == CLOTH).mean() > 0.95, f"clothes of color {cloth}"


def test_long_hair_is_kept_and_a_dark_shirt_is_not() -> None:
    def kept(sample: Sample) -> np.ndarray:
        parser = MeshParser()
        parser.learn([sample] * 4)
        likely = parser.probabilities(sample)
        share, _ = head_share(sample.face, SAME, likely[..., HAIR], likely[..., CLOTH])
        return share * sample.matte

    beside = np.s_[190:205, 66:76]  # beside the neck, below the jaw
    assert kept(picture((40, 60, 140), long_hair=True))[beside].mean() > 0.85
    assert kept(picture((58, 42, 36)))[218:, 40:216].mean() < 0.03, "a shirt of the hair's color"


def test_shadows_keep_the_chroma_of_skin() -> None:
    model = ColorModel(CLASSES)
    patch = np.full((20, 20, 3), SKIN_COLOR, np.float32)
    patch += np.random.default_rng(0).normal(0, 6, patch.shape)
    seen = np.zeros((20, 20, CLASSES), np.float32)
    seen[..., SKIN] = 1
    model.see(bins(patch.astype(np.uint8)), seen)
    model.learn()
    shadow = bins(np.full((1, 1, 3), 0.6 * np.array(SKIN_COLOR), np.uint8))
    wall = bins(np.full((1, 1, 3), WALL, np.uint8))
    before = model.likelihood(shadow)[0, 0, SKIN]
    model.spread_by_shading(SKIN, 0.1)
    peak = model.table[:, SKIN].max()
    assert before < 0.01 * peak
    assert model.likelihood(shadow)[0, 0, SKIN] > 0.03 * peak
    assert model.likelihood(wall)[0, 0, SKIN] < 0.005 * peak


def test_the_cut_follows_the_neck() -> None:
    f, nothing = face(), np.zeros((GRID, GRID), np.float32)
    share, cut = head_share(f, SAME, nothing, nothing)
    u, v = coordinates(f.to_neck, GRID, GRID)
    assert (cut[(v > 0.02) & (np.abs(u) < 0.02)] == 1).all()
    assert (cut[(v < -0.02)] == 0).all()
    # climbs to the sides: at 10 cm from the middle 5 cm higher
    row = int(np.argmin(np.abs(v[:, 128])))
    column = int(np.argmin(np.abs(u[row] - 0.1)))
    assert abs(v[int(np.argmin(np.abs(cut[:, column] - 0.5))), column] - 0.05) < 0.006
    clothed, _ = head_share(f, SAME, nothing, nothing + 1)
    assert clothed[v > 0.12 + 5 * u * u].min() == 1, "far above the cut clothes are not believed in"
    assert clothed[(v < 0.06) & (np.abs(u) < 0.02)].max() == 0
    assert np.array_equal(share, cut)


def test_features_win_over_colors_in_the_label_map() -> None:
    f = face()
    skin = np.zeros((GRID, GRID, 3), np.uint8)
    skin[..., 0] = 255
    person = np.full((GRID, GRID), 255, np.uint8)
    person[:, :20] = 0
    labels = label_map(person, skin, np.full((GRID, GRID), 255, np.uint8), f, SAME)

    def at(*vertices: int) -> int:
        x, y = f.landmarks[list(vertices)].mean(0)
        return int(labels[int(y), int(x)])

    assert at(159, 145) == Label.EYES and at(386, 374) == Label.EYES
    assert at(105, 52) == Label.BROWS and at(334, 282) == Label.BROWS
    assert at(0, 13) == Label.LIPS and at(17, 14) == Label.LIPS
    assert at(4) == Label.SKIN
    assert (labels[:, :20] == Label.BACKGROUND).all()
    assert labels[int(f.landmarks[152, 1]) + 12, 128] == Label.NECK
    assert not (labels == Label.EARS).any()
    ears = np.dstack([skin, np.zeros_like(person)])
    ears[90:140, 180:200, 3] = 200
    found = label_map(person, ears, np.full((GRID, GRID), 255, np.uint8), f, SAME)
    assert (found[90:140, 180:200] == Label.EARS).all() and (found == Label.EARS).sum() == 50 * 20
    below = label_map(person, skin, np.zeros((GRID, GRID), np.uint8), f, SAME)
    assert below[250, 128] == Label.TORSO


def test_a_known_background_is_taken_off_the_edge() -> None:
    random = np.random.default_rng(0)
    wall = random.integers(60, 200, (GRID, GRID, 3)).astype(np.uint8)
    samples = []
    for i in range(8):
        person = np.zeros((GRID, GRID), np.float32)
        person[60:, 60 + 6 * i : 160 + 6 * i] = 1
        image = np.where(person[..., None] > 0, np.uint8(250), wall)
        samples.append(Sample(image, person, face(), SAME, image))
    backdrop = Backdrop(samples)
    last = samples[-1]
    generous = cv2.dilate(last.matte, np.ones((9, 9)))
    tight = backdrop.corrected(last.image, generous)
    fringe = (generous > 0) & (last.matte == 0) & (backdrop.known > 0)
    fringe &= cv2.dilate(last.matte, np.ones((5, 5))) == 0  # the comparison looks at 3 x 3 pixels
    assert fringe.sum() > 100 and tight[fringe].mean() < 0.15
    assert (tight[cv2.erode(last.matte, np.ones((3, 3))) > 0] > 0.95).all()
    assert np.array_equal(Backdrop().corrected(last.image, generous), generous)


def test_what_does_not_touch_the_head_goes() -> None:
    matte = np.zeros((GRID, GRID), np.float32)
    matte[40:200, 80:180] = 1
    matte[100:110, 220:235] = 0.9
    points = np.array([[128.0, 100.0], [130.0, 120.0]], np.float32)
    cleaned = in_one_piece(matte, points)
    assert cleaned[100:110, 220:235].max() == 0
    assert np.array_equal(cleaned[:, :200], matte[:, :200])


def test_ramp_runs_both_ways() -> None:
    x = np.linspace(-1, 2, 7, dtype=np.float32)
    assert np.allclose(ramp(x, 0, 1) + ramp(x, 1, 0), 1, atol=1e-6)
    assert ramp(x, 0, 1)[3] == 0.5
