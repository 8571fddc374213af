"""Track and video in, track with mattes out. Streams: memory does not grow but for the mattes themselves."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit import __version__
from avatarkit.data.ahead import ahead
from avatarkit.data.labels import encode
from avatarkit.files.errors import AvatarkitError, NoFaceError, UsageError
from avatarkit.files.track import Track
from avatarkit.files.video import probe, read_frames_at
from avatarkit.segmentation.backdrop import Backdrop, in_one_piece
from avatarkit.segmentation.geometry import Face, Geometry, head_share
from avatarkit.segmentation.labeling import label_map
from avatarkit.segmentation.matting import Matter, SelfieMatter, applied, edge_model
from avatarkit.segmentation.parsing import EARS, MeshParser, Parser, Sample
from avatarkit.segmentation.steady import Layers, Steadier
from avatarkit.segmentation.window import GRID, Window

Image = NDArray[np.uint8]
Progress = Callable[[dict[str, Any]], None]
"""Called with {"stage": "segmenting", "step": frames done, "steps": frames in all}."""

LEARN_FRAMES, LEARN_SPAN = 20, 1000
"""The color models are learned on this many frames, spread over at most so many from the clip's start."""
AHEAD = 6
"""Frames that may wait for the encoding threads."""
WHOLE_EVERY, WHOLE_SIDE = 10, 512
"""Every so many tracked frames the person is also matted in the whole frame, longer side at most so many
pixels, for the background plate and the torso layer."""


@dataclass(frozen=True)
class SegmentOptions:
    """How to segment."""

    matting: str = "selfie"
    """selfie (comes with mediapipe) or modnet (needs its checkpoint)."""
    parsing: str = "mesh"
    """mesh (tracked mesh and color models) or bisenet (needs its checkpoint)."""
    weights: tuple[Path, ...] = ()
    """checkpoints of the networks asked for; those not given are downloaded."""
    size: int = 512
    """largest side of the mattes, pixels."""
    steady: int = 2
    """frames to both sides that steady a matte; 0 leaves it as it is."""
    parts: bool = True
    """whether ``head`` and ``labels`` are made, too; without them nothing is parsed."""


def segment(
    track: Track, source: Path, options: SegmentOptions | None = None, progress: Progress | None = None
) -> Track:
    """A copy of ``track`` whose ``mattes`` hold, per tracked frame, PNG bytes of 8-bit gray images:

    - ``person`` [S, S]: person matte of the square ``track.crop`` (S = min(crop size, options.size));
    - ``head`` [S, S]: head, hair and neck down to the cut line, same region (valid frames only);
    - ``labels`` [S, S]: ``avatarkit.data.labels.Label`` of each pixel, same region (valid frames only);
    - ``frame`` [h, w], every tenth frame: person matte of the whole frame, longer side at most 512 pixels.

    Where the crop reaches over the frame's edge, mattes are continued and labels are BACKGROUND.
    ``source`` is the track's video, image folder or photo. Raises NoFaceError when no frame is valid,
    UsageError for unknown options, AvatarkitError when track and video do not fit.
    """
    options = options or SegmentOptions()
    info = probe(source)
    _check(track, info.width, info.height)
    window = Window.of(track.crop, info.width, info.height, options.size)
    job = _Job(track, Path(source), window, Geometry(track), options, window.inside())
    matter, parser = _back_ends(options)
    mattes: list[dict[str, bytes]] = [{} for _ in range(len(track))]
    with matter:
        samples = list(job.samples(matter, parser))
        backdrop = Backdrop(samples)
        if options.parts:
            parser.learn(samples)
        del samples
        for done, (t, pictures) in enumerate(job.pictures(matter, parser, backdrop), 1):
            mattes[t] = pictures
            if progress is not None:
                progress({"stage": "segmenting", "step": done, "steps": len(track)})
    made = {"tool": f"avatarkit {__version__}", "matting": matter.name, "parsing": parser.name,
            "size": window.size, "steady": options.steady, "ears": EARS in parser.parts}  # fmt: skip
    return replace(track, mattes=mattes, meta={**track.meta, "segment": made})


def _check(track: Track, width: int, height: int) -> None:
    video = track.meta.get("video", {})
    said = video.get("width"), video.get("height")
    if None not in said and said != (width, height):
        raise AvatarkitError(
            f"the track is of a {said[0]}x{said[1]} video, but this one has {width}x{height}: "
            "give the video it was made from"
        )
    if not track.valid.any():
        raise NoFaceError("the track holds no valid frame: track a clip in which the face can be seen")


def _back_ends(options: SegmentOptions) -> tuple[Matter, Parser]:
    matter: Matter = SelfieMatter()
    parser: Parser = MeshParser()
    if options.matting == "modnet":
        from avatarkit.segmentation.modnet import ModnetMatter

        matter = ModnetMatter(options.weights)
    elif options.matting != "selfie":
        raise UsageError(f"--matting {options.matting}: choose selfie or modnet")
    if options.parsing == "bisenet":
        from avatarkit.segmentation.bisenet import BisenetParser

        parser = BisenetParser(options.weights)
    elif options.parsing != "mesh":
        raise UsageError(f"--parsing {options.parsing}: choose mesh or bisenet")
    return matter, parser


