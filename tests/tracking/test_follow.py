"""Choosing a face, finding cuts, reading ahead: with a detector that returns what the test puts in."""

from __future__ import annotations

import time

import numpy as np
import pytest

from avatarkit.tracking import lanes
from avatarkit.tracking.detectors import Face
from avatarkit.tracking.follow import FORGET, Chooser, Cutter
from avatarkit.tracking.sighting import gathered, sights


def face(x: float, y: float, size: float = 40.0) -> Face:
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (478, 3)).astype(np.float32) * size
    return Face(points + np.array([x, y, 0], np.float32))


class Scripted:
    """Gives the faces of a list, one entry per frame."""

    name = "scripted"

    def __init__(self, script: list[list[Face]], log: list[str]) -> None:
        self.script, self.log, self.row = script, log, 0

    def detect(self, image: np.ndarray) -> list[Face]:
        found = self.script[self.row]
        self.row += 1
        return found

    def reset(self) -> None:
        self.log.append(f"reset {self.row}")

    def close(self) -> None:
        self.log.append("close")


def frames(count: int, levels: list[float] | None = None):
    random = np.random.default_rng(1)
    for t in range(count):
        level = 100.0 if levels is None else levels[t]
        yield 2 * t, np.clip(random.normal(level, 5, (64, 96, 3)), 0, 255).astype(np.uint8)


def run(script, rule="largest", levels=None, people=1):
    log: list[str] = []
    row = {"n": 0}

    def opened(most: int) -> Scripted:
        log.append(f"open {most}")
        detector = Scripted(script, log)
        detector.row = row["n"]
        return detector

    def report(done: int) -> None:
        row["n"] = done

    # room for fewer frames than come: a clip may be longer than its header says
    seen = sights(frames(len(script), levels), opened, lambda image: people, rule)
    return gathered(seen, max(len(script) - 2, 0), report), log


class Numbered:
    """Finds a face as far to the right as its frame is bright; notes which frames it saw."""

    name = "numbered"

    def __init__(self, log: list[list[int]]) -> None:
        self.seen: list[int] = []
        log.append(self.seen)

    def detect(self, image: np.ndarray) -> list[Face]:
        self.seen.append(round(float(image.mean())))
        time.sleep(0.01 * (self.seen[-1] % 3))  # lanes finish out of order
        return [face(float(self.seen[-1]), 30)]

    def reset(self) -> None:
        self.seen.append(-1)

    def close(self) -> None:
        self.seen.append(-2)


def lanes_over(levels: list[int], count: int, people=lambda image: 1):
    log: list[list[int]] = []
    pictures = [(t, np.full((64, 96, 3), level, np.uint8)) for t, level in enumerate(levels)]
    found = list(sights(pictures, lambda most: Numbered(log), people, lanes=count))
    return found, log


def at_once(monkeypatch, run: int, warm: int) -> None:
    monkeypatch.setattr(lanes, "LONGEST", run)
    monkeypatch.setattr(lanes, "WARM", warm)


