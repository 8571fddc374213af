"""A driver's beginning is watched while the photo is still being prepared: the first frame comes a second sooner."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Generic, Protocol, TypeVar


class Opened(Protocol):
    """Something to be entered and left."""

    def __enter__(self) -> object: ...

    def __exit__(self, *details: object) -> object: ...


Thing = TypeVar("Thing", bound=Opened)


class Early(AbstractContextManager["Early[Thing]"], Generic[Thing]):
    """Enters a ``thing`` in another thread. Who takes it leaves it, too; what nobody took is left here."""

    def __init__(self, thing: Thing) -> None:
        self._thing = thing
        self._taken = False
        self._pool = ThreadPoolExecutor(1, "early")
        self._entered: Future[object] = self._pool.submit(thing.__enter__)

    def take(self) -> Thing:
        """The thing, entered; what entering it raised is raised here. To be called once."""
        self._taken = True
        self._entered.result()
        return self._thing

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._taken and not self._entered.cancel() and self._entered.exception() is None:
            self._thing.__exit__(kind, error, trace)
        self._pool.shutdown()
