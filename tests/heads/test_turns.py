"""Single rotations against scipy's."""

import numpy as np
from scipy.spatial.transform import Rotation

from avatarkit.heads import turns


def test_one_rotation_as_matrix_and_vector() -> None:
    first, second = Rotation.random(2, random_state=3)
    np.testing.assert_allclose(turns.matrix_of(first.as_rotvec()), first.as_matrix(), atol=1e-12)
    np.testing.assert_allclose(turns.vector_of(first.as_matrix()), first.as_rotvec(), atol=1e-9)
    turn = turns.between(first.as_matrix().astype(np.float32), second.as_matrix().astype(np.float32))
    np.testing.assert_allclose(turn, (second * first.inv()).as_rotvec(), atol=1e-5)
