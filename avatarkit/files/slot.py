"""A place where one thread leaves things for another: the newest only, or a few in order."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")

WAITING = 4
"""Things that wait in a slot that keeps all of them."""


class Slot(Generic[Item]):
    """Hands over items. ``newest``: an item that was not taken in time gives way to the next one and is counted;
    otherwise whoever brings items waits once ``WAITING`` of them are there."""

    def __init__(self, newest: bool) -> None:
        self.newest, self.dropped = newest, 0
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._ended, self._closed = False, False
        self._error: BaseException | None = None

    def put(self, item: Item) -> bool:
        """Leave ``item``; False when nobody will ever take it."""
        with self._changed:
            if self.newest:
                self.dropped += len(self._items)
                self._items.clear()
            while len(self._items) >= WAITING and not self._closed:
                self._changed.wait()
            if self._closed:
                return False
            self._items.append(item)
            self._changed.notify_all()
        return True

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more will come; ``error`` is raised where the last item was taken."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing more will be taken."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()

    def take(self) -> Item | None:
        """The next item, waiting for it; None at the end. Raises what ``end`` was given."""
        with self._changed:
            while not self._items and not self._ended and not self._closed:
                self._changed.wait()
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
        if self._error is not None:
            raise self._error
        return None
