"""The rasterizer: native kernels against their twins, gradients against finite differences, corner cases."""

import numpy as np
import pytest
import torch

from avatarkit.ops import native, raster
from avatarkit.ops import raster_reference as twin

needs_native = pytest.mark.skipif(native.module() is None, reason="native kernels are not built")


def grid_mesh(rows=9, columns=11, height=40.0, width=56.0, seed=0):
    """A wavy sheet that folds over itself: [V, 3] pixels and depth, [F, 3]."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(np.linspace(3, height - 3, rows), np.linspace(3, width - 3, columns), indexing="ij")
    z = 2 + 0.7 * np.sin(x / 7) + 0.5 * np.cos(y / 5)
    points = np.stack([x, y, z], -1).reshape(-1, 3)
    points[:, :2] += rng.uniform(-3, 3, (len(points), 2))
    a = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).reshape(-1)
    t = np.concatenate(
        [np.stack([a, a + 1, a + columns], 1), np.stack([a + 1, a + columns + 1, a + columns], 1)]
    )
    return torch.tensor(points, dtype=torch.float32), torch.tensor(t, dtype=torch.int32)


def random_soup(triangles=60, size=48, seed=1):
    rng = np.random.default_rng(seed)
    center = rng.uniform(-8, size + 8, (triangles, 1, 2))
    points = np.concatenate(
        [center + rng.uniform(-14, 14, (triangles, 3, 2)), rng.uniform(0.5, 3, (triangles, 3, 1))], 2
    )
    index = np.arange(3 * triangles).reshape(-1, 3)
    return torch.tensor(points.reshape(-1, 3), dtype=torch.float32), torch.tensor(index, dtype=torch.int32)


@needs_native
@pytest.mark.parametrize("perspective", [True, False])
@pytest.mark.parametrize("make", [grid_mesh, random_soup])
def test_forward_agrees_with_twin(make, perspective):
    vertices, triangles = make()
    face, barycentric, depth = raster.rasterize(vertices, triangles, 48, 61, perspective)
    expected = twin.rasterize(vertices[None], triangles, 48, 61, perspective)
    same = face == expected[0][0]
    assert (face >= 0).sum() > 300
    assert same.float().mean() > 0.998  # centers within rounding of an edge
    torch.testing.assert_close(barycentric[same], expected[1][0][same], atol=2e-4, rtol=0)
    torch.testing.assert_close(depth[same], expected[2][0][same], atol=2e-4, rtol=1e-4)


@needs_native
def test_batch_equals_single_images():
    a, triangles = grid_mesh(seed=0)
    b, _ = grid_mesh(seed=3)
    batch = raster.rasterize(torch.stack([a, b]), triangles, 40, 56)
    for i, vertices in enumerate((a, b)):
        for one, many in zip(raster.rasterize(vertices, triangles, 40, 56), batch, strict=True):
            assert torch.equal(one, many[i])


def test_barycentrics_are_perspective_correct():
    """A tilted plane: attributes linear in space must come out at their true place."""
    points = torch.tensor([[-1.0, -1, 2], [1.5, -0.8, 5], [0.9, 1.2, 3], [-1, 1.1, 2.2]])
    normal = torch.linalg.cross(points[1] - points[0], points[2] - points[0])
    points[3, 2] = points[0, 2] - ((points[3, :2] - points[0, :2]) * normal[:2]).sum() / normal[2]
    pixels = torch.cat([points[:, :2] / points[:, 2:] * 60 + 32, points[:, 2:]], 1)
    triangles = torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32)
    face, barycentric, depth = raster.rasterize(pixels, triangles, 64, 64)
    place = raster.interpolate(points, triangles, face, barycentric)
    row, column = torch.nonzero(face >= 0, as_tuple=True)
    seen = place[row, column]
    assert len(seen) > 500
    torch.testing.assert_close(seen[:, 0] / seen[:, 2] * 60 + 32, column + 0.5, atol=1e-3, rtol=0)
    torch.testing.assert_close(seen[:, 1] / seen[:, 2] * 60 + 32, row + 0.5, atol=1e-3, rtol=0)
    torch.testing.assert_close(depth[row, column], seen[:, 2], atol=1e-5, rtol=1e-5)


@needs_native
def test_shared_edges_leave_no_crack_and_no_overlap():
    """A fan around pixel centers: every pixel is covered by exactly one of the sheet's triangles."""
    rows = columns = 17
    y, x = np.meshgrid(np.arange(rows) * 2 + 0.5, np.arange(columns) * 2 + 0.5, indexing="ij")
    points = torch.tensor(np.stack([x, y, np.ones_like(x)], -1).reshape(-1, 3), dtype=torch.float32)
    a = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).reshape(-1)
    t = np.concatenate(
        [np.stack([a, a + 1, a + columns], 1), np.stack([a + 1, a + columns + 1, a + columns], 1)]
    )
    triangles = torch.tensor(t, dtype=torch.int32)
    face, _, _ = raster.rasterize(points, triangles, 33, 33)
    assert bool((face[1:32, 1:32] >= 0).all())
    cover = sum((raster.rasterize(points, triangles[i : i + 1], 33, 33)[0] >= 0).int() for i in range(len(t)))
    assert int(cover.max()) == 1
    assert bool((cover[1:32, 1:32] == 1).all())


