"""BiSeNet face parsing (Yu et al. 2018, "BiSeNet: Bilateral Segmentation Network"), 19 classes of CelebAMask-HQ.

The variant of zllrunning's face-parsing.PyTorch for inference, with the parameter names of its checkpoint:
a ResNet-18 context path, whose features at 1/8 stand in for the paper's spatial path.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from avatarkit.segmentation.checkpoints import Checkpoint, load
from avatarkit.segmentation.parsing import CLASSES, CLOTH, EARS, HAIR, OTHER, SKIN, Sample
from avatarkit.segmentation.window import GRID

CHECKPOINT = Checkpoint(
    network="BiSeNet",
    name="parsing_bisenet.pth",
    url="https://github.com/xinntao/facexlib/releases/download/v0.2.0/parsing_bisenet.pth",
    sha256="468e13ca13a9b43cc0881a9f99083a430e9c0a38abd935431d1c28ee94b26567",
    mark="cp.arm16.conv_atten.weight",
)
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PARTS = (
    "background", "skin", "l_brow", "r_brow", "l_eye", "r_eye", "glasses", "l_ear", "r_ear", "earring",
    "nose", "mouth", "u_lip", "l_lip", "neck", "necklace", "cloth", "hair", "hat",
)  # fmt: skip
"""The network's classes, in its order."""
MEANING = {"glasses": OTHER, "earring": OTHER, "necklace": OTHER, "hat": OTHER, "cloth": CLOTH, "hair": HAIR}
"""Which of our classes a part belongs to; all others but the background are skin."""


class ConvBNReLU(nn.Module):
    """Convolution without bias, batch normalization, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H, W]."""
        return F.relu(self.bn(self.conv(x)))


class BasicBlock(nn.Module):
    """ResNet's two-convolution block (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Sequential | None = None
        if inputs != outputs or stride != 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H / stride, W / stride]."""
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(residual + (x if self.downsample is None else self.downsample(x)))


class Resnet18(nn.Module):
    """Features at 1/8 (128 channels), 1/16 (256) and 1/32 (512)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        self.layer2 = nn.Sequential(BasicBlock(64, 128, 2), BasicBlock(128, 128, 1))
        self.layer3 = nn.Sequential(BasicBlock(128, 256, 2), BasicBlock(256, 256, 1))
        self.layer4 = nn.Sequential(BasicBlock(256, 512, 2), BasicBlock(512, 512, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of images [N, 3, H, W]."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        eighth = self.layer2(self.layer1(x))
        sixteenth = self.layer3(eighth)
        return eighth, sixteenth, self.layer4(sixteenth)


class AttentionRefinement(nn.Module):
    """The paper's attention refinement module: channels weighted by their own global mean."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = ConvBNReLU(inputs, outputs)
        self.conv_atten = nn.Conv2d(outputs, outputs, 1, bias=False)
        self.bn_atten = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H, W]."""
        features = self.conv(x)
        weight = torch.sigmoid(self.bn_atten(self.conv_atten(F.adaptive_avg_pool2d(features, 1))))
        return features * weight


class ContextPath(nn.Module):
    """Large receptive field: refined features of 1/32 and 1/16, summed upwards."""

    def __init__(self) -> None:
        super().__init__()
        self.resnet = Resnet18()
        self.arm16 = AttentionRefinement(256, 128)
        self.arm32 = AttentionRefinement(512, 128)
        self.conv_head32 = ConvBNReLU(128, 128)
        self.conv_head16 = ConvBNReLU(128, 128)
        self.conv_avg = ConvBNReLU(512, 128, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """ResNet's features at 1/8, the path's at 1/8 and at 1/16, 128 channels each."""
        eighth, sixteenth, last = self.resnet(x)
        tail = self.conv_avg(F.adaptive_avg_pool2d(last, 1))
        up = F.interpolate(self.arm32(last) + tail, sixteenth.shape[2:], mode="nearest")
        context16 = self.conv_head32(up)
        up = F.interpolate(self.arm16(sixteenth) + context16, eighth.shape[2:], mode="nearest")
        return eighth, self.conv_head16(up), context16


class FeatureFusion(nn.Module):
    """The paper's feature fusion module."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convblk = ConvBNReLU(inputs, outputs, 1)
        self.conv1 = nn.Conv2d(outputs, outputs // 4, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs // 4, outputs, 1, bias=False)

    def forward(self, spatial: Tensor, context: Tensor) -> Tensor:
        """[N, outputs, H, W]"""
        features = self.convblk(torch.cat([spatial, context], 1))
        weight = torch.sigmoid(self.conv2(F.relu(self.conv1(F.adaptive_avg_pool2d(features, 1)))))
        return features + features * weight


class Output(nn.Module):
    """A head: class scores from features."""

    def __init__(self, inputs: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.conv = ConvBNReLU(inputs, hidden)
        self.conv_out = nn.Conv2d(hidden, classes, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, classes, H, W]"""
        result: Tensor = self.conv_out(self.conv(x))
        return result


class BiSeNet(nn.Module):
    """Class scores [N, 19, H, W] of images [N, 3, H, W] normalized by ImageNet's mean and deviation."""

    def __init__(self, classes: int = len(PARTS)) -> None:
        super().__init__()
        self.cp = ContextPath()
        self.ffm = FeatureFusion(256, 256)
        self.conv_out = Output(256, 256, classes)
        # used by the training loss alone, but part of the checkpoint
        self.conv_out16 = Output(128, 64, classes)
        self.conv_out32 = Output(128, 64, classes)

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        eighth, context, _ = self.cp(image)
        scores = self.conv_out(self.ffm(eighth, context))
        return F.interpolate(scores, image.shape[2:], mode="bilinear", align_corners=True)


class BisenetParser:
    """BiSeNet as a parsing back end (see ``parsing.Parser``)."""

    name = "bisenet"
    side = 512
    parts: tuple[int, ...] = (SKIN, HAIR, CLOTH, EARS)

    def __init__(self, weights: tuple[Path, ...] = ()) -> None:
        """Raises AvatarkitError when the checkpoint cannot be had or does not fit."""
        self.network = BiSeNet()
        load(self.network, CHECKPOINT, weights)
        ours = torch.zeros(CLASSES + 1, len(PARTS))
        for i, part in enumerate(PARTS):
            if part != "background":
                ours[MEANING.get(part, SKIN), i] = 1
            ours[EARS, i] = part in ("l_ear", "r_ear")
        self._ours = ours

    def learn(self, samples: Sequence[Sample]) -> None:
        """Nothing: the network comes trained."""

    @torch.inference_mode()
    def probabilities(self, sample: Sample) -> NDArray[np.float32]:
        """[GRID, GRID, CLASSES + 1] of the parts that are not background; uniform where all is background."""
        image = sample.detail
        if image.shape[:2] != (self.side, self.side):
            image = np.asarray(cv2.resize(image, (self.side, self.side), interpolation=cv2.INTER_LINEAR))
        x = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None] / 255
        x = (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(DEVIATION).view(3, 1, 1)
        parts = F.interpolate(self.network(x).softmax(1), (GRID, GRID), mode="area")[0]
        classes = torch.einsum("cp,phw->hwc", self._ours, parts) + 1e-4
        return np.ascontiguousarray((classes / classes[..., :CLASSES].sum(-1, keepdim=True)).numpy())
