"""What stays behind the head of a clip: its background without the person, and the torso as a layer of its own."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.data.labels import Label, decode
from avatarkit.files.errors import AvatarkitError
from avatarkit.files.track import Track
from avatarkit.files.video import read_frames_at

Float = NDArray[np.float32]
Image = NDArray[np.uint8]

SAMPLES = 41
"""Frames the background is taken from at most."""
MEMORY = 128 << 20
"""Bytes those frames may take together; large videos use fewer of them."""
CLEAR = 13
"""Of 255: a pixel with less person than this shows background."""
SPILL = 0.03
"""Share of the frame's longer side by which the person is grown: soft edges, shadows and blur go with it."""


def pull_push(image: Float, weight: Float) -> Float:
    """``image`` [H, W, C] with pixels of little ``weight`` [H, W] filled smoothly from their surroundings.

    Gortler et al. 1996 (The Lumigraph), section 4.3.3: pull averages up a pyramid by weight, push fills from
    the coarser level what is missing. Pixels of weight 1 are kept. Any size; all weights 0 gives zeros.
    """
    height, width = weight.shape
    if min(height, width) == 1:
        total = float(weight.sum())
        mean = (image * weight[..., None]).sum((0, 1)) / max(total, 1e-6)
        return np.asarray(weight[..., None] * image + (1 - weight[..., None]) * mean, np.float32)
    small = (width + 1) // 2, (height + 1) // 2
    weighted = np.dstack([image * weight[..., None], weight])
    down = cv2.resize(cv2.blur(weighted, (2, 2)), small, interpolation=cv2.INTER_AREA)
    known = down[..., -1]
    coarse = down[..., :-1] / np.maximum(known, 1e-6)[..., None]
    # A coarse pixel is known as soon as a part of it is: the weights saturate on their way up.
    filled = pull_push(coarse, np.minimum(known * 4, 1))
    up = cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR).reshape(image.shape)
    return np.asarray(up + weight[..., None] * (image - up), np.float32)


