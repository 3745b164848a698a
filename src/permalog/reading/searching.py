"""Searching a log in the order of its events, by the indexes of closed partitions where there are any.

A frequent text is found sooner by looking through the events one by one, a rare one only by an index: which it is shows
after a glance at the first few thousand. The part of a log that has no index is looked through as a whole; closing
partitions (`postgres.keeping`) bounds it. The answers are the same either way: an index only names candidates, each of
which is then tested as every other event is, behind row-level security.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from psycopg import sql
from psycopg.rows import args_row

from permalog.reading.partitions import MANY, Direction, Partition, Stretch, partitions_of, span_of, within
from permalog.reading.stored import Stored
from permalog.sql import query

if TYPE_CHECKING:
    from collections.abc import Iterator

    from permalog.postgres.database import Connection, Database
    from permalog.reading.selection import Selection

ROW: Final = sql.SQL(query("read", "row"))

GLANCE: Final = 4_000
"""Events that are looked through before an index is asked, and by which it shows how frequent a text is."""
PATIENCE: Final = 6
"""So many glances are worth it where they fill a page: an index would name too many candidates then."""
CANDIDATES: Final = 1_000
"""That an index is asked for at first; four times as many with each further question."""


class Search:
    """A search on its way, inside one transaction of `Database.reading`, for a selection that has a pattern."""

    def __init__(self, database: Database, connection: Connection, selection: Selection) -> None:
        self._connection: Final = connection
        self._selection: Final = selection
        self._partitions: Final = partitions_of(database, connection)
        self._span: Final = span_of(connection, selection.parameters["log_id"])
        if len(self._partitions) > MANY:
            connection.execute(query("read", "plan_for_values"))

    def rows(self, direction: Direction, position: UUID, wanted: int) -> list[Stored]:
        """The first events beyond a position that are selected, the nearest first, at most `wanted`."""
        found: list[Stored] = []
        if self._span is None:
            return found
        glances = 1 + PATIENCE
        given = self._selection.parameters
        whole = within(direction, position, self._span, given.get("start"), given.get("end"))
        for stretch in stretches(self._partitions, direction, whole):
            rest: Stretch | None = stretch
            while stretch.partition is not None and glances and rest is not None and len(found) < wanted:
                rest = self._glance(rest, direction, wanted, found)
                # Further ones only if they are likely to fill the page.
                glances = glances - 1 if len(found) * (1 + PATIENCE) >= wanted else 0
            if rest is not None and len(found) < wanted:
                self._look_through(rest, direction, wanted, found)
            if len(found) >= wanted:
                break
        return found

    def _glance(self, stretch: Stretch, direction: Direction, wanted: int, found: list[Stored]) -> Stretch | None:
        """Looks through the next few events; returns what is left of the stretch, if anything is."""
        where = self._selection.where_unsearched
        statement = sql.SQL(query("read", f"{direction}_glance")).format(where=where)
        row = self._connection.execute(statement, self._parameters(stretch, bound=GLANCE), prepare=True).fetchone()
        if row is None:
            found += self._between(stretch, direction, wanted - len(found))
            return None
        ahead = stretch._replace(above=row[0]) if direction == "older" else stretch._replace(below=row[0])
        found += self._between(ahead, direction, wanted - len(found))
        # The event that was found is the first behind the glance.
        if direction == "older":
            return stretch._replace(below=UUID(int=row[0].int + 1))
        return stretch._replace(above=UUID(int=row[0].int - 1))

    def _between(self, stretch: Stretch, direction: Direction, wanted: int) -> list[Stored]:
        """Looks through a stretch until there are enough."""
        return self._fetch(f"{direction}_between", stretch, rows=wanted)

    def _look_through(self, stretch: Stretch, direction: Direction, wanted: int, found: list[Stored]) -> None:
        """The same, by an index where there is one."""
        most = CANDIDATES
        while True:
            ids = None if stretch.partition is None else self._candidates(stretch, direction, most)
            if ids is None:
                found += self._between(stretch, direction, wanted - len(found))
                return
            if ids:
                around = Stretch(UUID(int=min(ids).int - 1), UUID(int=max(ids).int + 1), None)
                found += self._fetch(f"{direction}_among", around, rows=wanted - len(found), ids=ids)
            if len(ids) < most or len(found) >= wanted:
                return
            stretch = stretch.beyond(ids[-1], direction)
            most *= 4

    def _candidates(self, stretch: Stretch, direction: Direction, most: int) -> list[UUID] | None:
        """The nearest events that the index of the stretch's partition names; None if it has no index (any more)."""
        parameters = {
            "partition": stretch.partition,
            "pattern": self._selection.pattern,
            "newest_first": direction == "older",
            **self._parameters(stretch, most=most),
        }
        ids = [row[0] for row in self._connection.execute(query("read", "candidates"), parameters)]
        return None if ids == [None] else ids

    def _fetch(self, name: str, stretch: Stretch, **more: object) -> list[Stored]:
        statement = sql.SQL(query("read", name)).format(row=ROW, where=self._selection.where)
        return fetch(self._connection, statement, self._parameters(stretch, **more))

    def _parameters(self, stretch: Stretch, **more: object) -> dict[str, Any]:
        return {**self._selection.parameters, "above": stretch.above, "below": stretch.below, **more}


def stretches(partitions: list[Partition], direction: Direction, whole: Stretch) -> Iterator[Stretch]:
    """A stretch in parts, the nearest first: partitions that an index helps to search, and what is between.

    ``partitions``: newest first.
    """
    joined: Stretch | None = None
    for one in _cut(partitions, direction, whole):
        if joined is not None and one.partition is None:
            joined = joined._replace(above=min(joined.above, one.above), below=max(joined.below, one.below))
        else:
            if joined is not None:
                yield joined
            joined = one if one.partition is None else None
            if one.partition is not None:
                yield one
    if joined is not None:
        yield joined


def _cut(partitions: list[Partition], direction: Direction, whole: Stretch) -> Iterator[Stretch]:
    for part in partitions if direction == "older" else reversed(partitions):
        above = whole.above if part.first_id is None else max(whole.above, part.first_id)
        below = min(whole.below, part.next_id)
        if above.int + 1 < below.int:
            yield Stretch(above, below, part.name if part.is_searchable else None)


def fetch(connection: Connection, statement: sql.Composed, parameters: dict[str, Any]) -> list[Stored]:
    """The events that a statement of ``read.sql`` finds, as they are stored."""
    with connection.cursor(row_factory=args_row(Stored)) as cursor:
        return cursor.execute(statement, parameters, prepare=True).fetchall()
