"""Exports: everything that filters select, streamed at any size in constant memory, and itself on record."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

from psycopg import sql

from permalog.event import Event, Resource
from permalog.payload import Personal
from permalog.reading.cursor import OLDEST
from permalog.reading.export_formats import ExportFormat, Format, format_of
from permalog.reading.filters import EVERYTHING, Filters
from permalog.reading.searching import ROW
from permalog.reading.selection import Selection, select
from permalog.reading.stored import Row, Stored, as_seen
from permalog.sealing.tree import head_of
from permalog.sql import query
from permalog.viewer import Viewer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from permalog.event import Actor, Owner, Source
    from permalog.postgres.database import Connection, Database

EXPORTED: Final = "security.audit_log.exported"

PAGE_ROWS: Final = 4_000
"""Events a transaction; bounds how long one lasts."""
PAGE_SIZE: Final = 4_000_000
"""Characters of payloads a transaction; bounds the memory, of which two pages are held."""
LOOKED_THROUGH: Final = 50_000
"""Events a transaction that are looked through for a text; bounds how long one lasts that finds nothing."""
FETCHED: Final = 100
"""Rows a round trip; bounds what the largest events (three payloads of 64 KiB) take beyond a page's size."""
CHUNK: Final = 250_000
"""Characters of payloads that are written at once."""


@dataclass(slots=True)
class Exported:
    """What an export has written."""

    rows: int = 0
    first_id: UUID | None = None
    """The newest event: the first that was written."""
    last_id: UUID | None = None
    complete: bool = False

    def count(self, rows: list[Row]) -> None:
        """Takes note of rows that were handed over."""
        self.rows += len(rows)
        self.first_id = self.first_id or UUID(rows[0].id)
        self.last_id = UUID(rows[-1].id)


def export(  # noqa: PLR0913  the interface's parameters, and who exports
    database: Database,
    owner: Owner,
    format: ExportFormat,
    write: Callable[[bytes], object],
    filters: Filters = EVERYTHING,
    *,
    record: Callable[[Event], object],
    actor: Actor,
    source: Source | None = None,
    viewer: Viewer = Viewer.STAFF,
) -> Exported:
    """Writes every event that the filters select, newest first, up to the newest there is at the start.

    ``record`` is called with an event before the first byte, which MUST be committed when it returns, and with another
    after the last, also when `write` fails or the export is broken off; both have one correlation id.

    Raises:
        InvalidQuery: the format or an action is unknown; nothing is recorded then.
        Exception: whatever `write` and `record` raise.
    """
    exported = Exported()
    chunks = stream(
        database, owner, format, filters, record=record, actor=actor, source=source, viewer=viewer, exported=exported
    )
    for chunk in chunks:
        try:
            write(chunk)
        except BaseException as error:
            chunks.throw(error)  # which records it, and raises it again
            raise
    return exported


def stream(  # noqa: PLR0913  as above
    database: Database,
    owner: Owner,
    format: ExportFormat,
    filters: Filters = EVERYTHING,
    *,
    record: Callable[[Event], object],
    actor: Actor,
    source: Source | None = None,
    viewer: Viewer = Viewer.STAFF,
    exported: Exported | None = None,
) -> Generator[bytes]:
    """The same as a generator of chunks; one that is closed early, or left, is recorded as incomplete.

    The filters are checked before this returns; the first record is made when the first chunk is asked for.
    ``exported`` is kept up to date, where given.

    Raises:
        InvalidQuery: the format or an action is unknown.
    """
    form = format_of(format, owner)
    correlation_id = str(uuid4())
    with database.reading(owner.log_id, viewer) as connection:
        selection = select(connection, owner.log_id, filters)
        row = connection.execute(query("read", "newest"), {"log_id": owner.log_id}).fetchone()
        head = head_of(connection, owner.log_id)
    bound = OLDEST if row is None else UUID(int=row[0].int + 1)
    # The records of this export may be older than the newest event, whose clock may be ahead.
    pages = _Pages(database, owner.log_id, viewer, selection.apart_from(correlation_id))
    about = _Record(owner, actor, source, correlation_id, format, filters, None if head is None else head.size)
    return _Streaming(pages, bound, form, about, record, Exported() if exported is None else exported).chunks()


@dataclass(frozen=True, slots=True)
class _Streaming:
    """An export on its way."""

    pages: _Pages
    bound: UUID
    form: Format
    about: _Record
    record: Callable[[Event], object]
    exported: Exported

    def chunks(self) -> Generator[bytes]:
        self.record(self.about.started())
        try:
            yield self.form.head
            for part in self.pages.parts(self.bound):
                yield self.form.rows(part, are_first=self.exported.rows == 0)
                self.exported.count(part)
            yield self.form.tail
            self.exported.complete = True
        except BaseException as error:
            _record_after(error, self.record, self.about.finished(self.exported))
            raise
        self.record(self.about.finished(self.exported))


