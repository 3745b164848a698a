"""For applications that test what they record."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn

from typing_extensions import override

from permalog.catalogue import BUILT_IN, Catalogue
from permalog.client import Permalog
from permalog.errors import DatabaseProblem
from permalog.recording.record import Capture, captures, capturing

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from permalog.catalogue import Action
    from permalog.event import Event
    from permalog.recording.record import Receipt

__all__ = ["capture", "unconnected"]

_NO_DATABASE: Final = "this log has no database: it records inside `with permalog.testing.capture()` only"


@contextmanager
def capture(log: Permalog | None = None) -> Generator[list[Event]]:
    """Collects the events that are recorded inside the block, in order, instead of storing them.

    Events are checked as ever, against the models of the declared actions, too. A wrong one raises at once, whether it
    was to be recorded with a connection or without: a test must see it.

    Args:
        log: collect only what is recorded by this one; None: by every `Permalog` of the process, in all threads.
    """
    taken = Capture(log, [])
    captures.append(taken)
    try:
        yield taken.events
    finally:
        captures.remove(taken)


def unconnected(catalogue: Catalogue | Iterable[Action] = ()) -> Permalog:
    """A `Permalog` for tests that have no database: it knows the given actions, and records inside `capture` only.

    Raises, by everything else that it is asked:
        DatabaseProblem: it has no database.
    """
    return _Unconnected(BUILT_IN | (catalogue if isinstance(catalogue, Catalogue) else Catalogue(catalogue)))


class _Unconnected(Permalog):
    def __init__(self, catalogue: Catalogue) -> None:
        nothing: Any = _NoDatabase()
        super().__init__(nothing, catalogue)

    @override
    def record(self, event: Event, connection: Any = None) -> Receipt:
        if capturing(self) is None:
            raise DatabaseProblem(_NO_DATABASE)
        return super().record(event, connection)

    @override
    def _refresh_actions(self) -> None:
        self._known = {action.name for action in self._catalogue}


class _NoDatabase:
    def __getattr__(self, name: str) -> NoReturn:
        raise DatabaseProblem(_NO_DATABASE)

    def close(self) -> None:
        """Nothing is open."""