@pytest.mark.parametrize("perspective", [True, False])
def test_twin_gradients_match_finite_differences(perspective):
    vertices, triangles = grid_mesh(rows=4, columns=5, height=12, width=14)
    vertices = vertices.double().requires_grad_()
    face, _, _ = twin.rasterize(vertices[None], triangles, 12, 14, perspective)
    weight = torch.randn(*face.shape, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def energy(v):
        _, b, d = twin.rasterize(v[None], triangles, 12, 14, perspective)
        return (torch.cat([b, d[..., None]], -1) * weight).sum()

    assert torch.autograd.gradcheck(energy, vertices, eps=1e-7, atol=1e-4)


@needs_native
@pytest.mark.parametrize("perspective", [True, False])
def test_native_vertex_gradients_match_twin(perspective):
    vertices, triangles = random_soup(seed=4)
    results = []
    face = raster.rasterize(vertices, triangles, 48, 48, perspective)[0]
    agree = (face == twin.rasterize(vertices[None], triangles, 48, 48, perspective)[0][0])[..., None]
    weight = torch.randn(48, 48, 4, generator=torch.Generator().manual_seed(0)) * agree

    def reference(v):
        return [x[0] for x in twin.rasterize(v.double()[None], triangles, 48, 48, perspective)]

    for run in (lambda v: raster.rasterize(v, triangles, 48, 48, perspective), reference):
        v = vertices.clone().requires_grad_()
        _, b, d = run(v)
        (torch.cat([b, d[..., None]], -1) * weight).sum().backward()
        results.append(v.grad)
    assert results[1].abs().max() > 1
    torch.testing.assert_close(results[0], results[1], rtol=2e-3, atol=2e-3 * float(results[1].abs().max()))


@needs_native
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("per_image", [False, True])
def test_interpolation_agrees_with_twin(channels, per_image):
    a, triangles = grid_mesh()
    b, _ = grid_mesh(seed=2)
    face, barycentric, _ = raster.rasterize(torch.stack([a, b]), triangles, 40, 56)
    rng = torch.Generator().manual_seed(0)
    shape = (2, len(a), channels) if per_image else (len(a), channels)
    values = torch.randn(shape, generator=rng)
    weight = torch.randn(2, 40, 56, channels, generator=rng)
    outcome = []
    for run in (raster.interpolate, twin.interpolate):
        v, w = values.clone().requires_grad_(), barycentric.clone().requires_grad_()
        out = run(v, triangles, face, w)
        (out * weight).sum().backward()
        outcome.append((out, v.grad, w.grad * (face >= 0)[..., None]))
    for ours, reference in zip(*outcome, strict=True):
        torch.testing.assert_close(ours, reference, atol=2e-5, rtol=1e-4)


@needs_native
@pytest.mark.parametrize("channels", [1, 3, 4, 5])
def test_texture_agrees_with_twin(channels):
    rng = torch.Generator().manual_seed(0)
    image = torch.rand(9, 13, channels, generator=rng)
    uv = torch.rand(7, 50, 2, generator=rng) * 1.4 - 0.2  # some outside: clamped
    face = torch.randint(-1, 3, (7, 50), generator=rng, dtype=torch.int32)
    weight = torch.randn(7, 50, channels, generator=rng)
    outcome = []
    for run in (
        raster.texture,
        lambda i, u, f: twin.texture(i, u.reshape(-1, 2), f.reshape(-1)).reshape(weight.shape),
    ):
        i, u = image.clone().requires_grad_(), uv.clone().requires_grad_()
        out = run(i, u, face)
        (out * weight).sum().backward()
        outcome.append((out, i.grad, u.grad))
    for ours, reference in zip(*outcome, strict=True):
        torch.testing.assert_close(ours, reference, atol=1e-4, rtol=1e-4)


def test_twin_texture_and_interpolation_gradients_match_finite_differences():
    rng = torch.Generator().manual_seed(0)
    image = torch.rand(4, 5, 2, generator=rng, dtype=torch.float64).requires_grad_()
    uv = torch.rand(12, 2, generator=rng, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda i, u: twin.texture(i, u, None), (image, uv))
    vertices, triangles = grid_mesh(rows=3, columns=3, height=8, width=8)
    face, barycentric, _ = twin.rasterize(vertices.double()[None], triangles, 8, 8, True)
    values = torch.rand(len(vertices), 2, generator=rng, dtype=torch.float64).requires_grad_()
    barycentric = barycentric.clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda v, b: twin.interpolate(v, triangles, face, b), (values, barycentric)
    )


