"""Plain-torch twins of the layer kernels; contracts are those of :mod:`avatarkit.ops.layers`.

They agree with the kernels but for pixel centers within rounding of an edge, of an equal depth or of a threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, pad

from avatarkit.ops import raster_reference as raster

if TYPE_CHECKING:
    from avatarkit.ops.layers import Composed, Laid

SIDE, MIDDLE = 0.23899427, 0.52201147  # a Gaussian of sigma 0.8 over three pixels


def compose(plate: NDArray[np.uint8], laid: Sequence[Laid], traced: int, alpha: bool) -> Composed:
    """See :func:`avatarkit.ops.layers.compose`."""
    from avatarkit.ops.layers import GONE, STILL, Composed

    height, width = plate.shape[:2]
    color = torch.from_numpy(plate[..., :3].astype(np.float32))
    own = torch.zeros(height, width)
    still = torch.zeros(height, width)
    folds = torch.zeros(height, width, dtype=torch.bool)
    for i, (layer, vertices, opacity) in enumerate(laid):
        triangles = torch.from_numpy(layer.triangles)
        face, weights, _ = raster.rasterize(
            torch.from_numpy(vertices)[None], triangles, height, width, perspective=False
        )
        place = raster.interpolate(torch.from_numpy(layer.places), triangles, face, weights)[0]
        hit = face[0] >= 0
        texture = torch.from_numpy(layer.texture).float()
        size = torch.tensor([texture.shape[1], texture.shape[0]])
        uv = place / size
        uv[..., 1] = 1 - uv[..., 1]
        seen = raster.texture(texture, uv.reshape(-1, 2), face.reshape(-1)).reshape(height, width, 4)
        share = opacity * (_soft(hit) if layer.soft else hit.float())[..., None]
        color = color * (1 - share * seen[..., 3:] / 255) + share * seen[..., :3]
        if layer.fold > 0:
            folds |= _folds(place, hit, layer.fold)
        if i == traced % len(laid):
            y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
            away = (place - torch.stack([x, y], -1)).square().sum(-1).sqrt()
            still = torch.where(hit, (GONE - away) / (GONE - STILL) * 255, torch.zeros(()))
            own = seen[..., 3]
    image = _levels(color)
    if folds.any():
        softened = _levels(_blurred(image.float()))
        image = torch.where(folds[..., None], softened, image)
    return Composed(image.numpy(), _levels(still).numpy(), _levels(own).numpy() if alpha else None)


def restore(image: NDArray[np.uint8], lost: NDArray[np.int16], still: NDArray[np.uint8]) -> None:
    """See :func:`avatarkit.ops.layers.restore`."""
    share = still.astype(np.float32)[..., None] / 255
    made = image + share * lost.transpose(1, 2, 0)
    image[...] = _levels(torch.from_numpy(made)).numpy()


def nearest(
    points: NDArray[np.float32], triangles: NDArray[np.int32], height: int, width: int
) -> NDArray[np.float32]:
    """See :func:`avatarkit.ops.layers.nearest`; ``points`` [1, V, 3]."""
    face, _, depth = raster.rasterize(
        torch.from_numpy(points), torch.from_numpy(triangles), height, width, perspective=False
    )
    return np.where(face[0].numpy() >= 0, depth[0].numpy(), np.float32(np.nan))


def _levels(values: Tensor) -> Tensor:
    return (values.clamp(0, 255) + 0.5).to(torch.uint8)


def _soft(hit: Tensor) -> Tensor:
    """[H, W] 2 c - 1 of the share c of the 3 x 3 neighbors that are hit; beyond the frame its border goes on."""
    grown = pad(hit[None, None].float(), (1, 1, 1, 1), mode="replicate")
    return (2 * avg_pool2d(grown, 3, 1)[0, 0] - 1).clamp_min(0)


def _folds(place: Tensor, hit: Tensor, fold: float) -> Tensor:
    found = torch.zeros_like(hit)
    across = ((place[:, 1:] - place[:, :-1]).abs() > fold).any(-1) & hit[:, 1:] & hit[:, :-1]
    down = ((place[1:] - place[:-1]).abs() > fold).any(-1) & hit[1:] & hit[:-1]
    found[:, 1:] |= across
    found[:, :-1] |= across
    found[1:] |= down
    found[:-1] |= down
    return found


def _blurred(image: Tensor) -> Tensor:
    line = torch.tensor([SIDE, MIDDLE, SIDE])
    grown = pad(image.permute(2, 0, 1)[:, None], (1, 1, 1, 1), mode="replicate")
    return conv2d(grown, (line[:, None] * line)[None, None])[:, 0].permute(1, 2, 0)
