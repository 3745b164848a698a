"""Reading the largest log: pages, searches and the summary, through the library and as bare SQL."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, LiteralString, NamedTuple

from psycopg import sql

from benchmarks.events import ACTIONS
from benchmarks.figures import PERMALOG, PLAIN, Report, say
from benchmarks.place import query
from permalog import Owner, Permalog
from permalog.reading.cursor import NEWEST, cursor_at, position_of
from permalog.reading.filters import Filters
from permalog.reading.searching import ROW
from permalog.reading.selection import select
from permalog.sql import query as library_query

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from benchmarks.events import Source
    from benchmarks.place import Place

LIMIT: Final = 50
_AIM: Final = "≤ 1x plain"


class Asked(NamedTuple):
    """A page, as the library and the plain table are asked for it."""

    what: str
    filters: dict[str, Any]
    """As `Permalog.list` takes them."""
    plain: LiteralString
    """A condition on the plain table."""
    values: dict[str, Any]
    before: str | None = None


@dataclass(frozen=True, slots=True)
class Largest:
    """The largest log of an organisation."""

    owner: Owner
    events: int
    middle: UUID
    middle_at: datetime

    @classmethod
    def of(cls, place: Place) -> Largest:
        """Finds it."""
        organization, events = _one(place.ours.execute(query("permalog", "largest")))
        owner = Owner.organization(organization)
        half = {"log": owner.log_id, "half": events // 2}
        middle, moment = _one(place.ours.execute(query("permalog", "middle"), half))
        return cls(owner, events, middle, moment)


def read(place: Place, report: Report, source: Source, stored: int, repetitions: int) -> None:
    """Measures reading at the size that the log has now."""
    place.settle()
    largest = Largest.of(place)
    where = f"{stored:,} events, the largest log {largest.events:,}"
    say(f"reading: {where}")
    with Permalog.connect(place.url, catalogue=ACTIONS) as log:
        reader = _Reader(place, report, log, largest)
        for asked in reader.pages():
            reader.page(f"Pages of {LIMIT}: {where}", asked, repetitions * 20)
        for how_often, needle in source.needles.items():
            reader.search(f"Search, first {LIMIT}: {where}", f"{how_often}: {needle}", needle, repetitions)
        reader.summary(f"Summary: {where}", repetitions)


@dataclass(frozen=True, slots=True)
class _Reader:
    place: Place
    report: Report
    log: Permalog
    largest: Largest

    def pages(self) -> list[Asked]:
        """The first page, one after half of the log, and one with each filter."""
        log_id = self.largest.owner.log_id
        row = _one(self.place.ours.execute(query("permalog", "examples"), {"log": log_id}))
        action, actor, kind, resource, operation, source = row
        (address,) = _one(self.place.ours.execute(query("permalog", "address"), {"log": log_id, "actor": actor}))
        middle = self.largest.middle_at
        month = {"start": middle - timedelta(days=15), "end": middle + timedelta(days=15)}
        deep = cursor_at(self.largest.middle, log_id, Filters())
        return [
            Asked("first", {}, "true", {}),
            Asked("deep, after half of the log", {}, "created_at < %(before)s", {"before": middle}, deep),
            Asked("action", {"action": action}, "action = %(action)s", {"action": action}),
            Asked("actor_id", {"actor_id": actor}, "actor_id = %(actor)s", {"actor": actor}),
            Asked("actor_email", {"actor_email": address}, "lower(actor_email) = lower(%(email)s)", {"email": address}),
            Asked("resource_type", {"resource_type": kind}, "resource_type = %(kind)s", {"kind": kind}),
            Asked("resource_id", {"resource_id": resource}, "resource_id = %(resource)s", {"resource": resource}),
            Asked("outcome", {"outcome": "denied"}, "outcome = %(outcome)s", {"outcome": "denied"}),
            Asked("correlation_id", {"correlation_id": operation}, "correlation_id = %(id)s", {"id": operation}),
            Asked("source", {"source": source}, "source = %(source)s", {"source": source}),
            Asked("30 days", month, "created_at >= %(start)s AND created_at < %(end)s", month),
        ]  # fmt: skip

    def page(self, group: str, asked: Asked, repetitions: int) -> None:
        """Through the library beside the plain table, and the bare statement as the reader role, too."""
        through = self.report.figure(group, asked.what, "ms", _AIM)
        bare = self.report.figure(group, f"{asked.what}, bare SQL", "ms", _AIM)

        def by_library() -> int:
            page = self.log.list(self.largest.owner, before=asked.before, limit=LIMIT, **asked.filters)
            return len(page.events)

        def by_hand() -> int:
            return len(self.plain(asked))

        found = by_library(), min(by_hand(), LIMIT)
        if found[0] != found[1]:
            raise RuntimeError(f"{asked.what}: {found[0]} events, and {found[1]} in the plain table")
        for _ in range(repetitions):
            through.add(PERMALOG, timed(by_library))
            through.add(PLAIN, timed(by_hand))
        filters = Filters(**asked.filters)
        log_id = self.largest.owner.log_id
        position = NEWEST if asked.before is None else position_of(asked.before, "before", log_id, filters)
        with self.log.database.reading(log_id, in_order=True) as connection:
            selection = select(connection, log_id, filters)
            statement = sql.SQL(library_query("read", "older")).format(row=ROW, where=selection.where)
            parameters = {**selection.parameters, "position": position, "rows": LIMIT + 1}

            def by_statement() -> int:
                return len(connection.execute(statement, parameters, prepare=True).fetchall())

            for _ in range(5):
                by_statement()
            for _ in range(repetitions):
                bare.add(PERMALOG, timed(by_statement))
                bare.add(PLAIN, timed(by_hand))

    def search(self, group: str, what: str, needle: str, repetitions: int) -> None:
        """A substring of the metadata; the plain table looks through the JSON text."""
        asked = Asked("search", {"search": needle}, "metadata::text ILIKE %(like)s", {"like": f"%{needle}%"})

        def by_library() -> int:
            return len(self.log.list(self.largest.owner, limit=LIMIT, search=needle).events)

        def by_hand() -> int:
            return len(self.plain(asked))

        figure = self.report.figure(group, f"{what} ({by_library()} found)", "ms", "much less than plain")
        for _ in range(repetitions):
            figure.add(PERMALOG, timed(by_library))
            figure.add(PLAIN, timed(by_hand))

    def summary(self, group: str, repetitions: int) -> None:
        """The same answers of both: total, by action, by actor, by day."""
        figure = self.report.figure(group, "summary", "ms", _AIM)
        owner = {"owner": self.largest.owner.organization_id}
        parts: list[LiteralString] = [
            query("plain", f"summary_{part}") for part in ("total", "actions", "actors", "days")
        ]

        def by_hand() -> int:
            return sum(len(self.place.plain.execute(part, owner, prepare=True).fetchall()) for part in parts)

        for _ in range(repetitions):
            figure.add(PERMALOG, timed(lambda: self.log.summary(self.largest.owner).total))
            figure.add(PLAIN, timed(by_hand))

    def plain(self, asked: Asked) -> list[Any]:
        """A page of the plain table."""
        statement = sql.SQL(query("plain", "page")).format(where=sql.SQL(asked.plain))
        values = {**asked.values, "owner": self.largest.owner.organization_id, "rows": LIMIT + 1}
        return self.place.plain.execute(statement, values, prepare=True).fetchall()


def timed(work: Callable[[], object]) -> float:
    """How many milliseconds something takes."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def _one(cursor: Any) -> Any:  # noqa: ANN401  a row of any shape
    row = cursor.fetchone()
    if row is None:
        raise RuntimeError("there are too few events")
    return row
