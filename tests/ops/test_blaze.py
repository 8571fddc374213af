"""Networks of BlazeBlocks against their twins."""

from __future__ import annotations

import numpy as np
import pytest

from avatarkit.ops import blaze
from avatarkit.ops.reference import blaze as twin

RANDOM = np.random.default_rng(3)


def numbers(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def block(inputs: int, outputs: int, stride: int) -> blaze.Block:
    depthwise = (0.3 * numbers(3, 3, inputs), numbers(inputs)) if stride else None
    pointwise = numbers(inputs, outputs) / np.sqrt(inputs)
    return blaze.block(pointwise, numbers(outputs), numbers(outputs), depthwise, stride)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 2), (3, 5), (12, 10), (96, 96)])
@pytest.mark.parametrize(
    ("inputs", "outputs", "stride"), [(16, 16, 1), (32, 48, 1), (16, 32, 2), (48, 16, 0)]
)
def test_a_block_agrees_with_its_twin(
    height: int, width: int, inputs: int, outputs: int, stride: int
) -> None:
    x, one = numbers(height, width, inputs), block(inputs, outputs, stride)
    if stride == 2 and (height % 2 or width % 2):
        with pytest.raises(ValueError, match="cannot take"):
            blaze.chain(x, [one])
        return
    np.testing.assert_allclose(blaze.chain(x, [one]), twin.chain(x, [one]), atol=2e-5)


def test_a_chain_agrees_with_its_twin_and_an_empty_one_changes_nothing() -> None:
    blocks = [
        block(16, 16, 1),
        block(16, 16, 1),
        block(16, 32, 2),
        block(32, 32, 1),
        block(32, 64, 2),
        block(64, 16, 0),
    ]
    x = numbers(24, 40, 32)[:, :, ::2]  # not contiguous
    made = blaze.chain(x, blocks)
    assert made.shape == (6, 10, 16)
    np.testing.assert_allclose(made, twin.chain(x, blocks), atol=1e-4)
    assert (blaze.chain(x, []) == x).all()
    assert blaze.chain(np.zeros((0, 8, 16), np.float32), blocks[:1]).shape == (0, 8, 16)


@pytest.mark.parametrize(("height", "width"), [(2, 2), (10, 6), (192, 192)])
def test_the_stem_agrees_with_its_twin(height: int, width: int) -> None:
    image = RANDOM.integers(0, 256, (height, width, 3), np.uint8)
    layer = blaze.stem(numbers(3, 3, 3, 32), numbers(32), numbers(32))
    np.testing.assert_allclose(blaze.begin(image, layer), twin.begin(image, layer), atol=2e-5)
    if height > 2:
        blocks = [block(32, 32, 1), block(32, 32, 1), block(32, 32, 0), block(32, 32, 1)]
        expected = twin.chain(twin.begin(image, layer), blocks)
        np.testing.assert_allclose(blaze.begin(image, layer, blocks), expected, atol=1e-3, rtol=1e-4)


def test_samples_agree_with_their_twin_and_are_nothing_outside() -> None:
    x = numbers(9, 7, 16)
    for matrix in (np.eye(2, 3), np.array([[0.6, -0.2, 1.13], [0.3, 0.7, -0.41]]), np.full((2, 3), np.nan)):
        np.testing.assert_allclose(blaze.sample(x, matrix, 8), twin.sample(x, matrix, 8), atol=1e-5)
    np.testing.assert_array_equal(blaze.sample(x, np.eye(2, 3), 7), x[:7])
    assert not blaze.sample(x, np.array([[1.0, 0, 20], [0, 1, 0]]), 4).any()


def test_shapes_that_do_not_fit_are_declined() -> None:
    with pytest.raises(ValueError, match="fit together"):
        blaze.block(numbers(16, 20), numbers(20), numbers(20))
    with pytest.raises(ValueError, match="fit together"):
        blaze.stem(numbers(3, 3, 3, 16), numbers(8), numbers(16))
    with pytest.raises(ValueError, match="even size"):
        blaze.begin(np.zeros((3, 4, 3), np.uint8), blaze.stem(numbers(3, 3, 3, 16), numbers(16), numbers(16)))
    with pytest.raises(ValueError, match="cannot take"):
        blaze.chain(numbers(4, 4, 32), [block(16, 16, 1)])
    with pytest.raises(ValueError, match="cannot sample"):
        blaze.sample(numbers(4, 4, 3), np.eye(2, 3), 4)
