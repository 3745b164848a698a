"""What recording gives back: receipts, failures, and the recorder's numbers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from permalog.errors import PermalogError

if TYPE_CHECKING:
    from uuid import UUID


_LOOK_SECONDS: Final = 0.1
"""How often the database is asked whether an event is sealed."""


class Waiter(Protocol):
    """Who knows what became of the events that were taken."""

    def wait_for(self, number: int, timeout: float) -> bool:
        """Waits for one of them; see `Receipt.wait`."""
        ...

    def is_sealed(self, log_id: UUID, event_id: UUID) -> bool:
        """Whether a signed checkpoint covers an event."""
        ...


@dataclass(frozen=True, slots=True)
class Receipt:
    """What `record` returns: the event's id, whose log it goes to, and a way to wait for it."""

    id: UUID
    log_id: UUID
    refused: PermalogError | None = field(default=None, compare=False, repr=False)
    """Why the event was not accepted."""
    _number: int = field(default=0, compare=False, repr=False)
    _waiter: Waiter | None = field(default=None, compare=False, repr=False)

    @property
    def accepted(self) -> bool:
        """Whether the event was taken: it is in the spool, or part of the caller's transaction."""
        return self.refused is None

    def wait(self, timeout: float = 10.0) -> bool:
        """Waits until the event is committed in the database; False if ``timeout`` seconds were too few.

        Raises:
            PermalogError: why it will not be: it was not accepted, or the database refused it.
            RuntimeError: it was recorded with the caller's connection, and commits when that does; or this is the
                child of the process that recorded it.
        """
        if self.refused is not None:
            raise self.refused
        if self._waiter is None:
            raise RuntimeError("this event commits with the transaction that it was recorded in")
        return self._waiter.wait_for(self._number, timeout)

    async def committed(self, timeout: float = 10.0) -> bool:  # noqa: ASYNC109  the same as of `wait`
        """The same, to be awaited; it takes a thread of the event loop's pool meanwhile."""
        return await asyncio.to_thread(self.wait, timeout)

    def wait_sealed(self, timeout: float = 10.0) -> bool:
        """Waits until the event is sealed: a leaf of its log's tree, under a signed checkpoint.

        False if ``timeout`` seconds were too few, as they are where nobody seals, or nobody signs; and where the event
        had been stored before, by its key, under another id. The login has to be a member of ``permalog_reader``.

        Raises:
            DatabaseProblem: the database cannot be asked.
            PermalogError, RuntimeError: as `wait`.
        """
        end = time.monotonic() + timeout
        if not self.wait(timeout) or self._waiter is None:
            return False
        while not self._waiter.is_sealed(self.log_id, self.id):
            left = end - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(_LOOK_SECONDS, left))
        return True

    async def sealed(self, timeout: float = 10.0) -> bool:  # noqa: ASYNC109  the same as of `wait_sealed`
        """The same, to be awaited; it takes a thread of the event loop's pool meanwhile."""
        return await asyncio.to_thread(self.wait_sealed, timeout)


@dataclass(frozen=True, slots=True)
class Failure:
    """An event that was not recorded, and why; it holds no personal data."""

    id: UUID
    log_id: UUID
    action: str
    error: PermalogError


FailureHook: TypeAlias = Callable[[Failure], None]


@dataclass(frozen=True, slots=True)
class Stats:
    """How many events the recorder has seen since it was made, and what waits in its spool now."""

    accepted: int
    stored: int
    duplicates: int
    failed: int
    """Refused before they were taken, or by the database."""
    waiting: int
    waiting_bytes: int = 0
    oldest_seconds: float = 0.0
    """For how long the oldest has waited; at most a second too much."""
    dropped: int = 0
    """Of those that failed: those that the spool had no room for, or that could not be written."""
    quarantined: int = 0
    """Of those that failed: those that the database refused, and that are kept."""
    adopted: int = 0
    """Events that dead processes had left, and that are in the database now."""
    damaged: int = 0
    """Places in spools that could not be read, and were set aside; torn ends of dead processes are none."""
