"""The work behind ``export`` for avatars: splats, meshes and animated heads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avatarkit.files.errors import AvatarkitError, UsageError

if TYPE_CHECKING:
    from avatarkit.files.streams import Output

KINDS = (".ply", ".glb", ".obj")


@dataclass(frozen=True)
class Job:
    """What is exported: the avatar ``given`` (None: standard input), the moment it shows, and how."""

    given: Path | None
    target: Output
    settings: dict[str, float]
    turn: tuple[float, float, float]
    """yaw, pitch, roll, degrees"""
    identity: int
    driver: Path | None
    """track that animates a .glb"""
    texture: int
    """pixels a side"""


def run(job: Job, kind: str) -> dict[str, Any]:
    """Write the file; returns what the summary says of it. Raises AvatarkitError for avatars without such a form."""
    from avatarkit.files import streams
    from avatarkit.files.avatar import load_avatar_file
    from avatarkit.files.identities import chosen
    from avatarkit.methods import registry
    from avatarkit.methods.driving import still

    with streams.spooled(job.given, ".safetensors") as path:
        tensors, header = chosen(*load_avatar_file(path), job.identity)
    name = streams.STANDARD if job.given is None else job.given
    made_by: Any = registry.get(header["method"]).Avatar
    splats, meshed = hasattr(made_by, "splats"), hasattr(made_by, "rigged")
    if kind == ".ply" and not (splats or meshed):
        raise AvatarkitError(
            f"{name}: an avatar by {header['method']} has no Gaussians to export: make some of it with "
            f"'avatarkit distill {name}' and export those"
        )
    if kind != ".ply" and not meshed:
        raise AvatarkitError(
            f"{name}: an avatar by {header['method']} has no mesh to export: fit one with --method nha"
        )
    avatar = made_by.from_state(tensors, header, "cpu")
    drive = still(header, job.settings, *job.turn)
    if splats:
        return _splats(avatar, drive, job)
    return _animated(avatar, drive, job) if kind == ".glb" else _mesh(avatar, drive, job, kind)


def _splats(avatar: Any, drive: Any, job: Job) -> dict[str, Any]:
    from avatarkit.files.ply import save_splats

    mean, covariance, color, opacity = avatar.splats(drive)
    with job.target.stream() as stream:
        return {"gaussians": save_splats(mean, covariance, color, opacity, stream)}


def _animated(avatar: Any, drive: Any, job: Job) -> dict[str, Any]:
    from avatarkit import __version__
    from avatarkit.files.glb import save_glb

    head = avatar.rigged(drive, job.texture)
    frames = 0
    if job.driver is not None:
        from avatarkit.files.track_io import load_track
        from avatarkit.methods.driving import drives

        track = load_track(job.driver)
        moments = drives(track, avatar.header)
        frames = len(moments)
        if all(moment is None for moment in moments):
            raise AvatarkitError(f"{job.driver}: the track holds no valid frame that could animate the head")
        head = replace(head, motion=avatar.motion(moments, float(track.meta["video"]["fps"])))
    with job.target.stream() as stream:
        size = save_glb(head, stream, f"avatarkit {__version__}")
    return {
        "vertices": len(head.vertices), "triangles": len(head.triangles), "targets": len(head.target_names),
        "joints": len(head.joints), "frames": frames, "bytes": size,
    }  # fmt: skip


def _mesh(avatar: Any, drive: Any, job: Job, kind: str) -> dict[str, Any]:
    """A .ply with colors, or an .obj with its texture, of one moment, turned as ``drive`` is against the rest."""
    import numpy as np

    from avatarkit.files.obj import save_colored_ply, save_obj
    from avatarkit.methods.driving import neutral_drive

    head, vertices, normals = avatar.moved(drive, job.texture)
    turn = neutral_drive(avatar.header).rotation.T @ drive.rotation
    vertices, normals = vertices @ turn.T, normals @ turn.T
    if kind == ".obj":
        if job.target.path is None:
            raise UsageError("an .obj comes with a texture beside it: name a file with -o me.obj")
        save_obj(head, vertices, normals, job.target.path)
    else:
        size = head.texture.shape[0]
        texel = np.clip((np.stack([head.uv[:, 0], 1 - head.uv[:, 1]], 1) * size).astype(int), 0, size - 1)
        colors = head.texture[texel[:, 1], texel[:, 0]]
        with job.target.stream() as stream:
            save_colored_ply(vertices, normals, colors, head.triangles, stream)
    return {"vertices": len(vertices), "triangles": len(head.triangles)}
