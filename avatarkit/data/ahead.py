"""Items of an iterator made a few ahead by another thread, so that making and using them overlap."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Iterable[Item], depth: int = 4) -> Iterator[Item]:
    """``items`` in order, at most ``depth`` of them waiting. What making them raises is raised here.

    When the consumer leaves early the source is closed, in the thread that ran it.
    """
    waiting: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(depth)
    stop = threading.Event()

    def put(item: Item | None, error: BaseException | None = None) -> None:
        while not stop.is_set():
            try:
                waiting.put((item, error), timeout=0.1)
                return
            except queue.Full:
                continue

    class End(Exception):
        """There are no more items."""

    def make() -> None:
        source = iter(items)
        try:
            for item in source:
                put(item)
                if stop.is_set():
                    break
            put(None, End())
        except Exception as error:  # handed to the consumer, which raises it
            put(None, error)
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()

    thread = threading.Thread(target=make, daemon=True, name="ahead")
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if isinstance(error, End):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]
    finally:
        stop.set()
        thread.join()