def _record_after(error: BaseException, record: Callable[[Event], object], finished: Event) -> None:
    """The record of an export that was broken off; where even that fails, the first error is the one to see."""
    try:
        record(finished)
    except Exception as second:  # noqa: BLE001  whatever record raises
        error.add_note(f"the end of the export could not be recorded: {second}")


@dataclass(frozen=True, slots=True)
class _Record:
    """The two events that tell of one export."""

    owner: Owner
    actor: Actor
    source: Source | None
    correlation_id: str
    format: str
    filters: Filters
    tree_size: int | None

    def started(self) -> Event:
        return self._event(
            {
                "phase": "started",
                "format": self.format,
                "filters": dict(self._filters()),
                "tree_size": self.tree_size,
            }
        )

    def finished(self, exported: Exported) -> Event:
        return self._event(
            {
                "phase": "finished",
                "format": self.format,
                "rows": exported.rows,
                "first_id": exported.first_id,
                "last_id": exported.last_id,
                "complete": exported.complete,
            },
            failed=not exported.complete,
        )

    def _filters(self) -> Iterator[tuple[str, object]]:
        for name, value in self.filters.given():
            if name == "actor_email":
                yield name, Personal("email", str(value))
            elif name == "search":
                yield name, Personal("search", str(value))  # may well be somebody's name
            else:
                yield name, value

    def _event(self, metadata: dict[str, Any], *, failed: bool = False) -> Event:
        return Event(
            owner=self.owner,
            actor=self.actor,
            action=EXPORTED,
            outcome="failure" if failed else "success",
            resource=Resource("audit_log", str(self.owner.log_id)),
            metadata=metadata,
            correlation_id=self.correlation_id,
            source=self.source,
        )


@dataclass(slots=True)
class _Pages:
    """The events of a selection, page by page, the next one fetched while the present one is written."""

    database: Database
    log_id: UUID
    viewer: Viewer
    selection: Selection
    statement: sql.Composed = field(init=False)
    bound: sql.Composed | None = field(init=False)
    """Asks where a search has stopped; None without a search."""

    def __post_init__(self) -> None:
        chosen = self.selection
        if chosen.search is None:
            self.statement, self.bound = sql.SQL(query("read", "older")).format(row=ROW, where=chosen.where), None
        else:
            parts = {"row": ROW, "where": chosen.where_unsearched, "search": chosen.search}
            self.statement = sql.SQL(query("read", "older_within")).format(**parts)
            self.bound = sql.SQL(query("read", "older_bound")).format(where=chosen.where_unsearched)

    def parts(self, position: UUID) -> Iterator[list[Row]]:
        """Some events at a time, those older than a position, newest first."""
        with ThreadPoolExecutor(1, thread_name_prefix="permalog-export") as ahead:
            pending = ahead.submit(self._page, position)
            while True:
                rows, onward = pending.result()
                if onward is not None:
                    pending = ahead.submit(self._page, onward)
                yield from _parts_of(rows)
                if onward is None:
                    return

    def _page(self, position: UUID) -> tuple[list[Row], UUID | None]:
        """The next events, and the position behind which there may be more; in a short transaction of its own."""
        parameters = {**self.selection.parameters, "position": position, "rows": PAGE_ROWS, "bound": LOOKED_THROUGH}
        stored: list[Stored] = []
        size = 0
        with self.database.reading(self.log_id, self.viewer, in_order=True) as connection:
            # On the server, a cursor: how large the events are is known only when they come.
            with connection.cursor("export") as cursor:
                cursor.execute(self.statement, parameters)
                while size < PAGE_SIZE and (fetched := cursor.fetchmany(FETCHED)):
                    stored += map(Stored._make, fetched)
                    size += sum(map(_size, stored[-len(fetched) :]))
            if len(stored) >= PAGE_ROWS or size >= PAGE_SIZE:
                onward = UUID(stored[-1].id)
            else:
                onward = None if self.bound is None else _stop(connection, self.bound, parameters)
            return as_seen(connection, stored, self.log_id, self.viewer), onward


def _stop(connection: Connection, statement: sql.Composed, parameters: dict[str, Any]) -> UUID | None:
    """The last event that was looked through, where there is a further one behind it."""
    found = connection.execute(statement, parameters).fetchall()
    return found[0][0] if len(found) > 1 else None


def _parts_of(rows: list[Row]) -> Iterator[list[Row]]:
    part: list[Row] = []
    size = 0
    for row in rows:
        part.append(row)
        size += _size(row)
        if size > CHUNK:
            yield part
            part, size = [], 0
    if part:
        yield part


def _size(row: Row | Stored) -> int:
    before, after = row.before_state, row.after_state
    return len(row.metadata) + (len(before) if before else 0) + (len(after) if after else 0) + 500