@pytest.mark.parametrize(("count", "run"), [(1, 2), (2, 2), (2, 5), (3, 2)])
def test_lanes_take_runs_in_turn_and_results_come_in_order(monkeypatch, count, run):
    at_once(monkeypatch, run, 1)
    levels = list(range(20, 41))
    found, log = lanes_over(levels, count)
    assert [round(float(f.points[:, 0].mean())) for f in found] == pytest.approx(levels, abs=3)
    assert [f.index for f in found] == list(range(21)) and all(f.linked for f in found[1:])
    expected: list[list[int]] = [[] for _ in range(count)]
    for start in range(0, 21, 21 if count == 1 else run):
        lane = expected[start // run % count]
        lane += ([levels[start - 1]] if start else []) + levels[start : start + (21 if count == 1 else run)]
    assert log == [[*lane, -2] for lane in expected]


def test_a_cut_resets_every_lane_and_nobody_looks_behind_it(monkeypatch):
    at_once(monkeypatch, 3, 2)
    found, log = lanes_over([20, 21, 22, 23, 24, 120, 121, 122, 123, 124], 2)
    assert [f.cut for f in found] == [False] * 5 + [True] + [False] * 4
    assert log == [[20, 21, 22, -1, 120, 121, 122, 123, -2], [21, 22, 23, 24, -1, 120, 122, 123, 124, -2]]


def test_lanes_close_before_a_wider_search_begins(monkeypatch):
    at_once(monkeypatch, 2, 1)
    _, log = lanes_over([20, 21, 22], 2, people=lambda image: 2)
    assert log == [[-2], [-2], [20, 21, -2], [21, 22, -2]]


def center(seen, t: int) -> float:
    return float(seen.points[t][:, 0].mean())


def test_one_person_is_followed_with_one_face_looked_for():
    seen, log = run([[face(20 + t, 30)] for t in range(6)])
    assert seen.frame == [0, 2, 4, 6, 8, 10]
    assert log == ["open 1", "close"]
    assert seen.cuts == []
    assert seen.linked().tolist() == [False, True, True, True, True, True]


def test_several_people_widen_the_search_and_the_largest_is_kept():
    small, large = face(20, 30, 30), face(70, 30, 50)
    seen, log = run([[small, large], [large, small], [small, large]], people=2)
    assert log[:3] == ["open 1", "close", "open 4"]
    assert seen.people == 2
    assert all(abs(center(seen, t) - 70) < 5 for t in range(3))


def test_the_chosen_one_is_kept_though_another_grows():
    script = [[face(20, 30, 40), face(70, 30, 30 + 6 * t)] for t in range(8)]
    seen, _ = run(script, people=2)
    assert all(abs(center(seen, t) - 20) < 5 for t in range(8))


@pytest.mark.parametrize(("rule", "x"), [("1", 15), ("2", 50), ("3", 80), ("center", 50)])
def test_rules(rule, x):
    three = [face(50, 32, 20), face(80, 32, 30), face(15, 32, 25)]
    chosen = Chooser(rule).choose(three, 96, 64)
    assert chosen is not None
    assert abs(float(chosen.points[:, 0].mean()) - x) < 3


def test_a_number_beyond_the_faces_there_are_chooses_none():
    assert Chooser("3").choose([face(10, 10), face(50, 10)], 96, 64) is None


def test_a_lost_face_is_not_replaced_at_once_but_after_a_while():
    here, there = face(15, 30), face(80, 30)
    script = [[here]] + [[there]] * (FORGET + 4)
    seen, _ = run(script)
    missing = [bool(np.isnan(p).all()) for p in seen.points]
    assert missing[1 : FORGET + 1] == [True] * FORGET
    assert not missing[-1]
    assert not seen.linked()[-1 - missing[::-1].index(True) + 1]


def test_a_cut_resets_the_detector_and_the_choice():
    levels = [100.0] * 10 + [160.0] * 5
    seen, log = run([[face(15, 30)]] * 10 + [[face(80, 30)]] * 5, levels=levels)
    assert seen.cuts == [10]
    assert "reset 10" in log
    assert abs(center(seen, 10) - 80) < 5
    assert not seen.linked()[10]


def test_a_leap_of_the_face_is_a_cut_although_the_picture_is_the_same():
    seen, _ = run([[face(30, 30)]] * 5 + [[face(44, 30)]] * 5)
    assert seen.cuts == [5]


def test_steady_change_is_no_cut():
    cutter = Cutter()
    levels = list(100 + 12 * np.arange(12)) + list(232 - 12 * np.arange(12))
    assert not any(cutter.cut(image) for _, image in frames(24, levels))


def test_errors_of_the_reader_arrive():
    def broken():
        yield from frames(3)
        raise RuntimeError("broken at 3")

    with pytest.raises(RuntimeError, match="broken at 3"):
        gathered(
            sights(broken(), lambda most: Scripted([[face(20, 30)]] * 9, []), lambda image: 1),
            9,
            lambda n: None,
        )
