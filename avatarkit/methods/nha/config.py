"""Options of the method and its presets. Imports nothing heavy: the command line reads it for ``--help``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from avatarkit.methods import options as shared
from avatarkit.methods.options import FitOptions, Limits, option


@dataclass(frozen=True)
class Config(FitOptions):
    """Everything that decides a fit. The defaults are those of the preset ``fast``."""

    preset: str = option("fast", "fast, or draft (a fifth of the time)")
    steps: int = option(7800, "training iterations, one frame each; learning rates fall along them")
    minutes: float = option(
        0.0, "train for this time at most (0: no limit); learning rates fall along it; not reproducible"
    )
    geometry_share: float = option(0.15, "share of the fit for the first stage: geometry alone")
    texture_share: float = option(0.35, "share for the second: texture alone; what is left is for both")

    static_geometry: bool = option(False, "ablation: offsets that do not depend on the joints' pose")
    static_texture: bool = option(
        False, "ablation: a texture that depends on neither expression nor pose nor normals"
    )
    lid_term: bool = option(True, "the landmark energy also compares the lids' distances")

    normals: str = option(
        "",
        "folder of normal maps by a network, frame_0000/normals_0000.png and so on as in the authors' data sets "
        "(default: pseudo-normals of the tracked mesh)",
    )

    backend: str = option(
        "native", "what rasterizes during the fit: native, or pytorch3d where it is installed"
    )

    landmark_weight: float = option(1.0, "weight of the landmark energy")
    normal_weight: float = option(0.02, "weight of the Laplacian of normal maps")
    semantic_weight: float = option(1.0, "weight of the soft xor of semantic regions")
    offset_weight: float = option(1.0, "weight of the regularizers of the offsets")
    prior_weight: float = option(1.0, "weight of the prior on the frames' own coefficients and poses")
    photometric_weight: float = option(1.0, "weight of the photometric energy")
    perceptual_weight: float = option(0.1, "weight of the perceptual energy")
    perceptual: str = option("auto", "auto (LPIPS where its weights are at hand), lpips or structure")

    geometry_rate: float = option(1e-3, "learning rate of the geometry network")
    texture_rate: float = option(2e-3, "learning rate of the texture network")
    frame_rate: float = option(
        1e-3, "learning rate of the frames' own coefficients and poses (0: as tracked)"
    )
    rate_end: float = option(0.05, "share of the learning rates that is left at the end")
    keep_best: bool = option(True, "keep the weights that did best on held-out frames, not the last ones")
    width: int = option(64, "units of a hidden layer of either network")
    bases: int = option(6, "pose-dependent offset fields that the geometry network mixes")
    expressions: int = option(32, "principal components of the coefficients that the texture sees")


PRESETS: dict[str, dict[str, Any]] = {
    "fast": {},
    "draft": {"steps": 1600},
}

_LIMITS: Limits = (
    ("resolution", 32, 2048), ("geometry_share", 0, 0.9), ("texture_share", 0, 0.9), ("landmark_weight", 0, 1000),
    ("normal_weight", 0, 1000), ("semantic_weight", 0, 1000), ("offset_weight", 0, 1000), ("prior_weight", 0, 1000),
    ("photometric_weight", 0, 1000), ("perceptual_weight", 0, 1000), ("geometry_rate", 0, 1), ("texture_rate", 0, 1),
    ("frame_rate", 0, 1), ("rate_end", 0, 1), ("width", 8, 512), ("bases", 1, 64), ("expressions", 0, 52),
)  # fmt: skip
_CHOICES = {"perceptual": ("auto", "lpips", "structure"), "backend": ("native", "pytorch3d")}


def make(preset: str = "fast", **options: Any) -> Config:
    """The config of a preset with ``options`` on top. Raises UsageError for what cannot work."""
    return shared.make(Config, "nha", PRESETS, preset, options, _LIMITS, _CHOICES)