def background_plate(track: Track, source: Path) -> Image:
    """[H, W, 3] uint8 clean background of the whole frame of a segmented clip.

    Temporal median over frames in which the pixel shows no person (static camera), pull-push where the person
    always stands, with the grain of the known part. The same track gives the same bytes. Raises AvatarkitError
    when the track holds no mattes.
    """
    positions = _with_whole_matte(track)
    height, width = _size(track)
    count = int(np.clip(MEMORY // (height * width * 4), 5, SAMPLES))
    chosen = positions[np.unique(np.linspace(0, len(positions) - 1, count).round().astype(int))]
    stack, clear = [], []
    for t, frame in _frames(track, source, chosen):
        stack.append(frame)
        clear.append(_grown(person_in_frame(track, t), SPILL) < CLEAR)
    plate, seen = _masked_median(np.stack(stack), np.stack(clear))
    filled = pull_push(plate, seen.astype(np.float32))
    # A seam is hidden by letting the fill reach a little into the known part.
    soft = cv2.GaussianBlur(cv2.erode(seen.astype(np.float32), np.ones((5, 5))), (0, 0), 1.5)
    plate = filled + soft[..., None] * (plate - filled)
    plate += (1 - soft)[..., None] * _grain(plate, stack[0], clear[0])
    return np.asarray(np.clip(plate + 0.5, 0, 255), np.uint8)


def usual_torso(track: Track, rest: int) -> int:
    """The valid frame that shows the torso where it was followed to most often, with the head as in frame ``rest``.

    A person may sit down, or turn, after the frame of rest: a torso taken from the middle of all its places is
    carried the least far. ``rest`` itself where half of the frames or more do not show how the torso moves.
    """
    if track.torso is None or track.torso_confidence is None:
        return rest
    shown = track.valid & (track.torso_confidence > 0) & np.isfinite(track.torso).all((1, 2))
    rows = np.flatnonzero(shown)
    if 2 * len(rows) < track.valid.sum() or not shown[rest]:
        return rest
    height, width = _size(track)
    corners = np.array([[0.1, 0.9], [0.5, 0.8], [0.9, 0.9]]) * (width, height)
    places = corners @ track.torso[rows, :, :2].transpose(0, 2, 1) + track.torso[rows, None, :, 2]
    away = np.linalg.norm(places - np.median(places, 0), axis=2).mean(1)
    turned = np.linalg.norm(track.rotation[rows] - track.rotation[rest], axis=(1, 2))
    cost = away / (0.001 * width) + turned
    if "jawOpen" in track.expression_names:  # an open jaw covers the neck
        cost += 2 * track.expression[rows, track.expression_names.index("jawOpen")]
    return int(rows[np.argmin(cost)])


def torso_layer(track: Track, source: Path, position: int) -> Image | None:
    """[H, W, 4] uint8 straight RGBA of the torso of one frame, to be drawn between plate and head; None if unseen.

    The person of tracked ``position`` below the head, colors unmixed from the background at the soft edge. Neck
    and collar are continued upwards behind the head, so that no hole opens when the avatar's head moves a little.
    Raises AvatarkitError when the track has no mattes.
    """
    _with_whole_matte(track)  # or says what to do
    t = position
    frame = next(frame for _, frame in _frames(track, source, np.array([t])))
    person = person_in_frame(track, t).astype(np.float32) / 255
    head = _crop_to_frame(track, t, "head").astype(np.float32) / 255
    labels = _crop_to_frame(track, t, "labels")
    chin, brow = track.landmarks[t, 152, :2], track.landmarks[t, 10, :2]
    tall = float(np.linalg.norm(chin - brow))

    left, top, right, bottom = _visible(track)
    around = np.ones(person.shape, np.bool_)
    around[top:bottom, left:right] = False

    body = _body(person, head, labels, around, chin, tall)
    # Under the head's soft lower edge the layer is whole already: two half transparent edges show what is behind.
    alpha = body * person * np.clip((1 - head / np.maximum(person, 1e-3)) / 0.1, 0, 1)
    alpha = np.maximum(alpha, body * (labels == Label.NECK) * person)
    if alpha.max() < 0.5:
        return None
    alpha = np.maximum(alpha, _behind(alpha, head, chin, tall))
    # The continuation keeps away from the head's outline; where the layer is on both sides, the gap is closed.
    reach = 2 * max(1, round(0.05 * tall)) + 1
    bridged = cv2.morphologyEx(
        alpha, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    )
    alpha = np.maximum(alpha, bridged * person)
    trusted = (alpha > 0.5) & (np.isin(labels, (Label.TORSO, Label.NECK)) | (head < 0.02))
    trusted &= cv2.erode(person, np.ones((5, 5))) > 0.97
    color = pull_push(frame.astype(np.float32), trusted.astype(np.float32))
    return np.dstack([np.clip(color + 0.5, 0, 255), alpha * 255 + 0.5]).astype(np.uint8)


def _body(
    person: Float, head: Float, labels: Image, around: NDArray[np.bool_], chin: Float, tall: float
) -> Float:
    """[H, W] 1 on torso, neck and what hangs below the head, soft towards hair and face.

    ``around`` [H, W] is what lies outside the crop, where no labels are.
    """
    low = np.arange(person.shape[0])[:, None] > chin[1] - 0.05 * tall
    hanging = (labels == Label.HAIR) & (head < 0.5 * person)
    found = (labels == Label.TORSO) | (low & (hanging | (labels == Label.NECK))) | (around & (person > 0.5))
    # What is small or floats beside the face is a slip of the labels, no torso.
    _, parts, stats, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8))
    lowest = stats[:, cv2.CC_STAT_TOP] + stats[:, cv2.CC_STAT_HEIGHT]
    deep = min(chin[1] + 0.08 * tall, person.shape[0] - 1)
    found &= ((stats[:, cv2.CC_STAT_AREA] > (0.1 * tall) ** 2) & (lowest > deep))[parts]
    reach = max(1, round(0.02 * tall))
    near = cv2.dilate(found.astype(np.float32), np.ones((2 * reach + 1, 2 * reach + 1)))
    return np.asarray(cv2.blur(near, (2 * reach + 1, 2 * reach + 1)))


