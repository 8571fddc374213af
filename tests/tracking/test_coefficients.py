"""Coordinate descent against a general solver, and the normal matrix against the Jacobian it stands for."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from avatarkit.tracking.camera import linearize
from avatarkit.tracking.coefficients import Prior, Products, descend, moments


def prior(count: int, steady: float = 0.0, sparse: float = 0.3, ridge: float = 0.2) -> Prior:
    return Prior(
        np.full(count, sparse, np.float32),
        np.full(count, ridge, np.float32),
        steady,
        1e6,
        np.ones(count, bool),
    )


def test_normal_matrix_is_that_of_the_projected_shapes():
    random = np.random.default_rng(0)
    shapes = random.normal(0, 0.01, (5, 30, 3)).astype(np.float32)
    points = random.normal(0, 0.05, (4, 30, 3)).astype(np.float32)
    rotation = np.linalg.qr(random.normal(size=(4, 3, 3)))[0].astype(np.float32)
    translation = np.tile(np.array([0, 0, 0.6], np.float32), (4, 1))
    observed = random.normal(0, 0.05, (4, 30, 2)).astype(np.float32)
    weight = random.uniform(0, 2, (4, 30)).astype(np.float32)
    linear = linearize(points, rotation, translation, observed, 0.0006)
    moment, pull = moments(linear, rotation, weight)
    products = Products(shapes)
    normal, gradient = products.normal(moment), products.gradient(pull)
    for n in range(4):
        step = 1e-4  # the Jacobian by central differences of the residual
        columns = []
        for shape in shapes:
            around = points[n : n + 1].astype(np.float64) + step * np.array([1, -1])[:, None, None] * shape
            both = [x[n : n + 1].repeat(2, 0) for x in (rotation, translation, observed)]
            ends = linearize(around, *both, 0.0006).residual
            columns.append(-(ends[0] - ends[1]) / (2 * step))
        jacobian = np.stack(columns, -1)  # [P, 2, E]
        expected = np.einsum("pae,p,paf->ef", jacobian, weight[n], jacobian)
        np.testing.assert_allclose(normal[..., n], expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max())
        slope = np.einsum("pae,p,pa->e", jacobian, weight[n], linear.residual[n])
        np.testing.assert_allclose(gradient[:, n], slope, rtol=2e-3, atol=2e-3 * np.abs(slope).max())


def test_descent_finds_the_box_constrained_minimum():
    random = np.random.default_rng(1)
    count, frames = 8, 6
    basis = random.normal(size=(frames, 12, count))
    normal = np.einsum("npe,npf->efn", basis, basis).astype(np.float32)
    gradient = (3 * random.normal(size=(count, frames))).astype(np.float32)
    p = prior(count)
    start = np.full((count, frames), 0.5, np.float32)
    none = np.zeros(frames, np.float32)
    found = descend(normal, gradient, start, start, start, (none, none), p, 400)
    for n in range(frames):

        def energy(w, n=n):
            d = w - 0.5
            return 0.5 * d @ normal[..., n] @ d - gradient[:, n] @ d + 0.3 * w.sum() + 0.1 * w @ w

        best = minimize(energy, np.full(count, 0.4), bounds=[(0, 1)] * count, options={"ftol": 1e-14})
        np.testing.assert_allclose(found[:, n], best.x, atol=2e-3)


def test_fixed_coefficients_stay_and_neighbors_pull():
    normal = np.eye(2, dtype=np.float32)[..., None]
    gradient = np.zeros((2, 1), np.float32)
    w, beside = np.full((2, 1), 0.5, np.float32), np.full((2, 1), 0.9, np.float32)
    p = Prior(np.zeros(2, np.float32), np.zeros(2, np.float32), 2.0, 1e6, np.array([True, False]))
    one, none = np.ones(1, np.float32), np.zeros(1, np.float32)
    moved = descend(normal, gradient, w, beside, beside, (one, none), p, 50)
    # 1/2 (w - .5)^2 + 1/2 * 2 (w - .9)^2 has its minimum at (.5 + 2 * .9) / 3
    np.testing.assert_allclose(moved[:, 0], [(0.5 + 1.8) / 3, 0.5], atol=1e-4)
