"""What ``export`` makes of an avatar, read back by programs that are not ours."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from avatarkit.cli import app
from avatarkit.files.images import read_image
from avatarkit.files.track import Track
from avatarkit.heads.arkit import NAMES
from avatarkit.methods.driving import neutral_drive
from avatarkit.methods.nha.avatar import NeuralHeadAvatar
from avatarkit.methods.registry import Drive
from avatarkit.ops.native import module

pytestmark = pytest.mark.skipif(module() is None, reason="native kernels are not built")


def exported(*words: str, code: int = 0) -> Any:
    words = ("export", "me.safetensors", *words, "--texture", "128", "--json", "--quiet")
    result = CliRunner().invoke(app, [*words])
    assert result.exit_code == code, (result.stderr, result.exception)
    return json.loads(result.stdout.splitlines()[-1]) if code == 0 else result.stderr


def parsed(whole: bytes) -> tuple[dict[str, Any], bytes]:
    """JSON and binary chunk of a GLB, by the specification's words."""
    magic, version, length = struct.unpack("<4sII", whole[:12])
    assert (magic, version, length) == (b"glTF", 2, len(whole))
    size, kind = struct.unpack("<I4s", whole[12:20])
    assert kind == b"JSON" and size % 4 == 0
    rest = whole[20 + size :]
    size_of_data, kind = struct.unpack("<I4s", rest[:8])
    assert kind == b"BIN\0" and size_of_data == len(rest) - 8
    return json.loads(whole[20 : 20 + size]), rest[8:]


def test_an_animated_head_is_valid_gltf_with_arkit_targets(
    folder: Path, avatar: NeuralHeadAvatar, person: tuple[Track, Path]
) -> None:
    summary = exported("--driver", "me.track.npz", "-o", "me.glb")
    assert summary["targets"] == 52 and summary["joints"] == 5 and summary["frames"] == len(person[0])
    found, data = parsed(Path("me.glb").read_bytes())
    accessors, views = found["accessors"], found["bufferViews"]

    def numbers(index: int, kind: str = "<f4") -> np.ndarray:
        entry = accessors[index]
        width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}[entry["type"]]
        start = views[entry["bufferView"]]["byteOffset"]
        return np.frombuffer(data, kind, entry["count"] * width, start).reshape(entry["count"], width)

    mesh = found["meshes"][0]
    assert tuple(mesh["extras"]["targetNames"]) == NAMES
    primitive = mesh["primitives"][0]
    own = primitive["attributes"]
    points = numbers(own["POSITION"])
    assert accessors[own["POSITION"]]["max"] == pytest.approx(points.max(0).tolist())
    indices = numbers(primitive["indices"], "<u4")
    assert indices.max() < len(points) and len(indices) == 3 * summary["triangles"]
    np.testing.assert_allclose(numbers(own["WEIGHTS_0"]).sum(1), 1, atol=1e-5)
    assert numbers(own["JOINTS_0"], "u1").max() == 4
    joints = [found["nodes"][j]["name"] for j in found["skins"][0]["joints"]]
    assert joints == ["torso", "neck", "jaw", "eyeLeft", "eyeRight"]
    # a target's vertices and how far they go: those of the avatar's own shape
    sparse = accessors[primitive["targets"][NAMES.index("jawOpen")]["POSITION"]]["sparse"]
    start = views[sparse["values"]["bufferView"]]["byteOffset"]
    moved = np.frombuffer(data, "<f4", 3 * sparse["count"], start).reshape(-1, 3)
    farthest = avatar.figure.shapes[NAMES.index("jawOpen")].view(-1, 3).norm(dim=1).max()
    assert np.linalg.norm(moved, axis=1).max() == pytest.approx(float(farthest), rel=1e-5)
    # the animation, played: its last frame's cheek is where the avatar has it
    motion = found["animations"][0]
    by = {
        (c["target"]["node"], c["target"]["path"]): numbers(motion["samplers"][c["sampler"]]["output"])
        for c in motion["channels"]
    }
    t = len(person[0]) - 1
    np.testing.assert_allclose(
        by[0, "weights"].reshape(-1, 52)[t], np.clip(person[0].expression[t], 0, 1), atol=1e-6
    )
    from scipy.spatial.transform import Rotation

    drive, rest = Drive.of(person[0], t), neutral_drive(avatar.header)
    head = Rotation.from_quat(by[1, "rotation"][t]) * Rotation.from_quat(by[2, "rotation"][t])
    flip = np.diag([1.0, -1.0, -1.0])
    np.testing.assert_allclose(head.as_matrix(), flip @ drive.rotation, atol=1e-5)
    hinge = avatar.figure.template.joints[0]
    truth = flip @ (drive.rotation @ hinge + drive.translation - rest.translation)
    np.testing.assert_allclose(by[1, "translation"][t], truth, atol=1e-5)


def test_other_readers_see_the_mesh_and_its_texture(folder: Path) -> None:
    trimesh = pytest.importorskip("trimesh")
    summary = exported("-o", "me.glb")
    exported("-o", "me.obj", "--set", "jawOpen=0.6", "--yaw", "20")
    exported("-o", "me.ply", "--set", "jawOpen=0.6", "--yaw", "20")
    whole = trimesh.load("me.glb", force="mesh", process=False)
    assert len(whole.faces) == summary["triangles"] and whole.visual.uv.shape == (summary["vertices"], 2)
    obj = trimesh.load("me.obj", force="mesh", process=False)
    ply = trimesh.load("me.ply", process=False)
    np.testing.assert_allclose(np.asarray(obj.bounds), np.asarray(ply.bounds), atol=1e-5)
    assert len(ply.faces) == summary["triangles"] and ply.visual.vertex_colors[:, :3].std() > 1
    assert read_image(Path("me.png")).shape == (128, 128, 3)
    assert "map_Kd me.png" in Path("me.mtl").read_text()
    # the open mouth reaches lower than the closed one, the turned nose to the person's left
    assert np.ptp(ply.vertices[:, 2]) > 0.1 and ply.vertices[ply.vertices[:, 2].argmax(), 0] > 0.01


def test_the_same_avatar_gives_the_same_bytes(avatar: NeuralHeadAvatar) -> None:
    from avatarkit.files.glb import save_glb

    files = []
    for _ in range(2):
        stream = io.BytesIO()
        save_glb(avatar.rigged(size=64), stream, "test")
        files.append(stream.getvalue())
    assert files[0] == files[1]


def test_what_cannot_be_exported_is_told(folder: Path) -> None:
    assert "jawDrop" in exported("-o", "me.glb", "--set", "jawDrop=1", code=2)
    assert "--driver" in exported("-o", "me.ply", "--driver", "me.track.npz", code=2)
    assert "--set" in exported("-o", "data", "--set", "jawOpen=1", code=2)
