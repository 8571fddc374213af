"""Argument checks of the operations, and the choice between a native kernel and its twin."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from avatarkit.ops.native import module


def native_for(*tensors: Tensor) -> ModuleType | None:
    """The extension module if it is there and can work on ``tensors`` (float32 on the CPU), else None."""
    for tensor in tensors:
        if tensor.device.type != "cpu" or tensor.dtype != torch.float32:
            return None
    return module()


def shaped(name: str, tensor: Tensor, *shape: int | None) -> Tensor:
    """``tensor``, made contiguous; ValueError unless its shape is ``shape``, where None admits any size."""
    wrong = tensor.dim() != len(shape) or any(
        want is not None and want != have for want, have in zip(shape, tensor.shape, strict=True)
    )
    if wrong:
        want = ", ".join("*" if size is None else str(size) for size in shape)
        raise ValueError(f"{name} must have the shape [{want}], not {list(tensor.shape)}")
    return tensor.contiguous()


def offsets(name: str, tensor: Tensor, total: int) -> Tensor:
    """``tensor``, contiguous int64 on the CPU; ValueError unless it rises from 0 to ``total``."""
    if tensor.dim() != 1 or tensor.numel() < 1 or tensor.dtype != torch.int64:
        raise ValueError(f"{name} must be a 1-D int64 tensor of at least one entry")
    values = tensor.contiguous()
    if int(values[0]) != 0 or int(values[-1]) != total or bool((values[1:] < values[:-1]).any()):
        raise ValueError(f"{name} must rise from 0 to {total}")
    return values


def bare(tensor: Tensor) -> NDArray[Any]:
    """The memory of a contiguous ``tensor`` for a native kernel: half the time of handing the tensor over, which
    counts where a frame or a step makes thirty of them."""
    return (tensor.detach() if tensor.requires_grad else tensor).numpy()


def plain(tensor: Tensor) -> Tensor:
    """``tensor`` as the native kernels take it: contiguous and out of autograd's sight."""
    return tensor.detach().contiguous()
