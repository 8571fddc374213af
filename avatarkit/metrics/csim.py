"""CSIM: whether a rendered face is still the same person, as a face recognition network sees it."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from avatarkit.files.errors import AvatarkitError
from avatarkit.files.home import find

WEIGHTS = "mobilefacenet_foamliu.pt"
ALIGNED = 112
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    np.float32,
)
"""Where the image-left eye, image-right eye, nose tip and mouth corners lie in a 112 x 112 aligned face (ArcFace)."""
POINTS = (468, 473, 1, 61, 291)
"""The same five as mediapipe face-mesh landmarks."""
SETTING = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
"""Bottlenecks of MobileFaceNet (Chen et al. 2018, table 1): expansion, channels, repeats, stride of the first."""


def _unit(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, (size - 1) // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(),
    )


class _Separable(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, 1, 1, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.depthwise(x)))
        return torch.relu(self.bn2(self.pointwise(x)))


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            _unit(inputs, hidden, 1),
            _unit(hidden, hidden, 3, stride, hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class _GlobalDepthwise(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.depthwise(x))


class MobileFaceNet(nn.Module):
    """Aligned faces [N, 3, 112, 112] (ImageNet-normalized RGB) to embeddings [N, 128], not of unit length."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _unit(3, 64, 3, 2)
        self.dw_conv = _Separable(64, 64)
        blocks: list[nn.Module] = []
        inputs = 64
        for expansion, outputs, repeats, stride in SETTING:
            for i in range(repeats):
                blocks.append(_Bottleneck(inputs, outputs, stride if i == 0 else 1, expansion))
                inputs = outputs
        self.features = nn.Sequential(*blocks)
        self.conv2 = _unit(128, 512, 1)
        self.gdconv = _GlobalDepthwise(512)
        self.conv3 = nn.Conv2d(512, 128, 1)
        self.bn = nn.BatchNorm2d(128)
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings of ``x``."""
        x = self.conv2(self.features(self.dw_conv(self.conv1(x))))
        return self.bn(self.conv3(self.gdconv(x))).flatten(1)


class IdentitySimilarity:
    """Cosine between the embeddings of two faces that share their five alignment points."""

    def __init__(self, network: MobileFaceNet) -> None:
        self.network = network

    def __call__(
        self, pred: NDArray[np.uint8], truth: NDArray[np.uint8], landmarks: NDArray[np.floating]
    ) -> float:
        """Cosine in [-1, 1] of two [H, W, 3] uint8 images; ``landmarks`` [478, >= 2] in their pixels.

        NaN where the landmarks are not finite.
        """
        points = np.asarray(landmarks, np.float32)[list(POINTS), :2]
        if not np.isfinite(points).all():
            return float("nan")
        a, b = self.network(torch.cat([_normalized(aligned(image, points)) for image in (pred, truth)]))
        return float(torch.nn.functional.cosine_similarity(a, b, dim=0))


def aligned(image: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The [112, 112, 3] face whose five ``points`` [5, 2] lie on ``TEMPLATE`` as well as a similarity can."""
    import cv2

    motion = _similarity(points.astype(np.float64) - 0.5, TEMPLATE.astype(np.float64))
    warped = cv2.warpAffine(
        image, motion, (ALIGNED, ALIGNED), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(warped, np.uint8)


def _similarity(source: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """[2, 3] least-squares similarity from ``source`` to ``target`` [N, 2] (Umeyama 1991)."""
    a, b = source - source.mean(0), target - target.mean(0)
    u, s, vt = np.linalg.svd(b.T @ a)
    flip = np.array([1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ np.diag(flip) @ vt
    scale = (s * flip).sum() / max((a * a).sum(), 1e-12)
    return np.hstack([scale * rotation, (target.mean(0) - scale * rotation @ source.mean(0))[:, None]])


def _normalized(image: NDArray[np.uint8]) -> Tensor:
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (torch.from_numpy(image).float() / 255 - mean) / deviation
    return x.permute(2, 0, 1)[None]


def load(folder: Path | None = None) -> IdentitySimilarity | None:
    """CSIM with the weights ``mobilefacenet_foamliu.pt`` of ``folder`` or ``AVATARKIT_HOME``; None where they are not.

    Raises AvatarkitError when the file is damaged.
    """
    path = folder / WEIGHTS if folder is not None and (folder / WEIGHTS).is_file() else find(WEIGHTS)
    if path is None:
        return None
    network = MobileFaceNet()
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise AvatarkitError(
            f"{path}: not MobileFaceNet's weights; remove it to go on without CSIM"
        ) from error
    return IdentitySimilarity(network)
