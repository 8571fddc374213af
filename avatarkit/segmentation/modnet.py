"""MODNet (Ke et al. 2022, "MODNet: Real-Time Trimap-Free Portrait Matting via Objective Decomposition").

The published network for inference, with the parameter names of the authors' checkpoints. A low-resolution
branch finds the person, a high-resolution branch the detail at its edge, a fusion branch the matte.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from avatarkit.segmentation.checkpoints import Checkpoint, load
from avatarkit.segmentation.window import GRID

CHECKPOINT = Checkpoint(
    network="MODNet",
    name="matting_modnet_portrait.pth",
    url="https://github.com/xinntao/facexlib/releases/download/v0.2.0/matting_modnet_portrait.pth",
    sha256="7c22235f0925deba15d4d63e53afcb654c47055bbcd98f56e393ab2584007ed8",
    mark="f_branch.conv_lr4x.layers.0.weight",
)
ENCODER = (16, 24, 32, 96, 1280)
"""Channels of the encoder at 1/2, 1/4, 1/8, 1/16, 1/32 of the image."""
BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""MobileNetV2 (Sandler et al. 2018, table 2): expansion, channels, repeats, stride."""
STAGES = (2, 4, 7, 14, 19)
"""How many of the encoder's 19 layers are done when it reaches 1/2, 1/4, 1/8, 1/16, 1/32."""


class IBNorm(nn.Module):
    """Batch normalization of the first half of the channels, instance normalization of the second."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.split = channels // 2, channels - channels // 2
        self.bnorm = nn.BatchNorm2d(self.split[0])
        self.inorm = nn.InstanceNorm2d(self.split[1], affine=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to the same."""
        first, second = x.split(self.split, 1)
        return torch.cat([self.bnorm(first.contiguous()), self.inorm(second.contiguous())], 1)


class Convolution(nn.Module):
    """Convolution, IBNorm, ReLU; the last two can be left out together."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, plain: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)]
        if not plain:
            layers += [IBNorm(outputs), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H / stride, W / stride]."""
        result: Tensor = self.layers(x)
        return result


class InvertedResidual(nn.Module):
    """MobileNetV2's block: widen, convolve each channel, narrow; a shortcut where the shape stays."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        widen: list[nn.Module] = []
        if expansion != 1:
            widen = [nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(inplace=True)]
        self.conv = nn.Sequential(
            *widen,
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H / stride, W / stride]."""
        result: Tensor = self.conv(x)
        return x + result if self.shortcut else result


class MobileNetV2(nn.Module):
    """The encoder's 19 layers, without a classifier."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_plain(3, 32, 3, 2)]
        channels = 32
        for expansion, outputs, repeats, stride in BLOCKS:
            for i in range(repeats):
                layers.append(InvertedResidual(channels, outputs, stride if i == 0 else 1, expansion))
                channels = outputs
        layers.append(_plain(channels, ENCODER[-1], 1, 1))
        self.features = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features at 1/2, 1/4, 1/8, 1/16, 1/32 of an image [N, 3, H, W]."""
        result = []
        for begin, end in zip((0, *STAGES), STAGES, strict=False):
            x = self.features[begin:end](x)
            result.append(x)
        return result


class Backbone(nn.Module):
    """Holds the encoder under the name it has in the checkpoints."""

    def __init__(self) -> None:
        super().__init__()
        self.model = MobileNetV2()

    def forward(self, x: Tensor) -> list[Tensor]:
        """See ``MobileNetV2``."""
        result: list[Tensor] = self.model(x)
        return result


class Attention(nn.Module):
    """Squeeze-and-excitation (Hu et al. 2018) with a reduction of 4."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(channels, channels // 4, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(channels // 4, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to the same."""
        weight: Tensor = self.fc(x.mean((2, 3)))
        return x * weight[:, :, None, None]


class LowResolution(nn.Module):
    """Where the person is, at 1/8 of the image."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.se_block = Attention(ENCODER[4])
        self.conv_lr16x = Convolution(ENCODER[4], ENCODER[3], 5)
        self.conv_lr8x = Convolution(ENCODER[3], ENCODER[2], 5)
        # used by the training loss alone, but part of the checkpoints
        self.conv_lr = Convolution(ENCODER[2], 1, 3, stride=2, plain=True)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features at 1/8 [N, 32, ...] and the encoder's at 1/2 and 1/4."""
        features = self.backbone(image)
        x = self.conv_lr16x(_scaled(self.se_block(features[4]), 2))
        return self.conv_lr8x(_scaled(x, 2)), features[0], features[1]


