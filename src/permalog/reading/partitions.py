"""The partitions of the events, as readers know them, and which of them a page is likely to lie in."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias
from uuid import UUID
from weakref import WeakKeyDictionary

from permalog.reading.cursor import OLDEST
from permalog.sql import query

if TYPE_CHECKING:
    from permalog.postgres.database import Connection, Database

Direction: TypeAlias = Literal["older", "newer"]

MANY: Final = 64
"""Partitions from which on a page is first looked for in the nearest few: starting one plan for all takes longer than
the page then."""
NEAREST: Final = 3
"""So many of them."""
FRESH: Final = 30.0
"""Seconds for which the list of partitions is kept. An older one is right, too: a partition that was indexed since is
looked through, one that lost its index says so, and one that was cut in two is read as one."""


class Partition(NamedTuple):
    """A part of the events, and whether it can be searched by an index."""

    name: str
    first_id: UUID | None
    """None: from the beginning of time. No event has the id of a bound: it lacks the variant's bits."""
    next_id: UUID
    is_searchable: bool


class Stretch(NamedTuple):
    """Ids between two others, neither included."""

    above: UUID
    below: UUID
    partition: str | None
    """Whose index helps; None: none does."""

    def beyond(self, event_id: UUID, direction: Direction) -> Stretch:
        """What is left of it behind an event."""
        return self._replace(below=event_id) if direction == "older" else self._replace(above=event_id)


_known: Final[WeakKeyDictionary[Database, tuple[float, list[Partition]]]] = WeakKeyDictionary()


def partitions_of(database: Database, connection: Connection) -> list[Partition]:
    """All partitions, newest first, as of at most half a minute ago."""
    known = _known.get(database)
    if known is None or time.monotonic() >= known[0] + FRESH:
        rows = [Partition._make(row) for row in connection.execute(query("read", "partitions"))]
        known = _known[database] = time.monotonic(), rows
    return known[1]


def span_of(connection: Connection, log_id: UUID) -> tuple[UUID, UUID] | None:
    """The smallest and the largest id in a log: of those that the sealer has counted, and those that wait for it."""
    row: Any = connection.execute(query("read", "span"), {"log_id": log_id}, prepare=True).fetchone()
    return None if row is None or row[0] is None else (row[0], row[1])


def within(
    direction: Direction, position: UUID, span: tuple[UUID, UUID], start: UUID | None = None, end: UUID | None = None
) -> Stretch:
    """What of a log lies beyond a position; with the bounds of a range of time, only within that, too."""
    above, below = UUID(int=span[0].int - 1), UUID(int=span[1].int + 1)
    above, below = max(above, start or above), min(below, end or below)
    if direction == "older":
        return Stretch(above, min(position, below), None)
    return Stretch(max(position, above), below, None)


def nearest(partitions: list[Partition], direction: Direction, whole: Stretch) -> Stretch:
    """The part of a stretch that lies in the nearest partitions. ``partitions``: newest first."""
    first, last = UUID(int=whole.above.int + 1), UUID(int=whole.below.int - 1)
    reached = [p for p in partitions if (p.first_id or OLDEST) <= last and p.next_id > first]
    if len(reached) <= NEAREST:
        return whole
    if direction == "older":
        return whole._replace(above=reached[NEAREST].next_id)
    return whole._replace(below=reached[-NEAREST - 1].first_id or whole.below)
