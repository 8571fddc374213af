"""The built-in head's mesh: symmetry, topology, winding, texture atlas, skinning, expressions, looks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from avatarkit import heads
from avatarkit.files.home import home
from avatarkit.heads import builtin
from avatarkit.heads.arkit import INDEX, NAMES, mirrored
from avatarkit.heads.extension import components
from avatarkit.heads.landmarks import EYE_LEFT, LID_LOWER_LEFT, LID_UPPER_LEFT, OVAL
from avatarkit.heads.model import HeadModel
from avatarkit.heads.subdivide import boundary_loops, butterfly, edges_of
from avatarkit.heads.template import face_template, face_topology


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return heads.load()


def angles_between(head: HeadModel, vertices: np.ndarray, border: set[int]) -> np.ndarray:
    """Degrees between the normals of the two triangles at every edge that has both ends in ``border``."""
    a, b, c = (vertices[head.triangles[:, i]] for i in range(3))
    normal = np.cross(b - a, c - a)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-20)
    faces: dict[tuple[int, int], list[int]] = {}
    for k, triangle in enumerate(head.triangles.tolist()):
        for i in range(3):
            u, v = triangle[i], triangle[(i + 1) % 3]
            if u in border and v in border:
                faces.setdefault((min(u, v), max(u, v)), []).append(k)
    pairs = np.array([pair for pair in faces.values() if len(pair) == 2])
    cosine = (normal[pairs[:, 0]] * normal[pairs[:, 1]]).sum(1)
    return np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))


def test_size_and_proportions(head: HeadModel) -> None:
    assert 4500 < len(head) < 7000
    assert head.expression_names == NAMES
    skull = head.vertices[head.region_mask("scalp", "skin")]
    breadth, height, depth = np.ptp(skull[:, 0]), skull[:, 1].max() + 0.114, np.ptp(skull[:, 2])
    assert 0.140 < breadth < 0.165  # anthropometric ranges of adults
    assert 0.205 < height < 0.245
    assert 0.175 < depth < 0.235  # to the tip of the nose
    centers = head.joints[2:]
    np.testing.assert_allclose(centers.mean(0), 0, atol=1e-6)
    assert np.ptp(centers[:, 0]) == pytest.approx(0.063, abs=1e-6)


def test_landmarks_are_the_first_vertices(head: HeadModel) -> None:
    np.testing.assert_array_equal(head.landmarks[:468], np.arange(468))
    np.testing.assert_allclose(head.vertices[:468], face_template(), atol=1e-6)
    iris = head.vertices[head.landmarks[468:]]
    right, left = iris[:5], iris[5:]
    for points, joint in ((right, head.joints[3]), (left, head.joints[2])):
        np.testing.assert_allclose(points[0, :2], joint[:2], atol=1e-6)
        around = points[1:] - points[0]
        expected = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)]) * 0.00585  # mediapipe's order, +y up
        np.testing.assert_allclose(around[:, :2], expected, atol=1e-5)
        assert 0.010 < points[0, 2] < 0.013


def test_left_and_right_mirror_each_other(head: HeadModel) -> None:
    flip = np.array([-1, 1, 1])
    np.testing.assert_array_equal(head.mirror[head.mirror], np.arange(len(head)))
    np.testing.assert_allclose(head.vertices[head.mirror] * flip, head.vertices, atol=1e-6)
    for name in NAMES:
        other = head.shapes[INDEX[mirrored(name)]]
        np.testing.assert_allclose(
            other[head.mirror] * flip, head.shapes[INDEX[name]], atol=1e-6, err_msg=name
        )
    np.testing.assert_array_equal(head.region[head.mirror], head.region)
    swapped = head.skinning[:, [0, 1, 2, 4, 3]]
    np.testing.assert_allclose(swapped[head.mirror], head.skinning, atol=1e-6)


def test_manifold_and_consistently_wound(head: HeadModel) -> None:
    directed = Counter((t[i], t[(i + 1) % 3]) for t in head.triangles.tolist() for i in range(3))
    assert (
        max(directed.values()) == 1
    )  # no edge twice in the same direction: at most two triangles, same winding
    used = np.unique(head.triangles)
    np.testing.assert_array_equal(used, np.arange(len(head)))
    assert all(len(set(t)) == 3 for t in head.triangles.tolist())
    names = np.array(head.region_names)[head.region]
    rims = {frozenset(names[loop].tolist()) for loop in boundary_loops(head.triangles)}
    assert rims == {
        frozenset({"torso"}),
        frozenset({"teeth", "gums"}),
    }  # the bust's rim and the dental arches
    assert len(boundary_loops(head.triangles)) == 3


def test_normals_point_outwards(head: HeadModel) -> None:
    """Closed pieces enclose a positive volume; open ones face away from what they cover."""
    labels = components(head.triangles, len(head))
    names = np.array(head.region_names)[head.region]
    volumes: dict[str, list[float]] = {}
    for label in np.unique(labels):
        triangles = head.triangles[labels[head.triangles[:, 0]] == label]
        a, b, c = (head.vertices[triangles[:, i]].astype(np.float64) for i in range(3))
        name = names[triangles[0, 0]] if names[triangles[0, 0]] != "pupil" else "eye"
        volumes.setdefault(name, []).append(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6 * 1e6)
    assert [round(v, 1) for v in volumes["eye"]] == pytest.approx([7.0, 7.0], abs=1.5)  # cubic centimeters
    assert all(v > 3 for v in volumes["ears"]) and len(volumes["ears"]) == 2
    assert 5 < volumes["tongue"][0] < 40
    normals = head.normals()
    skull = head.region_mask("scalp")
    outward = head.vertices[skull] - (0, 0, -0.07)
    assert ((normals[skull] * outward).sum(1) > 0).all()
    crowns = head.region_mask("teeth") & (np.abs(head.vertices[:, 0]) < 0.008)
    row = head.vertices[:, 2] > np.quantile(head.vertices[crowns, 2], 0.7)
    assert (normals[crowns & row, 2] > 0).mean() > 0.9
    bag = head.region_mask("mouth") & (head.vertices[:, 2] < 0)
    inward = (0, -0.071, -0.008) - head.vertices[bag]
    assert ((normals[bag] * inward).sum(1) > 0).mean() > 0.95


def test_face_and_cranium_join_without_a_crease(head: HeadModel) -> None:
    loops = boundary_loops(butterfly(face_topology(), 468)[1])
    oval = next(set(loop) for loop in loops if OVAL[0] in loop)
    assert len(oval) == 72
    across = angles_between(head, head.vertices, oval)
    assert len(across) == 72
    assert np.median(across) < 8
    assert across.max() < 35
    skull = set(np.flatnonzero(head.region_mask("scalp", "neck", "torso")).tolist())
    assert np.percentile(angles_between(head, head.vertices, skull), 99.5) < 30


@pytest.mark.parametrize("neck", [(0, 30, 0), (0, -30, 0), (25, 0, 0), (-25, 0, 0), (0, 0, 20), (15, 25, 10)])
def test_the_neck_turns_without_folds(head: HeadModel, neck: tuple[float, ...]) -> None:
    posed = head.posed(neck=np.deg2rad(neck))
    throat = np.isin(head.triangles, np.flatnonzero(head.region_mask("neck", "torso"))).all(1)
    triangles = head.triangles[throat]

    def frame(vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        a, b, c = (vertices[triangles[:, i]] for i in range(3))
        cross = np.cross(b - a, c - a)
        area = np.linalg.norm(cross, axis=1)
        return cross / area[:, None], area

    (before, area), (after, area_after) = frame(head.vertices), frame(posed)
    assert (area_after > 0.3 * area).all()
    assert (area_after < 3 * area).all()
    # In the torso's own frame no triangle turns by more than the head does, and none turns over.
    assert ((before * after).sum(1) > np.cos(np.deg2rad(np.linalg.norm(neck) + 35))).all()


def test_skinning(head: HeadModel) -> None:
    np.testing.assert_allclose(head.skinning.sum(1), 1, atol=1e-6)
    assert head.skinning.min() >= 0
    eyes = head.region_mask("sclera", "iris", "pupil")
    np.testing.assert_array_equal(head.skinning[eyes][:, 3:].max(1), 1)
    assert head.skinning[~eyes, 3:].max() == 0
    assert head.skinning[[152, 199, 200], 2].min() > 0.9  # chin
    assert head.skinning[[10, 4, 33, 263], 0].min() > 0.99  # forehead, nose, corners of the eyes
    a, b = edges_of(head.triangles)[0].T
    length = np.linalg.norm(head.vertices[a] - head.vertices[b], axis=1)
    outside = ~head.region_mask("lips", "mouth", "sockets")
    edge = outside[a] & outside[b]
    change = np.abs(head.skinning[a] - head.skinning[b]).max(1)[edge]
    assert (change / length[edge]).max() < 80  # smooth: at most 8 % a millimeter


def test_texture_charts_do_not_overlap(head: HeadModel) -> None:
    assert head.uv.min() >= 0 and head.uv.max() <= 1
    size = 1024
    corners = head.uv[head.uv_triangles].astype(np.float64) * size
    ab, ac = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    assert (np.abs(area) > 1e-3).all()
    cover = np.zeros((size, size), np.int32)
    for triangle, double in zip(corners, area, strict=True):
        low = np.maximum(np.floor(triangle.min(0) - 0.5).astype(int), 0)
        high = np.minimum(np.ceil(triangle.max(0) + 0.5).astype(int), size)
        x, y = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
        inside = np.ones(x.shape, bool)
        for i in range(3):
            (px, py), (qx, qy) = triangle[i], triangle[(i + 1) % 3]
            inside &= np.sign(double) * ((qx - px) * (y - py) - (qy - py) * (x - px)) > 1e-6 * abs(double)
        cover[low[1] : high[1], low[0] : high[0]] += inside
    assert cover.max() == 1
    assert cover.mean() > 0.6


def test_every_region_is_there(head: HeadModel) -> None:
    counts = np.bincount(head.region, minlength=len(head.region_names))
    assert (counts > 0).all()
    lips = head.vertices[head.region_mask("lips")]
    assert 0.045 < np.ptp(lips[:, 0]) < 0.060
    assert 0.012 < np.ptp(lips[:, 1]) < 0.030
    brows = head.vertices[head.region_mask("brows")]
    assert (brows[:, 1] > 0.008).all() and (brows[:, 2] > 0).all()


def test_ears_stand_off_the_head(head: HeadModel) -> None:
    ear = head.vertices[head.region_mask("ears") & (head.vertices[:, 0] > 0)]
    skull = head.vertices[head.region_mask("scalp")]
    assert 0.058 < np.ptp(ear[:, 1]) < 0.072  # adult ears: 59 to 70 mm
    assert 0.012 < ear[:, 0].max() - skull[:, 0].max() + 0.004 < 0.030
    face = head.vertices[:468]
    assert ear[:, 2].max() < face[:, 2].min()


def test_jaw_opens_lower_teeth_and_tongue_only(head: HeadModel) -> None:
    opened = head.shapes[INDEX["jawOpen"]]
    lower = head.region_mask("teeth") & (head.skinning[:, 2] == 1)
    upper = head.region_mask("teeth") & (head.skinning[:, 2] == 0)
    assert np.abs(opened[upper]).max() == 0
    front = lower & (head.vertices[:, 2] > 0.02)
    assert opened[front, 1].max() < -0.02
    # Lower teeth keep their shape: distances are those at rest.
    rest = head.vertices[lower]
    moved = rest + opened[lower]
    np.testing.assert_allclose(
        np.linalg.norm(moved[1:] - moved[0], axis=1), np.linalg.norm(rest[1:] - rest[0], axis=1), atol=1e-6
    )
    assert np.abs(head.shapes[INDEX["mouthFunnel"], lower]).max() == 0
    assert opened[head.region_mask("tongue"), 1].max() < -0.01


def test_tongue_comes_out_between_the_lips(head: HeadModel) -> None:
    posed = head.posed(head.expression_vector(jawOpen=0.6, tongueOut=1.0))
    tongue = posed[head.region_mask("tongue")]
    assert tongue[:, 2].max() > posed[14, 2] + 0.01
    at_lips = np.abs(tongue[:, 2] - posed[14, 2]) < 0.006
    assert at_lips.any()
    assert posed[13, 1] > tongue[at_lips, 1].mean() > posed[14, 1] - 0.004
    others = ~head.region_mask("tongue", "skin", "lips", "mouth", "neck", "scalp")
    assert np.abs(head.shapes[INDEX["tongueOut"], others]).max() < 1e-3


def test_gaze_shapes_move_lids_but_not_eyeballs(head: HeadModel) -> None:
    eyes = head.region_mask("sclera", "iris", "pupil")
    assert np.abs(head.shapes[:, eyes]).max() == 0
    down = head.shapes[INDEX["eyeLookDownLeft"]]
    assert down[386, 1] < -0.001


@pytest.mark.parametrize("coefficient", [0.0, 0.5, 1.0])
def test_lids_stay_in_front_of_the_eyeball(head: HeadModel, coefficient: float) -> None:
    posed = head.posed(head.expression_vector(eyeBlinkLeft=coefficient))
    eye = head.region_mask("iris") & (head.vertices[:, 0] > 0)
    radius = np.linalg.norm(head.vertices[eye] - head.joints[2], axis=1).mean()
    lids = posed[[*LID_UPPER_LEFT, *LID_LOWER_LEFT]]
    assert np.linalg.norm(lids - head.joints[2], axis=1).min() > radius - 1e-4
    if coefficient == 1:
        gap = np.abs(posed[list(LID_UPPER_LEFT)] - posed[list(LID_LOWER_LEFT)])[:, 1]
        assert gap.max() < 0.0005


def test_expressions_leave_torso_and_crown_alone(head: HeadModel) -> None:
    still = (head.skinning[:, 1] > 0.8) | (head.vertices[:, 2] < -0.11)
    assert np.abs(head.shapes[:, still]).max() == 0
    smooth = head.region_mask("neck", "scalp")
    assert np.abs(head.shapes[INDEX["jawOpen"], smooth]).max() > 0.002  # the throat follows the chin


BUILT_ELSEWHERE = """
import sys
for module in sys.argv[1:]:
    __import__(module)
