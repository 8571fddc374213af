"""LPIPS and CSIM with real weights, against the official package and the network's ONNX export."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from avatarkit.files.errors import AvatarkitError
from avatarkit.files.images import read_image
from avatarkit.metrics import csim, lpips


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


@pytest.fixture(scope="module")
def squeeze(model: Callable[[str], Path]) -> lpips.LPIPS:
    network = lpips.load(("squeeze",), model(lpips.SQUEEZE_ARRAYS).parent)
    assert network is not None
    return network


@pytest.mark.parametrize(("name", "reference"), [("photo01", 0.12200369), ("photo02", 0.10213895)])
def test_lpips_squeeze_agrees_with_the_official_package_to_1e5(
    squeeze: lpips.LPIPS, clip: Callable[[str], Path], name: str, reference: float
) -> None:
    # lpips 0.1.4, net="squeeze", the same backbone weights, photo against its Gaussian blur of deviation 2
    image = read_image(clip(name))
    blurred = cv2.GaussianBlur(image, (0, 0), 2)
    assert squeeze(tensor(image), tensor(blurred)).item() == pytest.approx(reference, abs=1e-5)
    assert squeeze(tensor(image), tensor(image)).item() == 0.0


def test_the_spatial_map_averages_to_the_distance(squeeze: lpips.LPIPS) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 3, 96, 112, generator=generator), torch.rand(2, 3, 96, 112, generator=generator)
    spatial = squeeze.spatial(a, b)
    assert spatial.shape == (2, 1, 96, 112)
    torch.testing.assert_close(spatial.mean((1, 2, 3)), squeeze(a, b), rtol=0.05, atol=0)
    torch.testing.assert_close(squeeze.spatial(a, b, squeeze.features(b)), spatial)


@pytest.mark.parametrize("backbone", ["alex", "vgg", "squeeze"])
def test_every_architecture_takes_its_heads_and_gives_gradients(backbone: lpips.Backbone) -> None:
    torch.manual_seed(0)
    network = lpips.LPIPS(backbone)
    network.load_heads(lpips._state(lpips._heads_file(backbone, None)))
    a, b = torch.rand(1, 3, 64, 64, requires_grad=True), torch.rand(1, 3, 64, 64)
    distance = network(a, b)
    distance.sum().backward()
    assert distance.item() > 0 and a.grad is not None and a.grad.abs().max() > 0
    assert not any(p.requires_grad for p in network.parameters())


def test_backbones_load_torchvision_state_dicts_and_refuse_others() -> None:
    # torchvision's AlexNet names its convolutions features.0, .3, .6, .8, .10
    shapes = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
    state = {}
    for i, (outputs, inputs, size) in shapes.items():
        state[f"features.{i}.weight"] = torch.full((outputs, inputs, size, size), float(i))
        state[f"features.{i}.bias"] = torch.full((outputs,), -float(i))
    state["classifier.1.weight"] = torch.zeros(4, 4)
    network = lpips.LPIPS("alex")
    network.load_backbone(state)
    last = next(m for m in network.stages[4].modules() if isinstance(m, torch.nn.Conv2d))
    assert last.weight.unique().tolist() == [10.0] and last.bias is not None
    with pytest.raises(AvatarkitError, match="vgg"):
        lpips.LPIPS("vgg").load_backbone(state)


def test_without_weights_lpips_and_csim_are_none_and_downloads_are_declined() -> None:
    assert lpips.load() is None
    assert csim.load() is None
    with pytest.raises(AvatarkitError, match="AVATARKIT_OFFLINE"):
        lpips.load(("vgg",), download=True)


def test_mobilefacenet_agrees_with_its_onnx_export_to_1e4(model: Callable[[str], Path]) -> None:
    runtime = pytest.importorskip("onnxruntime")
    similarity = csim.load(model(csim.WEIGHTS).parent)
    assert similarity is not None
    session = runtime.InferenceSession(
        str(model("mobilefacenet_foamliu.onnx")), providers=["CPUExecutionProvider"]
    )
    faces = torch.randn(1, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    reference = session.run(None, {"input0": faces.numpy()})[0]
    np.testing.assert_allclose(similarity.network(faces).numpy(), reference, atol=1e-4)


def test_csim_tells_people_apart(model: Callable[[str], Path], clip: Callable[[str], Path]) -> None:
    mediapipe = pytest.importorskip("mediapipe")
    similarity = csim.load(model(csim.WEIGHTS).parent)
    assert similarity is not None
    embeddings = {}
    with mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True) as mesh:
        for name in ("photo02", "photo03", "photo04"):
            image = read_image(clip(name))
            found = mesh.process(image).multi_face_landmarks[0].landmark
            points = np.array([[p.x * image.shape[1], p.y * image.shape[0]] for p in found], np.float32)
            embeddings[name] = csim.aligned(image, points[list(csim.POINTS)])
            softer = cv2.GaussianBlur(image, (0, 0), 1.5)
            assert similarity(softer, image, points) > 0.8
            assert math.isnan(similarity(softer, image, np.full_like(points, np.nan)))
    faces = {n: similarity.network(csim._normalized(f))[0] for n, f in embeddings.items()}
    for a, b in (("photo02", "photo03"), ("photo02", "photo04"), ("photo03", "photo04")):
        assert torch.nn.functional.cosine_similarity(faces[a], faces[b], dim=0) < 0.5


def test_alignment_puts_the_five_points_on_the_template() -> None:
    turn = np.radians(20)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    points = (2.5 * csim.TEMPLATE @ rotation.T + [40, 15]).astype(np.float32)
    motion = csim._similarity(points.astype(np.float64), csim.TEMPLATE.astype(np.float64))
    np.testing.assert_allclose(points @ motion[:, :2].T + motion[:, 2], csim.TEMPLATE, atol=1e-3)
