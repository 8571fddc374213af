"""The facts behind ``info``: one flat dictionary for each kind of file, and how it is printed."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from avatarkit.commands import console


def describe(path: Path) -> dict[str, Any]:
    """The facts of the file at ``path``, its ``kind`` first. Raises AvatarkitError when it is none of ours.

    The kind is told from the content: a zip of arrays is a track or a head model, JSON after eight bytes of
    length an avatar, anything else has to be a picture or a video.
    """
    facts: dict[str, Any]
    if path.is_dir():
        facts = _video(path)
    else:
        with open(path, "rb") as file:
            head = file.read(10)
        if head.startswith(b"PK"):
            facts = _head_model(path) if _holds(path, "triangles") else _track(path)
        elif head[8:9] == b"{" or path.suffix == ".safetensors":
            facts = _avatar(path)
        else:
            facts = _video(path)
    facts["file"] = str(path)
    if path.is_file():
        facts["bytes"] = path.stat().st_size
    return facts


def _holds(path: Path, key: str) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return f"{key}.npy" in archive.namelist()
    except zipfile.BadZipFile:
        return False


def _video(path: Path) -> dict[str, Any]:
    from avatarkit.files.video import probe

    info = probe(path)
    return {
        "kind": {"video": "video", "folder": "image folder", "photo": "photo"}[info.kind],
        "size": [info.width, info.height],
        "frames": info.frames,
        "fps": info.fps,
        "seconds": round(info.duration, 3),
        "codec": info.codec or None,
        "rotation": info.rotation,
        "variable_rate": info.variable_rate,
        "audio": info.audio_codec or None,
        "synthetic": info.comment or None,
        "sha256": info.sha256,
    }


def _track(path: Path) -> dict[str, Any]:
    import numpy as np

    from avatarkit.files.track import load_track

    track = load_track(path)
    video, head = track.meta.get("video", {}), track.meta.get("head", {})
    valid = track.valid
    facts: dict[str, Any] = {
        "kind": "track",
        "format": track.meta["format"],
        "tool": track.meta.get("tool"),
        "video": video.get("name"),
        "video_size": [video.get("width"), video.get("height")],
        "video_fps": video.get("fps"),
        "video_sha256": video.get("sha256"),
        "head_model": " ".join(str(head[key]) for key in ("name", "version") if head.get(key)) or None,
        "frames": len(track),
        "valid": int(valid.sum()),
        "first_frame": int(track.frame[0]),
        "last_frame": int(track.frame[-1]),
        "cuts": track.meta.get("cuts", []),
        "focal_pixels": float(track.intrinsics[0, 0]),
        "crop": track.crop.tolist(),
        "expressions": len(track.expression_names),
        "vertices": len(track.neutral),
        "refined_shapes": track.shapes is not None,
        "mattes": sorted({kind for frame in track.mattes for kind in frame})
        if track.mattes is not None
        else None,
        "torso": track.torso is not None,
        "extra_components": len(track.extra_names),
        "embedded_video_bytes": len(track.video) if track.video is not None else None,
    }
    if valid.any():
        scale = 480.0 / float(video.get("width") or 480)
        facts["residual_median_px480"] = round(float(np.median(track.residual[valid])) * scale, 3)
        facts["residual_p95_px480"] = round(float(np.percentile(track.residual[valid], 95)) * scale, 3)
        facts["pose_range_degrees"] = _pose_range(track.rotation[valid])
        spread = np.percentile(track.expression[valid], 98, 0) - np.percentile(track.expression[valid], 2, 0)
        order = np.argsort(-spread)[:8]
        facts["most_active"] = {track.expression_names[i]: round(float(spread[i]), 2) for i in order}
    facts["options"] = track.meta.get("options")
    return facts


def _pose_range(rotation: Any) -> dict[str, list[float]]:
    """1st and 99th percentile of yaw, pitch and roll against the camera's axis, degrees."""
    import numpy as np
    from scipy.spatial.transform import Rotation

    # A head that faces the camera has the rotation diag(1, -1, -1) (design section 4).
    upright = np.asarray(rotation, np.float64) * np.array([1.0, -1.0, -1.0])[:, None]
    angles = Rotation.from_matrix(upright).as_euler("YXZ", degrees=True)
    low, high = np.percentile(angles, [1, 99], axis=0).round(1)
    return {name: [float(low[i]), float(high[i])] for i, name in enumerate(("yaw", "pitch", "roll"))}


def _avatar(path: Path) -> dict[str, Any]:
    from math import prod

    from avatarkit.files.avatar import read_header, tensor_shapes

    header = read_header(path)
    shapes = tensor_shapes(path)
    facts: dict[str, Any] = {
        "kind": "avatar",
        "format": header.pop("format"),
        "tool": header.pop("tool", None),
        "method": header.pop("method"),
        "numbers": sum(prod(shape) for _, shape in shapes.values()),
        "tensors": len(shapes),
        "expressions": len(header.pop("expression_names", []) or []),
    }
    for key, value in header.items():
        facts[key] = value
    return facts


def _head_model(path: Path) -> dict[str, Any]:
    from avatarkit.heads.headfile import load_head

    head = load_head(path)
    return {
        "kind": "head model",
        "name": head.name,
        "version": head.version,
        "hash": head.hash(),
        "vertices": len(head.vertices),
        "triangles": len(head.triangles),
        "expressions": list(head.expression_names),
        "regions": list(head.region_names),
    }


def show(facts: dict[str, Any]) -> None:
    """Print ``facts`` as a table of two columns; empty ones are left out, nested ones indented."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title=f"{facts['kind']} {escape(str(facts['file']))}", title_justify="left", show_header=False
    )
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in _flat(facts):
        if key not in ("kind", "file"):
            table.add_row(key, escape(value))
    console.show(table, 120)


LONGEST = 12
"""Lists of more numbers than this are summed up in the table; ``--json`` has them in full."""


def _flat(facts: dict[str, Any], indent: str = "") -> list[tuple[str, str]]:
    rows = []
    for key, value in facts.items():
        if value is None or value in ([], {}):
            continue
        if isinstance(value, dict):
            rows.append((indent + key, ""))
            rows += _flat(value, indent + "  ")
        else:
            rows.append((indent + key, _text(value)))
    return rows


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        if len(value) > LONGEST and not isinstance(value[0], str):
            return f"{len(value)} values"
        return ", ".join(_text(v) if not isinstance(v, list) else f"[{_text(v)}]" for v in value)
    return f"{value:,}" if isinstance(value, int) else str(value)
