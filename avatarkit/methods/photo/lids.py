"""Upper lids that come down: skin where a photo of an open eye has none, and lashes along its edge."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.data.plate import pull_push
from avatarkit.methods.photo.polygons import polygon_mask
from avatarkit.methods.photo.rules import LIDS, eye_axes, eye_map
from avatarkit.methods.photo.warp import eased
from avatarkit.ops import patches

Array = NDArray[np.float64]
Float = NDArray[np.float32]
Image = NDArray[np.uint8]

BEGIN, WHOLE = 0.15, 0.55
"""Share of its own aperture by which an eye closes before new skin shows, and at which it is opaque."""
MEET = 0.35
"""Share of the aperture from which the lid reaches on to the lower margin, so that no sliver of the eye stays."""
SOFT, RAISED, CORNER = 0.05, 0.05, 0.14
"""Softness of the new skin's edge, how far it reaches above the crease and beyond the corners, in eye widths."""
BESIDE = 0.25
"""Reach of lashes beside the eye's corners, in eye widths."""
LINE, FRINGE, DARK = 0.028, 0.085, 0.8
"""Thickness of the line of lashes and length of their fringe in eye widths, and how opaque the line is."""


class Lid:
    """The skin of one upper lid as it looks when the eye is closed."""

    def __init__(self, photo: Image, landmarks: Array, eye: int) -> None:
        """``photo`` [H, W, 3], its ``landmarks`` [478, 3], ``eye`` 0 (right) or 1 (left)."""
        upper, lower, above, _ = LIDS[eye]
        self.eye = eye
        self.upper, self.lower = np.array(upper), np.array(lower)
        self.crease = np.array([upper[0], *above, upper[-1]])
        middle, along, _ = eye_axes(landmarks, eye)
        self.size = max(float(np.linalg.norm(along)), 2.0)
        self.aperture = max(self._aperture(landmarks), 1e-3)
        reach = round(0.9 * self.size) + 2
        origin = np.floor(middle).astype(int) - reach
        rows = np.clip(np.arange(origin[1], origin[1] + 2 * reach), 0, photo.shape[0] - 1)
        columns = np.clip(np.arange(origin[0], origin[0] + 2 * reach), 0, photo.shape[1] - 1)
        patch = np.ascontiguousarray(photo[rows[:, None], columns]).astype(np.float32)
        loop = landmarks[np.concatenate([upper, lower[-2:0:-1]]), :2] - origin
        inside = polygon_mask(loop, 2 * reach, 2 * reach).astype(np.uint8)
        # Lashes stand out of the loop, most of them upwards: their color is the eye's, not the skin's.
        up, down = max(2, round(0.16 * self.size)), max(1, round(0.07 * self.size))
        kernel = np.ones((up + down + 1, 2 * down + 1), np.uint8)
        hidden = cv2.dilate(inside, kernel, anchor=(down, down))
        # Beside the corners they stand out further: what is dark there is no skin either.
        near = cv2.dilate(hidden, np.ones((1, 2 * round(BESIDE * self.size) + 1), np.uint8)) > 0
        light = patch.mean(-1)
        level = float(np.median(light[near & (hidden == 0)])) if (near & (hidden == 0)).any() else 0.0
        clear = np.clip((light / max(level, 1.0) - 0.6) / 0.3, 0, 1)
        known = np.where(near, clear, 1) * (1 - hidden)
        skin = np.asarray(pull_push(patch, known.astype(np.float32)), np.float32)
        rim = (cv2.dilate(inside, np.ones((3, 3), np.uint8)) > 0) & (
            cv2.erode(inside, np.ones((3, 3), np.uint8)) == 0
        )
        dark = np.percentile(patch[rim], 10, axis=0) if rim.any() else np.full(3, 40.0)
        self.lash = np.asarray(np.minimum(dark, 0.45 * np.median(skin, (0, 1))), np.float32)
        self.rest = np.vstack([eye_map(landmarks, self.eye), [0, 0, 1]])
        self.back = np.linalg.inv(self.rest)[:2]
        self.back[:, 2] -= origin
        self.skin = patches.picture(skin, self.back).texels

    def closing(self, landmarks: Array) -> float:
        """0 where the eye of ``landmarks`` [478, 3] is as open as in the photo, 1 where it is shut."""
        return min(max(1 - self._aperture(landmarks) / self.aperture, 0.0), 1.0)

    def draw(self, frame: Image, landmarks: Array) -> None:
        """Draw into ``frame`` [H, W, 3] where ``landmarks`` [478, 3] have the lid lower than the photo has it."""
        closed = self.closing(landmarks)
        share = eased((closed - BEGIN) / (WHOLE - BEGIN))
        if share <= 0:
            return
        margin = landmarks[self.upper, :2]
        meeting = eased((closed - 1 + MEET) / (MEET - 0.1))
        edge = margin + meeting * (landmarks[self.lower, :2] - margin)
        axes = eye_map(landmarks, self.eye)
        crease = self._crease(landmarks, axes)
        outline = np.concatenate([crease, edge[::-1]])
        soft = max(0.7, SOFT * self.size)
        where = patches.polygon(outline, soft, 3 + round(2 * soft))
        skin = patches.Picture(self.skin, _after(self.back, axes))
        patches.paint(frame, where, [skin], share, patches.lines(axes, np.stack([crease, edge])))
        size = float(np.linalg.norm(edge[-1] - edge[0]))
        thick, long = max(1, round(LINE * size)), max(2, round(FRINGE * size))
        patches.paint_lashes(frame, edge, self.lash, thick, long, DARK * share)

    def _crease(self, landmarks: Array, axes: Array) -> Array:
        """[9, 2] where the new skin ends above: past the crease and the eye's corners, where lashes are drawn out."""
        back = axes[:, :2].T / float(axes[0, :2] @ axes[0, :2])  # a rotation times a size
        crease = landmarks[self.crease, :2] - RAISED * back[:, 1]
        outwards = np.sign((crease[-1] - crease[0]) @ back[:, 0]) * CORNER * back[:, 0]
        crease[0] -= outwards + RAISED * back[:, 1]
        crease[-1] += outwards - RAISED * back[:, 1]
        return crease

    def _aperture(self, landmarks: Array) -> float:
        """Mean distance of the margins in eye widths."""
        across = eye_map(landmarks, self.eye)[1, :2]
        apart = landmarks[self.lower[2:7], :2] - landmarks[self.upper[2:7], :2]
        return float((apart @ across).sum()) / 5


def _after(outer: Array, inner: Array) -> Float:
    """[2, 3] the affine map ``outer`` of what ``inner`` [2, 3] makes."""
    return np.asarray(outer @ np.vstack([inner, [0, 0, 1]]), np.float32)
