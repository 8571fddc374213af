"""Every energy against its definition written out in loops, in float64, and its gradient."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from avatarkit.data.labels import Label
from avatarkit.methods.nha.energies import appearance, landmarks, normals, offsets, priors, semantics
from avatarkit.methods.nha.energies.landmarks import LIDS


def close(value: Tensor, truth: float) -> None:
    assert abs(float(value) - truth) < 1e-9 * max(1.0, abs(truth))


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def checked(function: Callable[..., Tensor], *inputs: Tensor) -> None:
    leaves = [x.clone().requires_grad_() for x in inputs]
    assert torch.autograd.gradcheck(function, leaves, eps=1e-7, atol=1e-6)


def test_landmarks_are_a_weighted_mean_of_l1_distances() -> None:
    ours, theirs, weight = draw(468, 2), draw(468, 2, seed=1), landmarks.weights().double()
    total = count = 0.0
    for i in range(468):
        for axis in range(2):
            total += float(weight[i]) * abs(float(ours[i, axis]) - float(theirs[i, axis]))
            count += float(weight[i])
    close(landmarks.landmarks(ours, theirs, weight), total / count)
    checked(lambda x: landmarks.landmarks(x, theirs, weight), ours)


def test_lids_compare_apertures_and_not_places() -> None:
    ours, theirs = draw(468, 2), draw(468, 2, seed=1)
    total = 0.0
    for upper, lower in LIDS.tolist():
        for axis in range(2):
            mine = float(ours[upper, axis] - ours[lower, axis])
            total += abs(mine - float(theirs[upper, axis] - theirs[lower, axis]))
    close(landmarks.lids(ours, theirs), total / (2 * len(LIDS)))
    torch.testing.assert_close(landmarks.lids(ours + 3, theirs), landmarks.lids(ours, theirs))
    closed = theirs.clone()
    closed[LIDS[:, 0]] = closed[LIDS[:, 1]]
    assert float(landmarks.lids(closed, theirs)) > 0.1
    checked(lambda x: landmarks.lids(x, theirs), ours)


def test_normal_maps_are_compared_by_their_laplacians() -> None:
    ours, theirs = draw(7, 6, 3), draw(7, 6, 3, seed=1)
    mask = draw(7, 6, seed=2) > 0.15
    total, count = 0.0, 0
    for y in range(1, 6):
        for x in range(1, 5):
            around = [(y, x), (y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            if not all(bool(mask[p]) for p in around):
                continue
            count += 1
            for c in range(3):
                both = [
                    sum(float(n[p][c]) for p in around[1:]) - 4 * float(n[y, x, c]) for n in (ours, theirs)
                ]
                total += abs(both[0] - both[1])
    assert count > 3
    close(normals.normal_laplacian(ours, theirs, mask), total / count)
    # what is the same everywhere, like a wrong pose, costs nothing
    close(normals.normal_laplacian(theirs + 0.3, theirs, mask), 0.0)
    checked(lambda x: normals.normal_laplacian(x, theirs, mask), ours)


def test_regions_count_by_soft_exclusive_or() -> None:
    ours, theirs, weight = draw(5, 4, 3), draw(5, 4, 3, seed=1), draw(5, 4, seed=2)
    total = 0.0
    for y in range(5):
        for x in range(4):
            for k in range(3):
                a, b = float(ours[y, x, k]), float(theirs[y, x, k])
                total += float(weight[y, x]) * (a * (1 - b) + b * (1 - a))
    close(semantics.semantic(ours, theirs, weight), total / float(weight.sum()))
    for a, b in ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)):
        assert float(semantics.soft_xor(torch.tensor(a), torch.tensor(b))) == float(bool(a) != bool(b))
    checked(lambda x: semantics.semantic(x, theirs, weight), ours)


def test_regions_of_label_maps() -> None:
    labels = torch.arange(len(Label))[None]
    matte = torch.full((1, len(Label)), 0.5)
    found = semantics.regions(labels, matte)
    skin = {Label.SKIN, Label.BROWS, Label.LIPS, Label.NECK, Label.MOUTH_INTERIOR, Label.EARS}
    for i, label in enumerate(Label):
        wanted = [
            0.5 * (label in skin),
            0.5 * (label == Label.EYES),
            0.5 * (label in {Label.HAIR, Label.ACCESSORIES}),
        ]
        assert found[0, i].tolist() == wanted
    apart = semantics.regions(labels, matte, ears=True)
    assert apart.shape[-1] == 4 and apart[0, int(Label.EARS)].tolist() == [0, 0, 0, 0.5]
    others = labels[0] != int(Label.EARS)
    assert torch.equal(apart[0, others, :3], found[0, others]) and float(apart[0, others, 3].sum()) == 0


def test_offsets_are_smooth_consistent_and_where_they_may_be() -> None:
    triangles = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4]])
    places, stiffness = draw(6, 3, seed=2).numpy() * 0.02, draw(6, seed=3).numpy()
    values, weight = draw(6, 3), draw(6, seed=1)
    around = {0: [1, 2, 3, 4], 1: [0, 2], 2: [0, 1, 3], 3: [0, 2, 4], 4: [0, 3]}
    area = [np.linalg.norm(np.cross(places[b] - places[a], places[c] - places[a])) for a, b, c in triangles]
    total = 0.0
    for v, others in around.items():
        share = sum(x for x, t in zip(area, triangles, strict=True) if v in t) / (3 * sum(area))
        square = sum(float(np.square(1000 * (places[v] - places[o])).sum()) for o in others) / len(others)
        for c in range(3):
            mean = sum(float(values[o, c]) for o in others) / len(others)
            bent = 4 * (float(values[v, c]) - mean) / max(square, offsets.FINEST**2)
            total += share * stiffness[v] * bent**2
    matrix = offsets.curvature(triangles, places, stiffness).double()
    assert abs(float(offsets.laplacian(values, matrix)) / total - 1) < 1e-5  # the matrix holds float32
    square = sum(float(weight[v]) * float(values[v, c]) ** 2 for v in range(6) for c in range(3))
    close(offsets.consistency(values, weight), square / float(weight.sum()))
    near, length = offsets.NEAR, 0.0
    for v in range(6):
        square = sum(float(values[v, c]) ** 2 for c in range(3))
        length += float(weight[v]) * 2 * near * ((square + near**2) ** 0.5 - near)
    close(offsets.distribution(values, weight), length / float(weight.sum()))
    checked(lambda x: offsets.laplacian(x, matrix), values)
    checked(lambda x: offsets.consistency(x, weight), values)
    checked(lambda x: offsets.distribution(x, weight), values)


def test_curvature_is_that_of_the_surface_however_finely_it_is_divided() -> None:
    """A paraboloid over the plane, z = r^2 / 2: its Laplacian is 2 / mm on any grid."""
    for step in (2.5, 5.0):
        x, y = (axis.ravel() for axis in np.meshgrid(np.arange(-20, 21, step), np.arange(-20, 21, step)))
        side = int(len(x) ** 0.5)
        corner = np.array([r * side + c for r in range(side - 1) for c in range(side - 1)])
        first = np.stack([corner, corner + 1, corner + side], 1)
        second = np.stack([corner + 1, corner + side + 1, corner + side], 1)
        places = np.stack([x, y, 0 * x], 1) / 1000
        matrix = (
            offsets.curvature(np.concatenate([first, second]), places, np.ones(len(x))).to_dense().double()
        )
        bent = (matrix @ torch.from_numpy((x**2 + y**2) / 2)).numpy()
        middle = (abs(x) < 15) & (abs(y) < 15)
        share = step**2 / 40**2
        assert np.allclose(-bent[middle] / share**0.5, 2, rtol=1e-3)


def test_priors_measure_in_deviations() -> None:
    expression, turn, move = draw(52), draw(3, seed=1), draw(3, seed=2)
    total = sum((float(x) / priors.EXPRESSION) ** 2 for x in expression) / 52
    total += sum((float(x) / priors.TURN) ** 2 for x in turn) / 3
    total += sum((float(x) / priors.MOVE) ** 2 for x in move) / 3
    close(priors.prior(expression, turn, move), total)
    checked(priors.prior, expression, turn, move)


def test_photometric_is_a_weighted_mean_of_l1_and_tiles_are_cut_out() -> None:
    ours, theirs, weight = draw(6, 5, 3), draw(6, 5, 3, seed=1), draw(6, 5, seed=2)
    total = 0.0
    for y in range(6):
        for x in range(5):
            total += (
                float(weight[y, x]) * sum(abs(float(ours[y, x, c] - theirs[y, x, c])) for c in range(3)) / 3
            )
    close(appearance.photometric(ours, theirs, weight), total / float(weight.sum()))
    checked(lambda x: appearance.photometric(x, theirs, weight), ours)
    cut = appearance.tiles(ours, torch.tensor([[0, 0], [3, 2]]), 3)
    assert cut.shape == (2, 3, 3, 3)
    assert torch.equal(cut[1, 2], ours[3:6, 2:5, 2])


@pytest.mark.parametrize("closed", [True, False])
def test_the_lid_term_pulls_lids_to_the_picture(closed: bool) -> None:
    """The gradient opens an eye that should be open, and closes one that should be closed."""
    upper, lower = LIDS[3]
    ours = torch.zeros(468, 2, dtype=torch.float64)
    ours[LIDS[:, 0], 1] = 0.0 if not closed else -4.0  # y down: the upper lid above the lower one
    theirs = torch.zeros(468, 2, dtype=torch.float64)
    theirs[LIDS[:, 0], 1] = -4.0 if not closed else 0.0
    ours.requires_grad_()
    landmarks.lids(ours, theirs).backward()
    assert ours.grad is not None
    step = -ours.grad
    assert (float(step[upper, 1]) < 0) != closed and (float(step[lower, 1]) > 0) != closed
