"""What a method is, what moves an avatar, and which methods there are. Imports no method until it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from avatarkit.files.errors import UsageError

if TYPE_CHECKING:
    import torch

    from avatarkit.files.track import Track
    from avatarkit.rendering.camera import Camera

Float = NDArray[np.float32]
Progress = Callable[[dict[str, Any]], None]
"""Called as work goes on with {"step", "steps", "seconds", "loss", "heldout_psnr", "samples_per_second", ...}."""

METHODS: dict[str, str] = {
    "nerfblendshape": "avatarkit.methods.nerfblendshape.method:NeRFBlendShape",
    "concat": "avatarkit.methods.concat.method:ConcatMethod",
    "nerface": "avatarkit.methods.nerface.method:NerFACEMethod",
    "neuralbody": "avatarkit.methods.neuralbody.method:NeuralBodyMethod",
    "manerf": "avatarkit.methods.manerf.method:MANeRFMethod",
    "gaussians": "avatarkit.methods.gaussians.method:Gaussians",
    "nha": "avatarkit.methods.nha.method:NeuralHead",
    "photo": "avatarkit.methods.photo.method:Photo",
}


@dataclass(frozen=True)
class Drive:
    """What moves an avatar in one frame. Conventions as in the track file; None: the driver does not have it."""

    rotation: Float
    """[3, 3] head to camera."""
    translation: Float
    """[3] meters."""
    expression: Float
    """[E] in the order of the avatar's expression names."""
    neck: Float
    """[3] axis-angle."""
    jaw: Float
    """[3] axis-angle."""
    eyes: Float
    """[2, 3] axis-angle, (left, right)."""
    extra: Float | None = None
    """[P] clip-specific components."""
    landmarks: Float | None = None
    """[L, 3] the driver's landmarks in pixels."""
    torso: Float | None = None
    """[2, 3] image-plane similarity from the neutral frame."""
    torso_confidence: float = 1.0
    """how far ``torso`` is to be believed; 0: nothing was followed, it is a guess from the neck."""
    picture: NDArray[Any] | None = None
    """[H, W, 3] uint8 the driver's frame, for methods that look at it."""

    @classmethod
    def of(cls, track: Track, t: int) -> Drive:
        """What the person of ``track`` does in its t-th tracked frame."""

        def row(values: Float | None) -> Float | None:
            return None if values is None else values[t]

        return cls(
            rotation=track.rotation[t],
            translation=track.translation[t],
            expression=track.expression[t],
            neck=track.neck[t],
            jaw=track.jaw[t],
            eyes=track.eyes[t],
            extra=row(track.extra),
            landmarks=track.landmarks[t],
            torso=row(track.torso),
            torso_confidence=1.0 if track.torso_confidence is None else float(track.torso_confidence[t]),
        )


@dataclass(frozen=True)
class Frame:
    """A rendered image: ``rgb`` [H, W, 3] float32 sRGB in [0, 1] with straight ``alpha`` [H, W]."""

    rgb: Float
    alpha: Float


@dataclass(frozen=True)
class Subject:
    """What a person offers a method: a track with its video (or image folder, or photo)."""

    track: Track
    source: Path
    """the video, image folder or photo the track was made from."""


class Avatar(Protocol):
    """A fitted head that renders for any drive and camera. ``header`` is the file's JSON entry."""

    header: dict[str, Any]

    def render(self, drive: Drive, camera: Camera) -> Frame:
        """The head alone as ``camera`` sees it."""
        ...

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Tensors and header of the avatar file."""
        ...

    @classmethod
    def from_state(cls, tensors: dict[str, torch.Tensor], header: dict[str, Any], device: str) -> Avatar:
        """The avatar of a file; raises AvatarkitError where tensors and header do not fit together."""
        ...


AnyAvatar = Avatar
"""``Avatar`` under a name that ``Method.Avatar`` does not hide."""


class Method(Protocol):
    """A way to make an avatar. ``Config`` is a frozen dataclass; every field's metadata has a ``help`` text."""

    name: str
    Config: type
    Avatar: type[Any]
    """the class of its avatars: an ``Avatar`` with ``from_state``."""

    def fit(self, subject: Subject, config: Any, progress: Progress) -> AnyAvatar:
        """An avatar of ``subject``."""
        ...


def names() -> list[str]:
    """All registered methods: the built-in ones, then those of installed packages."""
    return [*METHODS, *(e.name for e in entry_points(group="avatarkit.methods") if e.name not in METHODS)]


def get(name: str) -> Method:
    """The method called ``name``. Raises UsageError with the list of known ones."""
    if name in METHODS:
        module, attribute = METHODS[name].split(":")
        method: Method = getattr(import_module(module), attribute)()
        return method
    for entry in entry_points(group="avatarkit.methods"):
        if entry.name == name:
            loaded: Method = entry.load()()
            return loaded
    raise UsageError(f"unknown method '{name}': choose one of {', '.join(names())}")
