"""What is entered early is left exactly once, whoever takes it."""

from __future__ import annotations

import threading

import pytest

from avatarkit.commands.early import Early


class Thing:
    """Counts its visitors; ``wrong`` is raised on entering."""

    def __init__(self, wrong: Exception | None = None) -> None:
        self.wrong, self.entered, self.left = wrong, 0, 0
        self.thread = ""

    def __enter__(self) -> Thing:
        self.thread = threading.current_thread().name
        if self.wrong is not None:
            raise self.wrong
        self.entered += 1
        return self

    def __exit__(self, *details: object) -> None:
        self.left += 1


def test_it_is_entered_in_another_thread_and_left_by_who_takes_it() -> None:
    thing = Thing()
    with Early(thing) as early:
        assert early.take() is thing
        assert thing.entered == 1
        assert thing.thread != threading.current_thread().name
    assert thing.left == 0


def test_what_nobody_takes_is_left() -> None:
    thing = Thing()
    with pytest.raises(KeyError), Early(thing) as early:
        while not early._entered.done():
            pass
        raise KeyError
    assert (thing.entered, thing.left) == (1, 1)


def test_errors_reach_who_takes_it() -> None:
    with Early(Thing(ValueError("no face"))) as early, pytest.raises(ValueError, match="no face"):
        early.take()
    thing = Thing(ValueError("no face"))
    with Early(thing):
        pass
    assert thing.left == 0