def _behind(alpha: Float, head: Float, chin: Float, tall: float) -> Float:
    """[H, W] the layer's continuation behind the head: neck and collar grown upwards, well inside its outline."""
    reach = max(1, round(0.22 * tall))
    # A pixel takes the maximum of what lies up to ``reach`` below it, and a little to its sides.
    kernel = np.ones((reach + 1, 2 * reach // 3 + 1), np.uint8)
    grown = cv2.dilate(alpha, kernel, anchor=(kernel.shape[1] // 2, 0))
    margin = 2 * max(1, round(0.04 * tall)) + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (margin, margin))
    inside = cv2.erode((head > 0.9).astype(np.float32), disk)
    soft = max(1.0, 0.02 * tall)
    rows = np.arange(alpha.shape[0], dtype=np.float32)[:, None]
    below_mouth = np.clip((rows - chin[1] + 0.3 * tall) / soft, 0, 1)
    return np.asarray(grown * cv2.GaussianBlur(inside, (0, 0), soft) * below_mouth)


def person_in_frame(track: Track, t: int) -> Image:
    """[H, W] uint8 person matte of the whole frame at tracked position ``t``: fine in the crop, coarse around it."""
    assert track.mattes is not None
    height, width = _size(track)
    whole = track.mattes[t].get("frame")
    if whole is None:
        nearest = _with_whole_matte(track)
        whole = track.mattes[int(nearest[np.argmin(np.abs(nearest - t))])]["frame"]
    result = np.asarray(cv2.resize(decode(whole), (width, height), interpolation=cv2.INTER_LINEAR))
    fine = _crop_to_frame(track, t, "person")
    left, top, right, bottom = _visible(track)
    # The two mattes are blended over a margin, except along the frame's own edges.
    inside = np.zeros((height, width), np.float32)
    inside[top:bottom, left:right] = 1
    margin = max(3, int(track.crop[2]) // 16)
    padded = cv2.copyMakeBorder(inside, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
    share = cv2.blur(cv2.erode(padded, np.ones((margin, margin))), (margin, margin))
    share = share[margin:-margin, margin:-margin]
    return np.asarray(result + share * (fine.astype(np.float32) - result) + 0.5, np.uint8)


def _masked_median(stack: Image, clear: NDArray[np.bool_]) -> tuple[Float, NDArray[np.bool_]]:
    """([H, W, 3] median of ``stack`` [N, H, W, 3] over ``clear`` [N, H, W], [H, W] where there is one)."""
    count, height, width, _ = stack.shape
    result = np.zeros((height, width, 3), np.float32)
    seen = clear.sum(0)
    for top in range(0, height, 32):  # in strips: the float copies stay small
        rows = slice(top, top + 32)
        values = np.where(clear[:, rows, :, None], stack[:, rows].astype(np.float32), np.inf)
        values.sort(axis=0)
        middle = np.maximum(seen[rows] - 1, 0)
        low, high = (middle // 2)[None, ..., None], ((middle + 1) // 2)[None, ..., None]
        median = (np.take_along_axis(values, low, 0) + np.take_along_axis(values, high, 0))[0] / 2
        result[rows] = np.where(np.isfinite(median), median, 0)
    # Seen in few frames of many is more often a hole in a matte than background.
    return result, seen >= max(1, count // 6)


def _grain(plate: Float, frame: Image, clear: NDArray[np.bool_]) -> Float:
    """[H, W, 1] noise like that of ``frame`` where it is ``clear``; a median has none, and neither has a fill."""
    height, width = clear.shape
    gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
    high = gray - cv2.GaussianBlur(gray, (0, 0), 1.2)
    # The median absolute deviation leaves edges out.
    level = 1.48 * float(np.median(np.abs(high[clear]))) if clear.any() else 0.0
    noise = np.random.default_rng(0).standard_normal((height, width, 1)).astype(np.float32)
    return np.asarray(min(level, 4.0) * noise)


def _grown(matte: Image, share: float) -> Image:
    """[H, W] maximum of ``matte`` within ``share`` of the longer side; at a coarse resolution, for speed."""
    height, width = matte.shape
    scale = min(1.0, 256 / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    radius = max(1, round(share * max(size)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    grown = cv2.dilate(cv2.resize(matte, size, interpolation=cv2.INTER_AREA), kernel)
    return np.asarray(cv2.resize(grown, (width, height), interpolation=cv2.INTER_LINEAR))


def _with_whole_matte(track: Track) -> NDArray[np.int64]:
    """Positions that hold a matte of the whole frame."""
    found = [t for t, mattes in enumerate(track.mattes or ()) if "frame" in mattes and "person" in mattes]
    if not found:
        raise AvatarkitError("the track holds no mattes of whole frames: run 'avatarkit segment' on it first")
    return np.array(found)


def _size(track: Track) -> tuple[int, int]:
    video = track.meta["video"]
    return int(video["height"]), int(video["width"])


def _visible(track: Track) -> tuple[int, int, int, int]:
    """left, top, right, bottom of the crop inside the frame."""
    height, width = _size(track)
    x, y, side = (int(v) for v in track.crop[:3])
    return max(x, 0), max(y, 0), min(x + side, width), min(y + side, height)


def _frames(track: Track, source: Path, positions: NDArray[np.int64]) -> list[tuple[int, Image]]:
    at = {int(track.frame[t]): int(t) for t in positions}
    return [(at[index], frame) for index, frame in read_frames_at(source, at)]


def _crop_to_frame(track: Track, t: int, kind: str) -> Image:
    """[H, W] uint8 a matte or label map of the crop at its place in the whole frame, 0 around it."""
    assert track.mattes is not None
    height, width = _size(track)
    result = np.zeros((height, width), np.uint8)
    if kind not in track.mattes[t]:
        return result
    x, y, side = (int(v) for v in track.crop[:3])
    method = cv2.INTER_NEAREST if kind == "labels" else cv2.INTER_LINEAR
    full = cv2.resize(decode(track.mattes[t][kind]), (side, side), interpolation=method)
    left, top, right, bottom = _visible(track)
    result[top:bottom, left:right] = full[top - y : bottom - y, left - x : right - x]
    return result