@dataclass(frozen=True)
class _Waiting:
    """What a frame carries while it waits for its neighbors."""

    t: int
    canvas: Image
    face: Face | None
    whole: bytes | None


@dataclass(frozen=True)
class _Job:
    track: Track
    source: Path
    window: Window
    geometry: Geometry
    options: SegmentOptions
    inside: NDArray[np.bool_]

    def samples(self, matter: Matter, parser: Parser) -> Iterator[Sample]:
        """A few frames spread over the clip to learn the color models on."""
        valid = np.flatnonzero(self.track.valid)
        valid = valid[self.track.frame[valid] < self.track.frame[valid[0]] + LEARN_SPAN]
        chosen = valid[np.unique(np.linspace(0, len(valid) - 1, LEARN_FRAMES).round().astype(int))]
        at = {int(self.track.frame[t]): int(t) for t in chosen}
        for index, frame in read_frames_at(self.source, at):
            face = self.geometry.face(at[index])
            if face is not None:
                views = self._views(frame, matter, parser)
                yield Sample(
                    views[GRID],
                    matter(views[matter.side]),
                    face,
                    self.window.frame_to_grid,
                    views[parser.side],
                )

    def _views(self, frame: Image, *networks: Matter | Parser) -> dict[int, Image]:
        """The visible crop at the work grid's side and at those the networks ask for."""
        return {side: self.window.grid_of(frame, side) for side in {GRID, *(n.side for n in networks)}}

    def pictures(
        self, matter: Matter, parser: Parser, backdrop: Backdrop
    ) -> Iterator[tuple[int, dict[str, bytes]]]:
        """(position in the track, PNG bytes by name) of every tracked frame, in order.

        Decoding and the networks run in this thread, what follows them in two others: OpenCV and PNG
        compression let go of the interpreter.
        """
        with ThreadPoolExecutor(2) as workers:
            pending: deque[tuple[int, Future[dict[str, bytes]]]] = deque()
            try:
                for waiting, steady in self._steadied(matter, parser, backdrop):
                    pending.append((waiting.t, workers.submit(self._encoded, waiting, steady)))
                    if len(pending) > AHEAD:
                        t, future = pending.popleft()
                        yield t, future.result()
                while pending:
                    t, future = pending.popleft()
                    yield t, future.result()
            finally:
                for _, future in pending:
                    future.cancel()

    def _steadied(
        self, matter: Matter, parser: Parser, backdrop: Backdrop
    ) -> Iterator[tuple[_Waiting, Layers]]:
        """Each frame with the steadied edge model of its matte, and the parser's parts [GRID, GRID, 3 or 4] uint8."""
        steadier, to_grid = Steadier(self.options.steady), self.window.frame_to_grid
        at = {int(index): t for t, index in enumerate(self.track.frame)}
        for index, frame in ahead(read_frames_at(self.source, at), 1):
            t = at[index]
            views = self._views(frame, matter, parser)
            image, matte, face = views[GRID], matter(views[matter.side]), self.geometry.face(t)
            matte = backdrop.corrected(image, matte)
            classes = np.zeros((GRID, GRID, len(parser.parts)), np.uint8)
            if face is not None:
                matte = in_one_piece(matte, face.landmarks @ to_grid[:, :2].T + to_grid[:, 2])
            if face is not None and self.options.parts:
                sample = Sample(image, matte, face, to_grid, views[parser.side])
                likely = cv2.convertScaleAbs(parser.probabilities(sample), alpha=255)
                classes = np.ascontiguousarray(likely[..., parser.parts])
            whole = self._whole(frame, matter) if t % WHOLE_EVERY == 0 else None
            waiting = _Waiting(t, self.window.canvas_of(frame), face, whole)
            gray = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
            yield from steadier.push(index, gray, (edge_model(matte, image), classes), waiting)
        yield from steadier.flush()

    def _whole(self, frame: Image, matter: Matter) -> bytes:
        height, width = frame.shape[:2]
        scale = min(1.0, WHOLE_SIDE / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        guide = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA))
        matte = np.asarray(cv2.resize(matter(guide), size, interpolation=cv2.INTER_LINEAR))
        return encode(applied(edge_model(matte, guide), guide))

    def _encoded(self, waiting: _Waiting, steady: Layers) -> dict[str, bytes]:
        face, window = waiting.face, self.window
        model, classes = steady
        person = applied(window.grid_to_canvas(model), waiting.canvas)
        pictures = {"person": encode(person)}
        if face is not None and self.options.parts:
            hair, cloth = (classes[..., c].astype(np.float32) / 255 for c in (1, 2))
            shares = head_share(face, window.frame_to_grid, hair, cloth)
            share, cut = (window.grid_to_canvas(cv2.convertScaleAbs(part, alpha=255)) for part in shares)
            head = cv2.multiply(person, share, scale=1 / 255)
            labels = label_map(person, window.grid_to_canvas(classes), cut, face, window.frame_to_canvas)
            labels[~self.inside] = 0
            pictures |= {"head": encode(head), "labels": encode(labels)}
        if waiting.whole is not None:
            pictures["frame"] = waiting.whole
        return pictures
