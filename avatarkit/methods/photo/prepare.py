"""A photo taken apart: the person's own colors, how much of each pixel is person, and what is behind."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from avatarkit.data.plate import pull_push
from avatarkit.heads.landmarks import OVAL
from avatarkit.methods.photo.texture import detailed

Float = NDArray[np.float32]
Image = NDArray[np.uint8]

SPILL = 0.03
"""Share of the face's width by which the person is grown before the background is filled."""
NEAR = 0.15
"""Reach of detail in the filled background, in face widths: so far a turn uncovers it."""
UNSURE = 0.025
"""Half the width, in face widths, from which half a matte is no edge."""
INSIDE = 0.97
"""Size of the outline within which the face is whole, against the face's oval."""


@dataclass(frozen=True)
class Layers:
    """One photo of H x W pixels as layers that can move against each other."""

    photo: Image
    """[H, W, 3] the photo itself."""
    alpha: Float
    """[H, W] share of the person in each pixel."""
    color: Image
    """[H, W, 3] the person's own color, continued outwards where there is no person."""
    plate: Image
    """[H, W, 3] the background without the person."""

    def premultiplied(self) -> Image:
        """[H, W, 4] the person's color times alpha, and alpha, 0 to 255."""
        scaled = self.color * self.alpha[..., None]
        return np.dstack([scaled, self.alpha * 255]).round().astype(np.uint8)


def layers(
    photo: Image, matte: Image, points: NDArray[np.floating], plate: Image | None = None, seed: int = 0
) -> Layers:
    """Take ``photo`` [H, W, 3] with face landmarks ``points`` [478, 3] apart by the person's ``matte`` [H, W].

    The matte is 255 for person. A ``plate`` made before is taken as it is; ``seed`` is that of its grain.
    """
    alpha = matte.astype(np.float32) / 255
    if plate is None:  # else the matte comes from a file and is decided already
        alpha = decided(alpha, points)
    alpha = covered(alpha, points[list(OVAL), :2])
    width = float(np.linalg.norm(points[454, :2] - points[234, :2]))
    if plate is None:
        plate = background(photo, alpha, width, seed)
    return Layers(photo, alpha, unmixed(photo, alpha, plate), plate)


def decided(alpha: Float, points: NDArray[np.floating]) -> Float:
    """``alpha`` [H, W] made whole where it is half over a wide area below the chin of ``points`` [478, 3].

    No edge is that wide there: the matte does not know (a table, a chair). What it does not know goes with the
    person; taken apart into two layers it would show blots as soon as it moves.
    """
    width = float(np.linalg.norm(points[454, :2] - points[234, :2]))
    size = 2 * max(2, round(UNSURE * width)) + 1
    unsure = ((alpha > 0.03) & (alpha < 0.97)).astype(np.uint8)
    unsure[: int(np.clip(points[152, 1], 0, len(unsure)))] = 0
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    wide = cv2.morphologyEx(unsure, cv2.MORPH_OPEN, disk)
    if not wide.any():
        return alpha
    soft = cv2.GaussianBlur(cv2.dilate(wide, disk).astype(np.float32), (0, 0), 1.5)
    return np.asarray(np.maximum(alpha, soft * (alpha > 0.01)), np.float32)


def covered(alpha: Float, face: NDArray[np.floating]) -> Float:
    """``alpha`` [H, W] made whole inside the ``face``'s outline [P, 2] (pixels): mattes gnaw at cheeks."""
    center = face.mean(0)
    inside = np.zeros(alpha.shape, np.uint8)
    fixed = np.round((center + INSIDE * (face - center) - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(inside, [fixed], 255, cv2.LINE_AA, 4)
    whole = cv2.GaussianBlur(inside.astype(np.float32) / 255, (0, 0), 1.0)
    # In steps of 1/255, as the file keeps it.
    return np.asarray(np.round(np.maximum(alpha, whole) * 255) / 255, np.float32)


def background(photo: Image, alpha: Float, width: float, seed: int = 0) -> Image:
    """[H, W, 3] the photo with the person filled from around it: pull-push, near the edge with detail, and grain."""
    radius = max(2, round(SPILL * width))
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    person = cv2.dilate((alpha > 0.04).astype(np.uint8), disk)
    known = (1 - person).astype(np.float32)
    source = photo.astype(np.float32)
    filled = pull_push(source, known) if known.any() else np.full_like(source, source.mean((0, 1)))
    filled = detailed(filled, source, known, NEAR * width)
    soft = cv2.GaussianBlur(cv2.erode(known, np.ones((5, 5))), (0, 0), 1.5)[..., None]
    gray = np.asarray(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), np.float32)
    high = gray - cv2.GaussianBlur(gray, (0, 0), 1.2)
    level = 1.48 * float(np.median(np.abs(high[known > 0]))) if known.any() else 0.0
    noise = np.random.default_rng(seed).standard_normal((*known.shape, 1)).astype(np.float32)
    made = filled + min(level, 4.0) * noise
    return np.clip(made + soft * (source - made) + 0.5, 0, 255).astype(np.uint8)


def unmixed(photo: Image, alpha: Float, plate: Image) -> Image:
    """[H, W, 3] the color F of photo = alpha F + (1 - alpha) plate; where little of it shows, continued from inside."""
    share = alpha[..., None]
    source, behind = photo.astype(np.float32), plate.astype(np.float32)
    color = (source - (1 - share) * behind) / np.maximum(share, 0.05)
    trust = np.clip((alpha - 0.35) / 0.6, 0, 1)
    trust = trust * trust * (3 - 2 * trust)
    # An unmixed color that leaves the gamut tells of a wrong matte or a wrong plate.
    trust *= np.clip(1 - np.abs(color - np.clip(color, 0, 255)).max(-1) / 40, 0, 1)
    filled = pull_push(np.clip(color, 0, 255), trust)
    return np.clip(filled + 0.5, 0, 255).astype(np.uint8)
