"""LPIPS (Zhang et al. 2018, v0.1): the network, and the weights wherever they can be had.

The heads (a few kilobytes, from the authors) come inside torchmetrics' wheel; the ImageNet backbones are
torchvision's files, looked for in ``AVATARKIT_HOME`` and only downloaded when that is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avatarkit.files.errors import AvatarkitError
from avatarkit.files.home import fetch, find

Backbone = Literal["alex", "vgg", "squeeze"]


@dataclass(frozen=True)
class _Source:
    name: str
    sha256: str
    channels: tuple[int, ...]

    @property
    def url(self) -> str:
        return f"https://download.pytorch.org/models/{self.name}"


SOURCES: dict[Backbone, _Source] = {
    "alex": _Source(
        "alexnet-owt-7be5be79.pth",
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        (64, 192, 384, 256, 256),
    ),
    "vgg": _Source(
        "vgg16-397923af.pth",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        (64, 128, 256, 512, 512),
    ),
    "squeeze": _Source(
        "squeezenet1_1-b8a52dc0.pth",
        "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
        (64, 128, 256, 384, 384, 512, 512),
    ),
}
SQUEEZE_ARRAYS = "squeezenet11_features_f16.npz"
"""SqueezeNet's convolutions as plain half-precision arrays, taken where torchvision's own file is absent."""


class LPIPS(nn.Module):
    """Learned perceptual distance of two batches of images; 0 for equal ones.

    ``forward`` takes [N, 3, H, W] in [0, 1] and returns [N]; ``spatial`` returns the map [N, 1, H, W] whose
    mean it nearly is. Weights are frozen; gradients flow to the images. Sides of at least 32 pixels.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, backbone: Backbone = "alex") -> None:
        super().__init__()
        self.backbone: Backbone = backbone
        self.stages = nn.ModuleList({"alex": _alex, "vgg": _vgg, "squeeze": _squeeze}[backbone]())
        self.heads = nn.ModuleList(nn.Conv2d(c, 1, 1, bias=False) for c in SOURCES[backbone].channels)
        # ImageNet statistics for images in [-1, 1], as the authors rounded them.
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1))
        self.requires_grad_(False).eval()

    def features(self, image: Tensor) -> list[Tensor]:
        """Unit-length features of every stage."""
        x = (2 * image - 1 - self.shift) / self.scale
        result = []
        for stage in self.stages:
            x = stage(x)
            result.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return result

    def maps(self, pred: list[Tensor], truth: list[Tensor]) -> list[Tensor]:
        """The weighted squared difference [N, 1, h, w] of the ``features`` of two batches, stage by stage."""
        return [head((a - b).square()) for head, a, b in zip(self.heads, pred, truth, strict=True)]

    def forward(self, pred: Tensor, truth: Tensor) -> Tensor:
        """Distance [N]: the sum over stages of the spatial mean."""
        maps = self.maps(self.features(pred), self.features(truth))
        return torch.stack([m.mean((1, 2, 3)) for m in maps]).sum(0)

    def spatial(self, pred: Tensor, truth: Tensor, truth_features: list[Tensor] | None = None) -> Tensor:
        """Distance map [N, 1, H, W]: every stage's map resized to the image, summed (the authors' spatial mode).

        ``truth_features`` spares the network's run on a truth that several predictions share.
        """
        size = [int(n) for n in pred.shape[-2:]]
        known = self.features(truth) if truth_features is None else truth_features
        maps = self.maps(self.features(pred), known)
        return torch.stack([F.interpolate(m, size, mode="bilinear", align_corners=False) for m in maps]).sum(
            0
        )

    def load_backbone(self, weights: dict[str, Tensor]) -> None:
        """Take a torchvision state dict of the backbone (its classifier is ignored).

        Raises AvatarkitError when the layers do not fit.
        """
        ours = [m for m in self.stages.modules() if isinstance(m, nn.Conv2d)]
        theirs = [(k, v) for k, v in weights.items() if k.startswith("features.")]
        kernels = [v for k, v in theirs if k.endswith(".weight")]
        biases = [v for k, v in theirs if k.endswith(".bias")]
        if [k.shape for k in kernels] != [m.weight.shape for m in ours] or len(biases) != len(ours):
            raise AvatarkitError(f"these are not the weights of LPIPS' {self.backbone} backbone")
        for layer, kernel, bias in zip(ours, kernels, biases, strict=True):
            assert layer.bias is not None
            layer.weight.copy_(kernel)
            layer.bias.copy_(bias)

    def load_heads(self, weights: dict[str, Tensor]) -> None:
        """Take the authors' file of linear heads. Raises AvatarkitError when they do not fit."""
        for i, head in enumerate(self.heads):
            assert isinstance(head, nn.Conv2d)
            value = weights.get(f"lin{i}.model.1.weight")
            if value is None or value.shape != head.weight.shape:
                raise AvatarkitError(f"these are not the LPIPS heads of the {self.backbone} backbone")
            head.weight.copy_(value)