def test_texture_orientation():
    image = torch.zeros(2, 2, 1)
    image[0, 1] = 1  # first row, last column: u = 1, v = 1
    assert float(raster.texture(image, torch.tensor([[0.9, 0.9]]))) == pytest.approx(1)
    assert float(raster.texture(image, torch.tensor([[0.9, 0.1]]))) == pytest.approx(0)
    assert float(raster.texture(image, torch.tensor([[0.5, 0.75]]))) == pytest.approx(0.5)


def disc(radius, center, segments=48):
    angle = np.linspace(0, 2 * np.pi, segments, endpoint=False)
    rim = np.stack([center[0] + radius * np.cos(angle), center[1] + radius * np.sin(angle)], 1)
    points = np.concatenate([np.concatenate([rim, [center]]), np.ones((segments + 1, 1))], 1)
    i = np.arange(segments)
    triangles = np.stack([i, (i + 1) % segments, np.full(segments, segments)], 1)
    return torch.tensor(points, dtype=torch.float32), torch.tensor(triangles, dtype=torch.int32)


def coverage(vertices, triangles, size=32):
    face, _, depth = raster.rasterize(vertices, triangles, size, size)
    mask = (face >= 0).to(vertices.dtype)[..., None]
    return raster.antialias(mask, vertices, triangles, raster.edge_opposites(triangles), face, depth)


def test_antialiased_alpha_measures_the_area():
    for radius in (6.3, 7.1, 9.47):
        vertices, triangles = disc(radius, (16.21, 15.83))
        exact = 48 / 2 * np.sin(2 * np.pi / 48) * radius**2
        soft = float(coverage(vertices, triangles).sum())
        hard = float((raster.rasterize(vertices, triangles, 32, 32)[0] >= 0).sum())
        assert abs(soft - exact) < 0.02 * exact, (soft, exact)
        assert abs(soft - exact) < abs(hard - exact) + 1


