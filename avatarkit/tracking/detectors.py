"""Landmark detectors: one face mesh in, 478 points out, whatever found them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from avatarkit.files.errors import AvatarkitError, UsageError
from avatarkit.files.mediapipe import silenced, solution
from avatarkit.heads.landmarks import COUNT
from avatarkit.ops.native import module
from avatarkit.tracking.mesh_network import MeshNetwork, Region, load

Float = NDArray[np.float32]
Image = NDArray[np.uint8]

MOST_FACES = 4
"""Faces looked for where more than one person is in the picture."""
PRESENT = 0.5
"""Likelihood from which a face is where it was looked for."""


@dataclass(frozen=True)
class Face:
    """One detected face."""

    points: Float
    """[478, 3]: x, y in pixels of the image, z relative in pixels (negative towards the camera); NaN: not given."""
    scores: Float | None = None
    """[52] expression scores of detectors that give them, in ``arkit.NAMES`` order."""

    @cached_property
    def box(self) -> tuple[float, float, float]:
        """Center x, y and size (root of the area) of the face, pixels."""
        low, high = np.nanmin(self.points[:, :2], 0), np.nanmax(self.points[:, :2], 0)
        middle = (low + high) / 2
        return float(middle[0]), float(middle[1]), float(np.sqrt(np.prod(high - low)))


class LandmarkDetector(Protocol):
    """Finds faces in the frames of a clip, one after the other."""

    name: str

    def detect(self, image: Image) -> list[Face]:
        """The faces in the next frame, [H, W, 3] uint8 sRGB; an empty list where there is none."""
        ...

    def reset(self) -> None:
        """Forget the frames before: the next one shows something else (a cut)."""
        ...

    def close(self) -> None:
        """Free what the detector holds."""
        ...


class FaceMesh:
    """mediapipe's Face Mesh with irises, from the models in its wheel (Kartynnik et al. 2019, Grishchenko et al. 2020).

    Follows a face from frame to frame. ``most``: faces looked for. Where nothing is found in the whole frame,
    the detector for distant faces looks again and its finding is enlarged (``most`` = 1 only). A single face is
    followed by ``mesh_network``, the same model in a fifth of the time; mediapipe finds where it begins. There,
    landmarks are the mean over several ``windows`` around it (1, 2 or 9, each as dear as the first).
    """

    name = "mediapipe"

    def __init__(self, most: int = 1, windows: int = 1) -> None:
        self._network = _network() if most == 1 else None
        self._windows = windows
        self._region: Region | None = None
        with silenced():
            Graph = solution("face_mesh").FaceMesh
            # where we follow the face, mediapipe is to look anew whenever it is asked
            anew = self._network is not None
            self._graph = _warmed(Graph(static_image_mode=anew, max_num_faces=most, refine_landmarks=True))
        self.most = most
        self._still: Any = None
        self._far: Any = None
        self._found = False

    def detect(self, image: Image) -> list[Face]:
        """See ``LandmarkDetector``."""
        found = self._followed(image)
        if not found:
            found = self._run(self._graph, image)
            if not found and self.most == 1:
                found = self._distant(image)
            if found and self._windows > 1:
                self._goes_on(found)
                found = self._followed(image) or found
        self._goes_on(found)
        return found

    def _goes_on(self, found: list[Face]) -> None:
        """The next look is where ``found`` was."""
        if self._network is not None:
            self._region = Region.around(found[0].points) if found else None

    def _followed(self, image: Image) -> list[Face]:
        """The face where it was a frame ago, if it is still there."""
        if self._network is None or self._region is None:
            return []
        points, likely = self._network.look(image, self._region, self._windows)
        return [Face(points)] if likely >= PRESENT else []

    def _run(self, graph: Any, image: Image) -> list[Face]:
        image = np.ascontiguousarray(image)
        image.flags.writeable = False  # passed on without a copy
        # the first face brings one more note of mediapipe's, on crops that are not square
        with contextlib.nullcontext() if self._found else silenced():
            result = graph.process(image)
        self._found = self._found or bool(result.multi_face_landmarks)
        height, width = image.shape[:2]
        return [_face(found, width, height) for found in result.multi_face_landmarks or ()]

    def _distant(self, image: Image) -> list[Face]:
        if self._far is None:
            with silenced():
                Distant = solution("face_detection").FaceDetection
                Graph = solution("face_mesh").FaceMesh
                self._far = _warmed(Distant(min_detection_confidence=0.6, model_selection=1))
                self._still = self._graph
                if self._network is None:
                    self._still = _warmed(
                        Graph(static_image_mode=True, max_num_faces=1, refine_landmarks=True)
                    )
        seen = self._far.process(np.ascontiguousarray(image)).detections or ()
        height, width = image.shape[:2]
        faces = []
        for one in sorted(seen, key=lambda d: -d.location_data.relative_bounding_box.width):
            box = one.location_data.relative_bounding_box
            size = 2.2 * max(box.width * width, box.height * height)
            x = round((box.xmin + box.width / 2) * width - size / 2)
            y = round((box.ymin + box.height / 2) * height - size / 2)
            left, top = max(x, 0), max(y, 0)
            window = image[top : max(y + round(size), 0), left : max(x + round(size), 0)]
            if min(window.shape[:2]) < 16:
                continue
            faces += [
                Face(face.points + np.array([left, top, 0], np.float32))
                for face in self._run(self._still, window)
            ]
            if faces:
                break
        return faces

    def reset(self) -> None:
        """See ``LandmarkDetector``."""
        self._region = None
        if self._network is None:
            with silenced():
                self._graph.reset()
                _warmed(self._graph)

    def close(self) -> None:
        """See ``LandmarkDetector``."""
        for graph in {self._graph, self._still, self._far} - {None}:
            graph.close()


def _network() -> MeshNetwork | None:
    """Our own run of the mesh; None without compiled kernels, or where the wheel's model is not the one they know."""
    if module() is None:
        return None
    try:
        return load(Path(str(solution("face_mesh").__file__)).parents[2])
    except (OSError, ValueError, KeyError):  # mediapipe itself knows how to run what it brings
        return None


