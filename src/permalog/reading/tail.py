"""Tailing: a log's events in the order of their leaves, from any position on, with none left out and none twice.

A leaf index is given once, under the log's lock, and in the order of commits; the time of an event, its id, and any
sequence are given before, so that a reader who went by these would miss what commits late.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from psycopg import sql
from typing_extensions import override

from permalog.errors import InvalidQuery
from permalog.reading.filters import EVERYTHING, Filters
from permalog.reading.searching import ROW, fetch
from permalog.reading.selection import select
from permalog.reading.stored import StoredEvent, as_seen
from permalog.sql import query
from permalog.tlog.merkle import MAX_SIZE
from permalog.tlog.tile import WIDTH
from permalog.viewer import Viewer

if TYPE_CHECKING:
    from uuid import UUID

    from permalog.event import Owner
    from permalog.postgres.database import Connection, Database

MOST: Final = 100
"""Leaves that one look goes on; bounds what it holds in memory."""
_FORM: Final = re.compile(r"(?:([1-9][0-9]{0,8})-)?(begin|0|[1-9][0-9]{0,18})", re.ASCII)
_PRESENT: Final = 0


class Position(NamedTuple):
    """The last leaf that a reader has seen: ``<epoch>-<leaf index>``, or ``<epoch>-begin`` before an epoch's first."""

    epoch: int
    leaf_index: int
    """-1: none of this epoch."""

    @override
    def __str__(self) -> str:
        """As text, for `parse`."""
        return f"{self.epoch}-{'begin' if self.leaf_index < 0 else self.leaf_index}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads a position; ``begin`` alone is that before all leaves, a leaf index alone one of the present epoch.

        Raises:
            InvalidQuery: it is none.
        """
        found = _FORM.fullmatch(text)
        if found is None or (found[2] != "begin" and int(found[2]) >= MAX_SIZE):
            raise InvalidQuery("after", "must be <epoch>-<leaf index>, a leaf index, or begin")
        is_begin = found[2] == "begin"
        return cls(int(found[1] or (1 if is_begin else _PRESENT)), -1 if is_begin else int(found[2]))


class TailBatch(NamedTuple):
    """What came behind a position."""

    events: list[tuple[Position, StoredEvent]]
    """Each with its own position; those that the filters select."""
    position: Position
    """How far this has come: what was left out by the filters is passed."""
    is_more: bool
    """Whether there are further leaves already."""


def end_of(database: Database, log_id: UUID) -> Position:
    """The position behind which only what is sealed from now on comes."""
    with database.reading(log_id) as connection:
        heads = _heads(connection, log_id)
    epoch = max(heads, default=1)
    return Position(epoch, heads.get(epoch, 0) - 1)


def read_tail(  # noqa: PLR0913  who reads what
    database: Database,
    owner: Owner,
    after: Position,
    filters: Filters = EVERYTHING,
    *,
    viewer: Viewer = Viewer.STAFF,
    most: int = MOST,
) -> TailBatch:
    """The events behind a position, at most `most` leaves of them, in the order of the log's tree.

    Raises:
        InvalidQuery: the log does not reach as far as the position, or a filter breaks a rule.
    """
    with database.reading(owner.log_id, viewer) as connection:
        heads = _heads(connection, owner.log_id)
        epoch, start = _start(heads, after)
        end = min(heads.get(epoch, 0), start + most)
        selection = select(connection, owner.log_id, filters)  # first of all: it refuses what no filter may be
        if end <= start:
            return TailBatch([], Position(epoch, start - 1), is_more=False)
        ids = _ids(connection, owner.log_id, epoch, start, end)
        statement = sql.SQL(query("tail", "events")).format(row=ROW, where=selection.where)
        stored = fetch(connection, statement, {**selection.parameters, "ids": list(ids)})
        seen = as_seen(connection, stored, owner.log_id, viewer)
    places = {str(event_id): index for event_id, index in ids.items()}
    rows = sorted(
        (row._replace(leaf_index=places[row.id], epoch=epoch) for row in seen), key=lambda row: places[row.id]
    )
    events = [(Position(epoch, places[row.id]), StoredEvent(row)) for row in rows]
    is_more = end < heads[epoch] or any(later > epoch and size for later, size in heads.items())
    return TailBatch(events, Position(epoch, end - 1), is_more)


def _start(heads: dict[int, int], after: Position) -> tuple[int, int]:
    """The epoch and index of the next leaf: at the end of an epoch, the first one of the next that there is."""
    epoch = after.epoch or max(heads, default=1)
    if after.leaf_index >= heads.get(epoch, 0) or (epoch > max(heads, default=1)):
        raise InvalidQuery("after", "is beyond the end of the log")
    start = after.leaf_index + 1
    later = [number for number in heads if number > epoch]
    return (min(later), 0) if later and start == heads.get(epoch, 0) else (epoch, start)


def _heads(connection: Connection, log_id: UUID) -> dict[int, int]:
    """The size of each epoch's tree."""
    return dict(connection.execute(query("tail", "heads"), {"log_id": log_id}, prepare=True).fetchall())


def _ids(connection: Connection, log_id: UUID, epoch: int, start: int, end: int) -> dict[UUID, int]:
    """The events of the leaves from `start` to before `end`, with their indices."""
    first, last = start // WIDTH, (end - 1) // WIDTH
    parameters = {"log_id": log_id, "epoch": epoch, "first": first, "last": last}
    rows = connection.execute(query("tail", "ids"), parameters, prepare=True).fetchall()
    events: list[UUID | None] = list(chain.from_iterable(ids for (ids,) in rows))
    wanted = events[start - first * WIDTH : end - first * WIDTH]
    return {event_id: index for index, event_id in enumerate(wanted, start) if event_id is not None}