def test_antialiasing_moves_the_outline():
    """d area / d radius = circumference; the interior edges of the fan stay untouched."""
    vertices, triangles = disc(8.0, (16.1, 15.9))
    scale = torch.tensor(1.0, requires_grad=True)
    center = torch.tensor([16.1, 15.9, 0.0])
    grown = torch.cat([(vertices - center)[:, :2] * scale + center[:2], vertices[:, 2:]], 1)
    alpha = coverage(grown, triangles)
    alpha.sum().backward()
    assert float(scale.grad) == pytest.approx(2 * np.pi * 8.0**2, rel=0.12)
    inside = alpha[12:20, 12:20]
    assert bool((inside == 1).all())


def test_antialias_gradients_match_finite_differences():
    vertices, triangles = disc(5.2, (8.1, 7.9), segments=7)
    vertices = vertices.double()
    opposite = raster.edge_opposites(triangles)
    face, _, depth = twin.rasterize(vertices[None], triangles, 16, 16, True)
    pairs = twin.silhouette_pairs(vertices[None], triangles, opposite, face, depth)
    assert len(pairs) > 20
    rng = torch.Generator().manual_seed(0)
    color = torch.rand(1, 16, 16, 2, generator=rng, dtype=torch.float64).requires_grad_()
    moving = vertices.clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda c, v: twin.blend_silhouettes(c, v[None], (16, 16), pairs), (color, moving), eps=1e-7, atol=1e-5
    )


@needs_native
def test_silhouette_pairs_agree_with_twin():
    vertices, triangles = grid_mesh()
    vertices[:, 0] += 6 * torch.sin(vertices[:, 1] / 4)
    opposite = raster.edge_opposites(triangles)
    face, _, depth = raster.rasterize(vertices, triangles, 40, 60)
    module = native.module()
    ours = module.silhouette_pairs(vertices[None], triangles, opposite, face[None], depth[None])
    reference = twin.silhouette_pairs(vertices[None], triangles, opposite, face[None], depth[None])
    ours, reference = ({tuple(r) for r in np.asarray(x).tolist()} for x in (ours, reference))
    assert len(ours) > 60
    assert len(ours ^ reference) <= 0.02 * len(ours)


def test_edge_opposites():
    triangles = torch.tensor([[0, 1, 2], [2, 1, 3]])
    assert raster.edge_opposites(triangles).tolist() == [[3, -1, -1], [-1, -1, 0]]
    assert raster.edge_opposites(torch.zeros(0, 3)).shape == (0, 3)


@pytest.mark.parametrize("vertices", [
    torch.zeros(0, 3),
    torch.tensor([[5.0, 5, 1], [9, 9, 1], [13, 13, 1]]),                   # degenerate: a line
    torch.tensor([[5.0, 5, 1], [5, 5, 1], [5, 5, 1]]),                     # degenerate: a point
    torch.tensor([[-9.0, -9, 1], [-2, -9, 1], [-2, -3, 1]]),               # off screen
    torch.tensor([[1e30, 0, 1], [0, 1e30, 1], [0, 0, 1]]),                 # overflows
    torch.tensor([[float("nan"), 3, 1], [9, 3, 1], [9, 9, 1]]),
    torch.tensor([[2.0, 2, -1], [9, 3, 1], [9, 9, 1]]),                    # reaches behind the camera
])  # fmt: skip
def test_nothing_to_draw(vertices):
    triangles = torch.zeros(0, 3) if not len(vertices) else torch.tensor([[0, 1, 2]])
    for run in (raster.rasterize, lambda *a: twin.rasterize(a[0][None], *a[1:], True)):
        v = vertices.clone().requires_grad_()
        face, barycentric, depth = run(v, triangles.int(), 16, 16)
        assert bool((face == -1).all())
        assert not barycentric.any()
        (barycentric.sum() + depth.sum()).backward()
        assert v.grad is None or float(v.grad.abs().sum()) == 0


def test_partly_off_screen_and_huge_triangle_cover_the_image():
    vertices = torch.tensor([[-4000.0, -3000, 2], [5000, -3000, 2], [20, 6000, 2]])
    face, _, depth = raster.rasterize(vertices, torch.tensor([[0, 1, 2]]), 20, 37)
    assert bool((face == 0).all())
    torch.testing.assert_close(depth, torch.full_like(depth, 2), rtol=1e-4, atol=0)


