"""Built-in performances: well-timed expression, gaze and head motion without any driver video.

Speech is made of visemes with coarticulation (dominance functions after Cohen & Massaro, *Modeling Coarticulation
in Synthetic Visual Speech*, 1993); everything else is keyframes through monotone cubics, so nothing overshoots.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from avatarkit.files.errors import UsageError
from avatarkit.heads import arkit

Float = NDArray[np.float32]
Curve = NDArray[np.float64]

NECK_PIVOT = (0.0, -0.11, -0.07)
"""Default head-space point (meters) about which the head turns on the neck."""
HIPS = (0.0, -0.75, -0.12)
"""Head-space point about which the torso sways."""
GAZE_RANGE = (30.0, 25.0)
"""Degrees of eyeball yaw and pitch at which an eyeLook coefficient reaches 1."""


@dataclass(frozen=True)
class Performance:
    """T frames of acting. Poses are relative to a head at rest that faces the camera, in head-space axes."""

    name: str
    fps: float
    expression: Float
    """[T, 52] coefficients in [0, 1] in the order of ``arkit.NAMES``; eyeLook shapes agree with ``eyes``."""
    rotation: Float
    """[T, 3, 3] head at rest to head."""
    translation: Float
    """[T, 3] meters: x -> rotation x + translation."""
    neck: Float
    """[T, 3] axis-angle of the head against the torso."""
    eyes: Float
    """[T, 2, 3] axis-angle of the (left, right) eyeball."""

    def __len__(self) -> int:
        return len(self.expression)

    def to_camera(self, distance: float, offset: tuple[float, float] = (0.0, 0.0)) -> tuple[Float, Float]:
        """Head-to-camera rotation [T, 3, 3] and translation [T, 3] for a camera in front of the face.

        The camera (OpenCV axes) looks along -z of head space from ``distance`` meters; ``offset`` shifts the
        head right and up in meters.
        """
        flip = np.diag([1.0, -1.0, -1.0])
        moved = self.translation + np.array([*offset, -distance])
        return (flip @ self.rotation).astype(np.float32), (moved @ flip).astype(np.float32)


VISEMES: dict[str, dict[str, float]] = {
    "rest": {},
    "aa": {"jawOpen": 0.62, "mouthLowerDown": 0.18, "mouthUpperUp": 0.10, "mouthStretch": 0.08},
    "eh": {"jawOpen": 0.36, "mouthLowerDown": 0.22, "mouthUpperUp": 0.14, "mouthStretch": 0.18, "mouthSmile": 0.10},
    "ee": {"jawOpen": 0.14, "mouthLowerDown": 0.26, "mouthUpperUp": 0.18, "mouthStretch": 0.26, "mouthSmile": 0.30},
    "oh": {"jawOpen": 0.40, "mouthFunnel": 0.55, "mouthPucker": 0.18},
    "oo": {"jawOpen": 0.16, "mouthFunnel": 0.28, "mouthPucker": 0.68},
    "mm": {"mouthPress": 0.36, "mouthRollLower": 0.22, "mouthRollUpper": 0.16, "mouthClose": 0.02},
    "ff": {"jawOpen": 0.08, "mouthRollLower": 0.46, "mouthUpperUp": 0.22},
    "ss": {"jawOpen": 0.07, "mouthLowerDown": 0.24, "mouthUpperUp": 0.14, "mouthStretch": 0.22},
    "ll": {"jawOpen": 0.28, "mouthLowerDown": 0.16, "mouthUpperUp": 0.10},
    "sh": {"jawOpen": 0.12, "mouthFunnel": 0.50, "mouthPucker": 0.12, "mouthLowerDown": 0.12},
    "rr": {"jawOpen": 0.18, "mouthFunnel": 0.32, "mouthPucker": 0.22},
}  # fmt: skip
"""Mouth shapes of speech; names without a side stand for both."""

# Roughly: "Hello, I am a face made of code alone. I was never born, yet here I am." / "Watch me smile, and move."
_SPEECH = {
    "hello": "eh:.10 ll:.09 oh:.20 rest:.16 aa:.16 ee:.10 eh:.11 mm:.10 aa:.08 ff:.10 eh:.15 ee:.08 ss:.12 mm:.09 "
    "eh:.14 ll:.08 aa:.08 ff:.08 oh:.16 ll:.08 aa:.09 ll:.08 oh:.20 mm:.11 rest:.30",
    "never": "aa:.11 oo:.08 aa:.10 ss:.09 ll:.08 eh:.12 ff:.09 rr:.11 mm:.09 oh:.19 rr:.08 ll:.10 rest:.14 ee:.09 "
    "eh:.12 ll:.09 ee:.15 rr:.12 aa:.14 eh:.10 mm:.14 rest:.30",
    "watch": "oo:.08 aa:.15 sh:.12 mm:.08 ee:.13 rest:.08 ss:.09 mm:.09 aa:.14 ee:.08 ll:.12 rest:.14 eh:.11 ll:.09 "
    "mm:.08 oo:.18 ff:.11 rest:.30",
    "short": "oh:.14 ee:.10 rest:.10 aa:.13 ll:.08 ss:.10 oh:.16 ff:.09 aa:.12 rr:.09 rest:.2",
}


class Score:
    """Curves of one performance on a common clock, filled in step by step."""

    def __init__(self, fps: float, seconds: float) -> None:
        self.time = np.arange(max(round(fps * seconds), 1)) / fps
        self.seconds = seconds
        self.fps = fps
        self.coefficients = np.zeros((len(self.time), len(arkit.NAMES)))
        self.turn = np.zeros((len(self.time), 3))  # pitch (down), yaw (to the person's left), roll; degrees
        self.sway = np.zeros((len(self.time), 3))
        self.gaze = np.zeros((len(self.time), 2))  # yaw (to the person's left), pitch (down); degrees

    def add(self, name: str, values: Curve | float) -> None:
        """Add a curve to an expression; a name without a side is added to both sides."""
        for full in _sides(name):
            self.coefficients[:, arkit.INDEX[full]] += values

    def keys(self, *keys: tuple[float, float]) -> Curve:
        """A curve [T] through (second, value) pairs: monotone between them, constant outside."""
        at, value = (np.array(column) for column in zip(*keys, strict=True))
        from scipy.interpolate import PchipInterpolator  # a fifth of a second that only performances need

        curve: Curve = PchipInterpolator(at, value)(np.clip(self.time, at[0], at[-1]))
        return curve

    def hold(
        self, start: float, end: float, value: float = 1.0, rise: float = 0.35, fall: float = 0.5
    ) -> Curve:
        """A curve that rises to ``value`` from ``start``, stays, and is back at 0 at ``end``."""
        return self.keys(
            (start, 0), (start + rise, value), (max(end - fall, start + rise + 1e-3), value), (end, 0)
        )

    def say(self, start: float, speech: str, energy: float = 1.0) -> float:
        """Speak a line of ``_SPEECH`` (or visemes written like one); returns the second it ends at."""
        sounds = [part.split(":") for part in _SPEECH.get(speech, speech).split()]
        lengths = np.array([float(length) for _, length in sounds])
        ends = start + np.cumsum(lengths)
        total = np.full(len(self.time), 0.10)  # the mouth's pull back to rest
        blended = np.zeros_like(self.coefficients)
        for (viseme, _), length, end in zip(sounds, lengths, ends, strict=True):
            reach = 0.62 * length + 0.018  # anticipates and trails: about two frames of overlap
            dominance = np.exp(-((np.abs(self.time - (end - length / 2)) / reach) ** 2.2))
            if viseme in {"mm", "ff"}:
                dominance *= 2.2  # lips must meet, whatever stands beside them
            total += dominance
            for name, value in VISEMES[viseme].items():
                for full in _sides(name):
                    blended[:, arkit.INDEX[full]] += dominance * value * energy
        self.coefficients += blended / total[:, None]
        return float(ends[-1])

    def blink(self, *times: float) -> None:
        """Blinks that close within 80 ms and open within 170 ms."""
        for t in times:
            lid = self.keys((t - 0.09, 0), (t, 1), (t + 0.03, 1), (t + 0.2, 0))
            self.add("eyeBlink", lid)
            self.add("browDown", 0.06 * lid)
            self.add("eyeSquint", 0.12 * lid)

    def look(self, *keys: tuple[float, float, float]) -> None:
        """Gaze by saccades: (second, yaw, pitch) in degrees, each reached within 50 ms and held."""
        for (t, yaw, pitch), (_, yaw0, pitch0) in zip(keys, [(0.0, 0.0, 0.0), *keys[:-1]], strict=True):
            step = np.clip((self.time - t) / 0.05, 0, 1)
            step = step * step * (3 - 2 * step)
            self.gaze += step[:, None] * np.array([yaw - yaw0, pitch - pitch0])

    def alive(self, amount: float = 1.0, loop: bool = False, seed: int = 0) -> None:
        """Small continuous motion of head, torso, gaze and face; with ``loop`` its period is the whole clip."""
        for column in range(3):
            self.turn[:, column] += amount * (0.9, 1.3, 0.8)[column] * self._drift(seed + column, loop)
            self.sway[:, column] += amount * (0.35, 0.3, 0.35)[column] * self._drift(seed + 10 + column, loop)
        for column in range(2):
            self.gaze[:, column] += 0.6 * amount * self._drift(seed + 20 + column, loop, speed=2.0)
        for i, name in enumerate(("browInnerUp", "mouthSmile", "mouthPress", "eyeSquint")):
            self.add(
                name, amount * (0.05, 0.07, 0.03, 0.06)[i] * (0.5 + 0.5 * self._drift(seed + 30 + i, loop))
            )

    def _drift(self, seed: int, loop: bool, speed: float = 1.0) -> Curve:
        """A sum of slow sines in about [-1, 1]."""
        rng = np.random.default_rng(seed)
        rates = speed * np.array([0.13, 0.29, 0.47])
        if loop:
            rates = np.maximum(np.round(rates * self.seconds), 1) / self.seconds
        phase = 2 * np.pi * (rates * self.time[:, None] + rng.random(3))
        drift: Curve = np.sin(phase) @ np.array([0.55, 0.3, 0.15])
        return drift

    def performance(self, name: str, pivot: Sequence[float] = NECK_PIVOT) -> Performance:
        """The finished performance: clipped coefficients, lids that follow the gaze, poses about the pivots."""
        yaw, pitch = self.gaze.T
        across, along = np.clip(yaw / GAZE_RANGE[0], -1, 1), np.clip(pitch / GAZE_RANGE[1], -1, 1)
        for shape, value in (("eyeLookOutLeft", across), ("eyeLookInRight", across), ("eyeLookInLeft", -across),
                             ("eyeLookOutRight", -across), ("eyeLookDown", along), ("eyeLookUp", -along)):  # fmt: skip
            self.add(shape, np.maximum(value, 0))
        neck = Rotation.from_euler("YXZ", self.turn[:, [1, 0, 2]], degrees=True)
        sway = Rotation.from_euler("YXZ", self.sway[:, [1, 0, 2]], degrees=True)
        joint, hips = np.array(pivot), np.array(HIPS)
        rotation = sway * neck
        translation = sway.apply(joint - hips) + hips - rotation.apply(joint)
        gaze = Rotation.from_euler("YX", self.gaze, degrees=True).as_rotvec()
        return Performance(
            name, self.fps, np.clip(self.coefficients, 0, 1).astype(np.float32),
            rotation.as_matrix().astype(np.float32), translation.astype(np.float32),
            neck.as_rotvec().astype(np.float32), np.repeat(gaze[:, None], 2, 1).astype(np.float32),
        )  # fmt: skip


def performance(
    name: str, fps: float = 25.0, seconds: float | None = None, pivot: Sequence[float] = NECK_PIVOT
) -> Performance:
    """The built-in performance ``name`` (one of ``NAMES``) at ``fps``, by default as long as it was written.

    A longer ``seconds`` holds the last pose except for ``idle``, which always loops seamlessly. ``pivot`` is the
    neck joint of the head it is for. Raises UsageError for unknown names and non-positive rates or lengths.
    """
    if name not in _SCRIPTS:
        raise UsageError(f"unknown performance '{name}': choose one of {', '.join(NAMES)}")
    script, length = _SCRIPTS[name]
    if not fps > 0 or (seconds is not None and not seconds > 0):
        raise UsageError("a performance needs a positive frame rate and length")
    score = Score(fps, length if seconds is None else seconds)
    script(score)
    return score.performance(name, pivot)


def _sides(name: str) -> list[str]:
    return [name] if name in arkit.INDEX else [f"{name}Left", f"{name}Right"]


def _talk(s: Score) -> None:
    s.alive(seed=1)
    s.say(0.4, "hello")
    s.say(4.0, "never")
    s.blink(0.25, 2.0, 4.3, 6.6)
    s.look((0.0, 0, 0), (1.7, 6, -2), (2.3, 0, 0), (4.9, -7, 2), (5.5, 0, 0))
    s.turn[:, 0] += s.keys(
        (0.3, 0), (0.7, 4), (1.2, 0), (2.5, 3.5), (3.1, -1), (4.4, 3), (5.2, 0), (6.2, 4), (7, 0)
    )
    s.turn[:, 1] += s.keys((0.4, 0), (1.6, 5), (2.8, -2), (4.2, -5), (5.6, 3), (7, 0))
    s.add("browInnerUp", s.hold(1.0, 2.2, 0.3) + s.hold(4.6, 5.8, 0.35))
    s.add("browOuterUp", s.hold(4.6, 5.8, 0.25))


def _smile(s: Score) -> None:
    s.alive(seed=2)
    smile = s.keys((0.3, 0), (0.8, 0.75), (2.4, 0.9), (3.4, 0.1), (4.0, 0))
    s.add("mouthSmile", smile)
    s.add("cheekSquint", 0.6 * smile)
    s.add("eyeSquint", 0.35 * smile)
    s.add("mouthUpperUp", 0.25 * smile)
    s.add("mouthLowerDown", 0.2 * smile)
    s.add("jawOpen", 0.08 * smile)
    s.turn[:, 2] += s.keys((0.3, 0), (1.2, 4), (2.6, 3), (3.8, 0))
    s.blink(0.15, 3.3)


def _turn(s: Score) -> None:
    s.alive(amount=0.5, seed=3)
    s.turn[:, 1] += s.keys((0.3, 0), (1.2, 22), (1.7, 22), (3.0, -22), (3.5, -22), (4.5, 0))
    s.turn[:, 0] += s.keys((4.5, 0), (5.0, 10), (5.7, -9), (6.3, 0))
    s.look((0.25, 14, 0), (1.1, 3, 0), (1.75, -16, 0), (2.9, -3, 0), (3.5, 9, 0), (4.4, 0, 0))
    s.blink(0.3, 1.9, 3.6)


def _blink(s: Score) -> None:
    s.alive(amount=0.5, seed=4)
    s.blink(0.5, 1.3, 1.65, 2.6)


def _idle(s: Score) -> None:
    s.alive(loop=True, seed=5)
    for part in (0.12, 0.47, 0.52, 0.83):
        s.blink(part * s.seconds)


def _demo(s: Score) -> None:
    """Sixteen seconds that show a tracker and a learner everything once, most of it twice."""
    s.alive(seed=6)
    s.say(0.9, "hello")
    s.say(7.5, "watch")
    s.say(10.55, "short", 1.1)
    s.say(12.9, "never", 0.95)
    s.blink(0.45, 2.55, 4.35, 5.6, 7.3, 9.2, 10.3, 12.1, 14.0, 15.5)
    smile = (
        s.hold(4.1, 6.0, 0.85, 0.5, 0.6)
        + s.hold(11.6, 13.2, 0.5, 0.4, 0.5)
        + s.hold(14.9, 16.2, 0.45, 0.5, 0.4)
    )
    s.add("mouthSmile", smile)
    s.add("cheekSquint", 0.55 * smile)
    s.add("eyeSquint", 0.3 * smile)
    s.add("mouthUpperUp", 0.3 * smile)
    s.add("mouthLowerDown", 0.22 * smile)
    s.add("jawOpen", 0.07 * smile)
    surprise = s.hold(9.45, 10.5, 1.0, 0.3, 0.4)
    brows = s.hold(1.5, 2.5, 0.35) + 0.9 * surprise + s.hold(13.1, 14.2, 0.4)
    s.add("browInnerUp", brows)
    s.add("browOuterUp", 0.85 * brows)
    s.add("eyeWide", 0.55 * surprise)
    s.add("jawOpen", 0.30 * surprise)
    s.add("mouthFunnel", 0.35 * surprise)
    s.add("browDown", s.hold(6.1, 7.4, 0.55) + s.hold(11.0, 11.7, 0.35))
    s.turn[:, 0] += s.keys(
        (0.8, 0), (1.2, 4), (1.6, -1), (2.6, 5), (3.2, 0), (4.6, -4), (5.6, -1), (7.6, 0), (8.1, 5), (8.5, 0),
        (9.6, -5), (10.4, 0), (10.8, 6), (11.2, -1), (12.8, 0), (13.3, 5), (13.9, 0), (14.6, 4), (15.2, -2), (15.8, 0),
    )  # fmt: skip
    s.turn[:, 1] += s.keys(
        (1.0, 0), (1.8, 5), (3.0, -4), (4.2, 3), (5.9, 0), (6.5, 15), (7.2, 13), (8.2, -6), (8.8, -15), (9.4, -12),
        (10.4, 2), (11.4, 7), (12.4, -8), (13.2, -3), (14.2, 6), (15.0, -4), (15.8, 0),
    )  # fmt: skip
    s.turn[:, 2] += s.keys(
        (0.8, 0), (2.0, 3), (3.4, -2), (5.0, 4), (6.4, 0), (11.2, -4), (12.4, 2), (13.8, -3), (15.4, 2),
    )  # fmt: skip
    s.look(
        (0.0, 0, 0), (1.65, 5, 2), (2.1, 0, 0), (5.85, 16, 0), (6.6, 4, -1), (7.35, -10, 1), (8.3, 0, 0),
        (8.75, -12, 3), (9.35, 3, -6), (10.3, 0, 0), (11.0, -9, 6), (11.7, 0, 0), (13.4, 7, -3), (14.1, 0, 1),
    )  # fmt: skip


_SCRIPTS: dict[str, tuple[Callable[[Score], None], float]] = {
    "talk": (_talk, 7.2),
    "smile": (_smile, 4.4),
    "turn": (_turn, 6.6),
    "blink": (_blink, 3.2),
    "idle": (_idle, 8.0),
    "demo": (_demo, 16.0),
}
NAMES = tuple(_SCRIPTS)