def _face(found: Any, width: int, height: int) -> Face:
    return Face(_numbers(found) * np.array([width, height, width], np.float32))


WIRE = np.dtype([("head", "S3"), ("x", "<f4"), ("y_tag", "u1"), ("y", "<f4"), ("z_tag", "u1"), ("z", "<f4")])
"""A landmark of three numbers as protobuf writes it: its length, then each number after its field's tag."""


def _numbers(found: Any) -> Float:
    """[N, 3] x, y, z of a list of landmarks; read from its bytes, which takes a tenth of asking each for each."""
    data = found.SerializeToString()
    if len(data) == WIRE.itemsize * len(found.landmark):
        rows = np.frombuffer(data, WIRE)
        tags = (rows["head"] == b"\x0a\x0f\x0d") & (rows["y_tag"] == 0x15) & (rows["z_tag"] == 0x1D)
        if tags.all():
            return np.stack([rows["x"], rows["y"], rows["z"]], 1)
    return np.array([(p.x, p.y, p.z) for p in found.landmark], np.float32)


class FaceCounter:
    """Counts the people in a picture with mediapipe's short-range face detector (BlazeFace, 2 ms)."""

    def __init__(self) -> None:
        self._graph: Any = None

    def __enter__(self) -> FaceCounter:
        return self

    def __exit__(self, *details: object) -> None:
        if self._graph is not None:
            self._graph.close()

    def count(self, image: Image) -> int:
        """Faces in ``image`` [H, W, 3] that are at least a third of the largest one's size."""
        if self._graph is None:
            with silenced():
                Near = solution("face_detection").FaceDetection
                self._graph = _warmed(Near(min_detection_confidence=0.6, model_selection=0))
        found = self._graph.process(np.ascontiguousarray(image)).detections or ()
        widths = [one.location_data.relative_bounding_box.width for one in found]
        return sum(width >= max(widths) / 3 for width in widths)


def open_detector(name: str, landmarker: Path | None, most: int = 1, windows: int = 1) -> LandmarkDetector:
    """The detector called ``name``: mediapipe (the mesh in its wheel), landmarker or face-alignment.

    A ``landmarker`` task file chooses that detector; ``windows`` is for mediapipe's (see ``FaceMesh``). Raises
    UsageError for an unknown name, AvatarkitError where what it needs is not there.
    """
    if name not in NAMES:
        raise UsageError(f"unknown detector '{name}': choose one of {', '.join(NAMES)}")
    if landmarker is not None and name == "face-alignment":
        raise UsageError(f"--landmarker FILE does not go with --detector {name}: leave one of them out")
    if name == "face-alignment":
        from avatarkit.tracking.alignment import FaceAlignment

        return FaceAlignment(most)
    if landmarker is not None or name == "landmarker":
        from avatarkit.tracking.landmarker import FaceLandmarker, task_file

        return FaceLandmarker(landmarker or task_file(), most)
    return FaceMesh(most, windows)


def lanes(name: str, landmarker: Path | None) -> int:
    """How many detectors of a clip may take its frames in turn without finding less than one: two of mediapipe's mesh.

    The landmarker smooths over the frames it sees, and face-alignment takes all cores as it is.
    """
    return 2 if name == "mediapipe" and landmarker is None else 1


NAMES = ("mediapipe", "landmarker", "face-alignment")


def _warmed(graph: Any) -> Any:
    """``graph`` after an empty picture: mediapipe opens its models, and chatters about it, in other threads."""
    graph.process(np.zeros((64, 64, 3), np.uint8))
    return graph


def check_points(points: Float, source: str) -> Float:
    """``points`` when they are [478, 3]; a model of another mesh raises AvatarkitError."""
    if points.shape != (COUNT, 3):
        raise AvatarkitError(
            f"{source}: gives {len(points)} landmarks, {COUNT} are needed: another model's file?"
        )
    return points
