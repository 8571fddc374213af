from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from avatarkit.data.clip import ClipFrames
from avatarkit.data.rays import scene_box
from avatarkit.data.sampling import Sampler
from avatarkit.files.track import Track


@pytest.fixture(scope="module")
def sampler(subject: tuple[Track, Path]) -> Iterator[Sampler]:
    track, folder = subject
    with ClipFrames(track, folder, 64) as clip:
        positions = np.arange(18)
        yield Sampler(clip, positions, scene_box(clip, positions), images=4, rays=64, seed=3, patch_size=16)


def test_a_step_always_draws_the_same(sampler: Sampler) -> None:
    first, again, other = sampler.batch(5, False), sampler.batch(5, False), sampler.batch(6, False)
    assert first.positions == again.positions and first.seed == again.seed
    np.testing.assert_array_equal(first.directions, again.directions)
    assert other.seed != first.seed
    assert replace(sampler, seed=4).batch(5, False).seed != first.seed


def test_an_epoch_shows_every_frame_once(sampler: Sampler) -> None:
    seen = np.concatenate([sampler.frames(step) for step in range(9)])  # 36 draws: two epochs
    assert sorted(seen[:18]) == list(range(18)) and sorted(seen[18:]) == list(range(18))
    assert seen[:18].tolist() != seen[18:].tolist()


def test_targets_are_the_pixels_of_the_rays(sampler: Sampler) -> None:
    batch = sampler.batch(2, False)
    assert batch.rgb.shape == (64, 3) and not any(batch.patch)
    track, camera = sampler.clip.track, sampler.clip.camera
    for image, position in enumerate(batch.positions):
        rows = slice(16 * image, 16 * image + 16)
        points = sampler.box.from_unit(batch.origins[rows] + 1.5 * batch.directions[rows])
        seen = camera.project(points @ track.rotation[position].T + track.translation[position])
        pixels = np.floor(seen).astype(int)
        np.testing.assert_allclose(seen - pixels, 0.5, atol=2e-3)
        truth = sampler.clip.rgb(position)[pixels[:, 1], pixels[:, 0]] / 255
        np.testing.assert_allclose(batch.rgb[rows], truth, atol=1e-6)


def test_every_second_image_is_a_patch_and_half_of_them_show_the_mouth(sampler: Sampler) -> None:
    kinds, hits, patches = [], 0, 0
    track = sampler.clip.track
    for step in range(40):
        batch = sampler.batch(step, True)
        kinds += batch.patch
        start = 0
        for patch, position in zip(batch.patch, batch.positions, strict=True):
            count = 256 if patch else 16
            if patch:
                points = sampler.box.from_unit(
                    batch.origins[start : start + count] + 1.5 * batch.directions[start : start + count]
                )
                seen = sampler.clip.camera.project(
                    points @ track.rotation[position].T + track.translation[position]
                )
                corner, last = seen[0], seen[-1]
                np.testing.assert_allclose(last - corner, 15, atol=1e-2)
                mouth = sampler.clip.boxes(position)[0]
                middle = (mouth[:2] + mouth[2:]) / 2
                hits += bool(((corner - 0.5 <= middle) & (middle <= last + 0.5)).all())
                patches += 1
            start += count
        assert start == len(batch.rgb)
    assert np.mean(kinds) == 0.5
    # Half are aimed at the mouth; of the others about a tenth hit it by chance.
    assert 0.4 < hits / patches < 0.75


def test_fewer_rays_outside_the_head_when_asked(sampler: Sampler) -> None:
    def inside(outside: float) -> float:
        chosen = replace(sampler, outside=outside, rays=1024)
        return float(np.mean([chosen.batch(step, False).matte > 0 for step in range(5)]))

    assert inside(0.2) > inside(1.0) + 0.15
