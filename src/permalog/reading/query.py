"""Reading a log: one event, or a page of them, newest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import orjson
from psycopg import sql

from permalog.errors import EventNotFound, InvalidQuery
from permalog.reading.cursor import NEWEST, cursor_at, position_of
from permalog.reading.filters import EVERYTHING, Filters
from permalog.reading.partitions import MANY, nearest, partitions_of, span_of, within
from permalog.reading.searching import ROW, Search, fetch
from permalog.reading.selection import Selection, select
from permalog.reading.stored import Stored, StoredEvent, as_seen
from permalog.sql import query
from permalog.viewer import Viewer

if TYPE_CHECKING:
    from permalog.event import Owner
    from permalog.postgres.database import Connection, Database
    from permalog.reading.partitions import Direction, Stretch

DEFAULT_LIMIT: Final = 50
MOST: Final = 100
"""Bounds what one page costs to fetch and to show."""
SCANNED: Final = 200_000
"""Bounds how many events one page looks through for a text of fewer than three characters."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some events of a log, newest first, and the ways to those before and after them.

    ``next_cursor``, given as ``before``, leads to the older events, ``previous_cursor``, given as ``after``, to the
    nearest newer ones; each is there exactly if there are any. Where ``partial``, a search of fewer than three
    characters stopped at its bound: whether there is more in that direction is then not known, and the cursor leads on.
    """

    events: tuple[StoredEvent, ...]
    has_next: bool
    has_previous: bool
    next_cursor: str | None
    previous_cursor: str | None
    partial: bool = False

    def to_json(self) -> bytes:
        """The page in JSON: its members by their names, and ``partial`` only where it is."""
        return orjson.dumps(
            {
                "events": [orjson.Fragment(event.to_json()) for event in self.events],
                "has_next": self.has_next,
                "has_previous": self.has_previous,
                "next_cursor": self.next_cursor,
                "previous_cursor": self.previous_cursor,
                **({"partial": True} if self.partial else {}),
            }
        )


def list_events(  # noqa: PLR0913  the interface's parameters
    database: Database,
    owner: Owner,
    filters: Filters = EVERYTHING,
    *,
    before: str | None = None,
    after: str | None = None,
    limit: int = DEFAULT_LIMIT,
    viewer: Viewer = Viewer.STAFF,
) -> Page:
    """One page of the events that the filters select, newest first; of a log that was never opened, an empty one.

    Raises:
        InvalidQuery: the limit is not 1 to 100, an action is unknown, or both cursors are given.
        InvalidCursor: a cursor of another log or of other filters.
    """
    _check_limit(limit)
    if before is not None and after is not None:
        raise InvalidQuery("after", "cannot be given together with before")
    log_id = owner.log_id
    if after is not None:
        direction, position = "newer", position_of(after, "after", log_id, filters)
    elif before is not None:
        direction, position = "older", position_of(before, "before", log_id, filters)
    else:
        direction, position = "older", NEWEST
    with database.reading(log_id, viewer, in_order=True) as connection:
        reading = _Reading(database, connection, select(connection, log_id, filters))
        stored, onward = reading.page(direction, position, limit)
        back = reading.back(direction, position, stored)
        rows = as_seen(connection, stored, log_id, viewer)
    older, newer = (onward, back) if direction == "older" else (back, onward)
    return Page(
        events=tuple(map(StoredEvent, rows)),
        has_next=older is not None,
        has_previous=newer is not None,
        next_cursor=older and cursor_at(older, log_id, filters),
        previous_cursor=newer and cursor_at(newer, log_id, filters),
        partial=reading.stopped,
    )


def get_event(database: Database, owner: Owner, event_id: UUID, viewer: Viewer = Viewer.STAFF) -> StoredEvent:
    """One event of a log.

    Raises:
        EventNotFound: the log has none of this id.
    """
    with database.reading(owner.log_id, viewer, in_order=True) as connection:
        statement = sql.SQL(query("read", "one")).format(row=ROW)
        stored = fetch(connection, statement, {"log_id": owner.log_id, "id": event_id})
        rows = as_seen(connection, stored, owner.log_id, viewer)
    if not rows:
        raise EventNotFound(f"there is no event {event_id} in this log")
    return StoredEvent(rows[0])


class _Reading:
    """A page on its way, inside one transaction, so that its parts fit each other."""

    def __init__(self, database: Database, connection: Connection, selection: Selection) -> None:
        self.connection = connection
        self.selection = selection
        self.search = None if selection.pattern is None else Search(database, connection, selection)
        self.partitions = partitions_of(database, connection)
        self.is_wide = len(self.partitions) > MANY and not selection.is_uneven and not selection.is_short_search
        self.span: tuple[UUID, UUID] | None = None
        self.stopped = False
        """Whether a bounded search reached its bound."""
        if selection.is_uneven:
            connection.execute(query("read", "plan_anew"))

    def page(self, direction: Direction, position: UUID, limit: int) -> tuple[list[Stored], UUID | None]:
        """The rows beyond a position, newest first, and the position from which there are more, if there are."""
        rows = self._beyond(direction, position, limit + 1)
        onward = UUID(rows[limit - 1].id) if len(rows) > limit else self._bound(direction, position)
        del rows[limit:]
        return (rows if direction == "older" else rows[::-1]), onward

    def back(self, direction: Direction, position: UUID, rows: list[Stored]) -> UUID | None:
        """The position from which there are more in the other direction, if there are: the position itself counts."""
        if position == NEWEST:
            return None
        if direction == "older":
            start = UUID(rows[0].id) if rows else UUID(int=position.int - 1)
            return start if self._is_any("newer", start) else None
        start = UUID(rows[-1].id) if rows else UUID(int=position.int + 1)
        return start if self._is_any("older", start) else None

    def _beyond(self, direction: Direction, position: UUID, rows: int) -> list[Stored]:
        if self.search is not None:
            return self.search.rows(direction, position, rows)
        if self.is_wide:
            return self._nearby(direction, position, rows)
        return fetch(self.connection, _statement(direction, self.selection), self._parameters(position, rows=rows))

    def _nearby(self, direction: Direction, position: UUID, rows: int) -> list[Stored]:
        """The rows from the nearest partitions, where these have them all; else from as many as the log reaches."""
        if self.span is None:
            self.span = span_of(self.connection, self.selection.parameters["log_id"])
        if self.span is None:
            return []
        statement = sql.SQL(query("read", f"{direction}_between")).format(row=ROW, where=self.selection.where)

        def between(stretch: Stretch) -> list[Stored]:
            bounds = {"above": stretch.above, "below": stretch.below, "rows": rows}
            return fetch(self.connection, statement, {**self.selection.parameters, **bounds})

        given = self.selection.parameters
        whole = within(direction, position, self.span, given.get("start"), given.get("end"))
        near = nearest(self.partitions, direction, whole)
        self.connection.execute(query("read", "plan_for_values"))
        found = between(near)
        self.connection.execute(query("read", "plan_for_all"))
        return found if near == whole or len(found) >= rows else between(whole)

    def _is_any(self, direction: Direction, position: UUID) -> bool:
        if self.search is not None:
            return bool(self.search.rows(direction, position, 1))
        if self.is_wide:
            return bool(self._nearby(direction, position, 1))
        statement = _statement(f"is_{direction}", self.selection)
        row = self.connection.execute(statement, self._parameters(position), prepare=True).fetchone()
        return row is not None or self._bound(direction, position) is not None

    def _bound(self, direction: Direction, position: UUID) -> UUID | None:
        """Where a bounded search stopped, if it did."""
        if not self.selection.is_short_search:
            return None
        statement = sql.SQL(query("read", f"{direction}_bound")).format(where=self.selection.where_unsearched)
        found = self.connection.execute(statement, self._parameters(position)).fetchall()
        if len(found) <= 1:
            return None
        self.stopped = True
        return found[0][0]

    def _parameters(self, position: UUID, **more: int) -> dict[str, Any]:
        return {**self.selection.parameters, "position": position, "bound": SCANNED, **more}


def _statement(name: str, selection: Selection) -> sql.Composed:
    if selection.is_short_search:
        return sql.SQL(query("read", f"{name}_within")).format(
            row=ROW, where=selection.where_unsearched, search=selection.search
        )
    return sql.SQL(query("read", name)).format(row=ROW, where=selection.where)


def _check_limit(limit: object) -> None:
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MOST:
        raise InvalidQuery("limit", f"must be 1 to {MOST}")