def _conv(inputs: int, outputs: int, size: int, stride: int = 1, padding: int = 0) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, size, stride, padding), nn.ReLU()]


def _alex() -> list[nn.Module]:
    pool = nn.MaxPool2d(3, 2)
    return [
        nn.Sequential(*_conv(3, 64, 11, 4, 2)),
        nn.Sequential(pool, *_conv(64, 192, 5, 1, 2)),
        nn.Sequential(pool, *_conv(192, 384, 3, 1, 1)),
        nn.Sequential(*_conv(384, 256, 3, 1, 1)),
        nn.Sequential(*_conv(256, 256, 3, 1, 1)),
    ]


def _vgg() -> list[nn.Module]:
    stages: list[nn.Module] = []
    inputs = 3
    for stage, (outputs, layers) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))):
        parts: list[nn.Module] = [nn.MaxPool2d(2, 2)] if stage else []
        for _ in range(layers):
            parts += _conv(inputs, outputs, 3, 1, 1)
            inputs = outputs
        stages.append(nn.Sequential(*parts))
    return stages


class _Fire(nn.Module):
    """SqueezeNet's block: squeeze to few channels, expand by 1x1 and 3x3 convolutions side by side."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], 1)


def _squeeze() -> list[nn.Module]:
    pool = nn.MaxPool2d(3, 2, ceil_mode=True)
    return [
        nn.Sequential(*_conv(3, 64, 3, 2)),
        nn.Sequential(pool, _Fire(64, 16, 64), _Fire(128, 16, 64)),
        nn.Sequential(pool, _Fire(128, 32, 128), _Fire(256, 32, 128)),
        nn.Sequential(pool, _Fire(256, 48, 192)),
        _Fire(384, 48, 192),
        _Fire(384, 64, 256),
        _Fire(512, 64, 256),
    ]


def load(
    wanted: Sequence[Backbone] = get_args(Backbone), folder: Path | None = None, download: bool = False
) -> LPIPS | None:
    """LPIPS with the first of ``wanted`` backbones whose weights are in ``folder`` or ``AVATARKIT_HOME``.

    None where there are none; with ``download`` the first wanted one is then fetched (SHA-256 verified).
    Raises AvatarkitError for damaged weights and failed downloads.
    """
    for backbone in wanted:
        weights = _backbone_at_hand(backbone, folder)
        if weights is not None:
            return _assembled(backbone, weights, folder)
    if not download:
        return None
    source = SOURCES[wanted[0]]
    return _assembled(wanted[0], _state(fetch(source.name, source.url, source.sha256)), folder)


def _assembled(backbone: Backbone, weights: dict[str, Tensor], folder: Path | None) -> LPIPS:
    network = LPIPS(backbone)
    network.load_backbone(weights)
    network.load_heads(_state(_heads_file(backbone, folder)))
    return network


def _backbone_at_hand(backbone: Backbone, folder: Path | None) -> dict[str, Tensor] | None:
    path = _found(SOURCES[backbone].name, folder)
    if path is not None:
        return _state(path)
    arrays = _found(SQUEEZE_ARRAYS, folder) if backbone == "squeeze" else None
    return None if arrays is None else _squeeze_arrays(arrays)


def _squeeze_arrays(path: Path) -> dict[str, Tensor]:
    """The .npz spelling (``fire2/expand1x1/w``) as a state dict in torchvision's order of layers."""
    import numpy as np

    layers = ["conv1"]
    for i in range(2, 10):
        layers += [f"fire{i}/squeeze1x1", f"fire{i}/expand1x1", f"fire{i}/expand3x3"]
    weights = {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for i, layer in enumerate(layers):
                weights[f"features.{i}.weight"] = torch.from_numpy(arrays[f"{layer}/w"].astype(np.float32))
                weights[f"features.{i}.bias"] = torch.from_numpy(arrays[f"{layer}/b"].astype(np.float32))
    except (KeyError, ValueError, OSError) as error:
        raise AvatarkitError(
            f"{path}: not SqueezeNet's convolutions; remove it to go on without LPIPS"
        ) from error
    return weights


def _heads_file(backbone: Backbone, folder: Path | None) -> Path:
    own = _found(f"lpips01_{backbone}.pth", folder)
    if own is not None:
        return own
    import torchmetrics

    path = Path(torchmetrics.__file__).parent / "functional" / "image" / "lpips_models" / f"{backbone}.pth"
    if not path.is_file():
        raise AvatarkitError(
            f"torchmetrics brings no LPIPS heads: put the authors' file as lpips01_{backbone}.pth "
            "into AVATARKIT_HOME"
        )
    return path


def _found(name: str, folder: Path | None) -> Path | None:
    if folder is not None and (folder / name).is_file():
        return folder / name
    return find(name)


def _state(path: Path) -> dict[str, Tensor]:
    """Tensors of a .pth file; nothing but tensors is unpickled."""
    import pickle

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise AvatarkitError(
            f"{path}: not a file of weights, or damaged: remove it to go on without"
        ) from error
    if not isinstance(state, dict):
        raise AvatarkitError(f"{path}: holds no weights by name")
    return state
