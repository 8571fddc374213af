"""Similarities, poses and smoothing on exact data."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from avatarkit.tracking.pose import procrustes, refine, runs, smoothed, whittaker
from tests.tracking.synthetic import make


def test_procrustes_recovers_a_similarity_and_never_mirrors():
    random = np.random.default_rng(0)
    source = random.normal(size=(5, 20, 3))
    turn = Rotation.random(5, random_state=1).as_matrix()
    scale, shift = random.uniform(0.5, 2, 5), random.normal(size=(5, 3))
    target = scale[:, None, None] * source @ np.swapaxes(turn, 1, 2) + shift[:, None]
    found = procrustes(source, target, random.uniform(0.5, 1, (5, 20)))
    np.testing.assert_allclose(found[0], scale)
    np.testing.assert_allclose(found[1], turn, atol=1e-12)
    np.testing.assert_allclose(found[2], shift, atol=1e-12)
    mirrored = procrustes(source, source * [-1, 1, 1], np.ones((5, 20)))
    np.testing.assert_allclose(np.linalg.det(mirrored[1]), 1)


def test_gauss_newton_finds_the_exact_pose():
    truth = make(frames=12, noise=0.0)
    person = truth.neutral + np.einsum("ne,epc->npc", truth.expression, truth.template.shapes)
    off = Rotation.from_rotvec(np.tile([0.1, -0.15, 0.1], (12, 1))).as_matrix() @ truth.rotation
    rotation, translation = refine(
        person.astype(np.float32), off.astype(np.float32), (truth.translation * 1.1).astype(np.float32),
        truth.seen.plane(), truth.template.stability, truth.template.unit, 50.0, 12,
    )  # fmt: skip
    error = (Rotation.from_matrix(rotation) * Rotation.from_matrix(truth.rotation).inv()).magnitude()
    assert np.degrees(error).max() < 0.05
    np.testing.assert_allclose(translation, truth.translation, atol=5e-4)


def test_depth_tells_a_nod_from_a_change_of_face():
    truth = make(frames=40)
    person = np.broadcast_to(truth.template.neutral, (40, *truth.template.neutral.shape))  # who smiles unseen

    def found(depth: np.ndarray | None) -> np.ndarray:
        rotation, _ = refine(
            person, truth.rotation.astype(np.float32), truth.translation.astype(np.float32), truth.seen.plane(),
            truth.template.stability, truth.template.unit, 5.0, 6, depth,
        )  # fmt: skip
        return rotation

    def error(rotation: np.ndarray) -> float:
        off = Rotation.from_matrix(rotation).inv() * Rotation.from_matrix(truth.rotation)
        return float(np.degrees((off * off.mean().inv()).magnitude().mean()))

    depth = truth.seen.depth()
    assert error(found(depth)) < 0.97 * error(found(None))
    np.testing.assert_allclose(found(depth + np.float32(0.01)), found(depth), atol=1e-5)


def test_whittaker_keeps_straight_lines_and_removes_noise():
    line = np.linspace(0, 3, 60)[:, None] * [1.0, -2.0]
    np.testing.assert_allclose(whittaker(line, 50.0, 0.1), line, atol=1e-6)
    noisy = line + np.random.default_rng(0).normal(0, 0.02, line.shape)
    assert np.abs(whittaker(noisy, 50.0, 0.1) - line).mean() < 0.5 * np.abs(noisy - line).mean()


def test_whittaker_follows_those_it_can_trust():
    values = np.zeros((30, 1))
    values[15] = 10.0
    certainty = np.ones(30)
    certainty[15] = 0.0
    assert np.abs(whittaker(values, 5.0, 100.0, certainty=certainty)).max() < 1e-3


def test_smoothing_stops_at_cuts():
    rotation = np.repeat(np.eye(3, dtype=np.float32)[None], 20, 0)
    rotation[10:] = Rotation.from_euler("y", 30, degrees=True).as_matrix()
    translation = np.tile(np.array([0, 0, 0.5], np.float32), (20, 1))
    translation[10:, 0] = 0.2
    linked = np.ones(20, bool)
    linked[[0, 10]] = False
    turned, moved = smoothed(rotation, translation, linked, 0.0006, 100.0)
    np.testing.assert_allclose(turned, rotation, atol=1e-5)
    np.testing.assert_allclose(moved, translation, atol=1e-5)


def test_runs():
    assert runs(np.array([False, True, True, False, False, True])) == [(0, 3), (3, 4), (4, 6)]
    assert runs(np.zeros(0, bool)) == []