from avatarkit.heads import builtin
print(builtin.build().hash())
"""


@pytest.mark.parametrize(
    ("modules", "environment"),
    [
        ((), {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}),
        (("torch", "mediapipe"), {"OMP_NUM_THREADS": "4", "OPENBLAS_NUM_THREADS": "4"}),
        ((), {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "2"}),
    ],
    ids=["one thread", "four threads, after torch and mediapipe", "another processor's linear algebra"],
)
def test_every_process_builds_the_same_bits(
    head: HeadModel, modules: tuple[str, ...], environment: dict[str, str]
) -> None:
    import mediapipe  # noqa: F401  (whatever these do to the process, the head must not see it)
    import torch  # noqa: F401

    found = subprocess.run(
        [sys.executable, "-c", BUILT_ELSEWHERE, *modules],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == builtin.build().hash() == head.hash()


def test_a_broken_copy_in_the_cache_is_rebuilt(head: HeadModel) -> None:
    builtin.builtin_head()
    (cached,) = home().glob("builtin-*.head.npz")
    assert builtin.builtin_head().hash() == head.hash()
    cached.write_bytes(cached.read_bytes()[: cached.stat().st_size // 2])
    assert builtin.builtin_head().hash() == head.hash()
    assert heads.HeadModel.load(cached).hash() == head.hash()


def test_eyes_of_the_face_surround_the_eyeballs(head: HeadModel) -> None:
    rim = head.vertices[list(EYE_LEFT)]
    np.testing.assert_allclose(rim[:, :2].mean(0), head.joints[2][:2], atol=0.003)