class HighResolution(nn.Module):
    """The detail at the person's edge, at 1/2 of the image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        c = channels
        self.tohr_enc2x = Convolution(ENCODER[0], c, 1)
        self.conv_enc2x = Convolution(c + 3, c, 3, stride=2)
        self.tohr_enc4x = Convolution(ENCODER[1], c, 1)
        self.conv_enc4x = Convolution(2 * c, 2 * c, 3)
        self.conv_hr4x = nn.Sequential(
            Convolution(3 * c + 3, 2 * c, 3), Convolution(2 * c, 2 * c, 3), Convolution(2 * c, c, 3)
        )
        self.conv_hr2x = nn.Sequential(
            Convolution(2 * c, 2 * c, 3), Convolution(2 * c, c, 3), Convolution(c, c, 3), Convolution(c, c, 3)
        )
        # used by the training loss alone, but part of the checkpoints
        self.conv_hr = nn.Sequential(Convolution(c + 3, c, 3), Convolution(c, 1, 1, plain=True))

    def forward(self, image: Tensor, half: Tensor, quarter: Tensor, low: Tensor) -> Tensor:
        """[N, C, H / 2, W / 2] from the encoder's features at 1/2, 1/4 and the low-resolution ones at 1/8."""
        half = self.tohr_enc2x(half)
        x = self.conv_enc2x(torch.cat([_scaled(image, 0.5), half], 1))
        x = self.conv_enc4x(torch.cat([x, self.tohr_enc4x(quarter)], 1))
        x = self.conv_hr4x(torch.cat([x, _scaled(low, 2), _scaled(image, 0.25)], 1))
        result: Tensor = self.conv_hr2x(torch.cat([_scaled(x, 2), half], 1))
        return result


class Fusion(nn.Module):
    """The matte from both branches."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        c = channels
        self.conv_lr4x = Convolution(ENCODER[2], c, 5)
        self.conv_f2x = Convolution(2 * c, c, 3)
        self.conv_f = nn.Sequential(Convolution(c + 3, c // 2, 3), Convolution(c // 2, 1, 1, plain=True))

    def forward(self, image: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """[N, 1, H, W] in [0, 1]."""
        x = _scaled(self.conv_lr4x(_scaled(low, 2)), 2)
        x = _scaled(self.conv_f2x(torch.cat([x, high], 1)), 2)
        return torch.sigmoid(self.conv_f(torch.cat([x, image], 1)))


class MODNet(nn.Module):
    """Matte [N, 1, H, W] in [0, 1] of images [N, 3, H, W] in [-1, 1]; H and W multiples of 32."""

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.lr_branch = LowResolution(self.backbone)
        self.hr_branch = HighResolution(channels)
        self.f_branch = Fusion(channels)

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        low, half, quarter = self.lr_branch(image)
        result: Tensor = self.f_branch(image, low, self.hr_branch(image, half, quarter, low))
        return result


class ModnetMatter:
    """MODNet as a person matting back end (see ``matting.Matter``)."""

    name = "modnet"
    side = 512

    def __init__(self, weights: tuple[Path, ...] = ()) -> None:
        """Raises AvatarkitError when the checkpoint cannot be had or does not fit."""
        self.network = MODNet()
        load(self.network, CHECKPOINT, weights)

    def __enter__(self) -> ModnetMatter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    @torch.inference_mode()
    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[GRID, GRID] matte of an sRGB image [H, W, 3], computed at 512 x 512."""
        if image.shape[:2] != (self.side, self.side):
            image = np.asarray(cv2.resize(image, (self.side, self.side), interpolation=cv2.INTER_AREA))
        x = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
        matte = F.interpolate(self.network(x), (GRID, GRID), mode="area")[0, 0]
        return np.ascontiguousarray(matte.numpy())


def _plain(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )


def _scaled(x: Tensor, factor: float) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