def test_non_contiguous_input_and_empty_image():
    vertices, triangles = grid_mesh()
    wide = torch.stack([vertices, vertices], 1)[:, 0]
    flipped = triangles.t().contiguous().t()
    for ours, plain in zip(raster.rasterize(wide, flipped, 40, 56),
                           raster.rasterize(vertices, triangles, 40, 56), strict=True):  # fmt: skip
        assert torch.equal(ours, plain)
    assert raster.rasterize(vertices, triangles, 0, 56)[0].shape == (0, 56)


@needs_native
def test_same_bits_for_any_number_of_threads():
    vertices, triangles = random_soup(400, 96)
    weight = torch.randn(96, 96, 3, generator=torch.Generator().manual_seed(0))
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3):
            native.set_threads(threads)
            v = vertices.clone().requires_grad_()
            face, barycentric, depth = raster.rasterize(v, triangles, 96, 96)
            ((barycentric * weight).sum() + depth.sum()).backward()
            results.append((face, barycentric.detach(), v.grad))
    finally:
        native.set_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_wrong_shapes_are_refused():
    vertices, triangles = grid_mesh()
    with pytest.raises(ValueError, match="vertices must be"):
        raster.rasterize(vertices[:, :2], triangles, 8, 8)
    with pytest.raises(ValueError, match="outside 0"):
        raster.rasterize(vertices[:5], triangles, 8, 8)
    with pytest.raises(ValueError, match="triangles must be"):
        raster.rasterize(vertices, triangles[:, :2], 8, 8)
    with pytest.raises(ValueError, match="texture must be"):
        raster.texture(torch.zeros(0, 4, 3), torch.zeros(2, 2))


@pytest.fixture
def by_pytorch3d() -> raster.Rasterizer:
    try:
        return raster.rasterizer("pytorch3d")
    except ImportError as error:
        pytest.skip(f"pytorch3d cannot be imported here ({error})")


@pytest.mark.parametrize("perspective", [True, False])
@pytest.mark.parametrize("size", [(48, 61), (64, 40), (56, 56)])
@pytest.mark.parametrize("make", [grid_mesh, random_soup])
def test_pytorch3d_gives_the_same_fragments(by_pytorch3d, make, size, perspective):
    vertices, triangles = make()
    vertices[5, 2] = -0.5  # behind the camera: the triangles around it go, where there is perspective
    ours = raster.rasterize(vertices, triangles, *size, perspective)
    theirs = by_pytorch3d(vertices, triangles, *size, perspective)
    assert theirs[0].dtype == torch.int32 and [t.shape for t in ours] == [t.shape for t in theirs]
    same = ours[0] == theirs[0]
    assert (ours[0] >= 0).sum() > 300 and same.float().mean() > 0.995
    torch.testing.assert_close(theirs[1][same], ours[1][same], atol=1e-3, rtol=0)
    torch.testing.assert_close(theirs[2][same], ours[2][same], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("perspective", [True, False])
def test_pytorch3d_gives_the_same_gradients(by_pytorch3d, perspective):
    vertices, triangles = grid_mesh()
    weight = torch.rand(40, 56, 4, generator=torch.Generator().manual_seed(0))
    gradients = []
    for rasterize in (raster.rasterize, by_pytorch3d):
        leaf = torch.stack([vertices, vertices + 0.2]).requires_grad_()
        face, barycentric, depth = rasterize(leaf, triangles, 40, 56, perspective)
        assert face.shape == (2, 40, 56)
        (torch.cat([barycentric, depth[..., None]], -1)[1] * weight).sum().backward()
        gradients.append(leaf.grad)
    ours, theirs = gradients
    assert float(ours[0].abs().max()) == 0 and float(ours[1].abs().max()) > 0.1
    assert float((theirs - ours).norm() / ours.norm()) < 0.05  # pixels on an edge may fall to the other side


def test_a_backend_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="choose native or pytorch3d"):
        raster.rasterizer("opengl")
    assert raster.rasterizer() is raster.rasterize
