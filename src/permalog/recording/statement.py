"""Events inside the caller's own transaction, on whatever connection the caller has.

One statement, ``SELECT … FROM permalog.append(…)``, with one parameter: the event's JSON, or that of many. The database
makes the ids and the identities, so that the change and its record commit together or not at all.
"""

from __future__ import annotations

from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final, Literal, LiteralString, NamedTuple, TypeAlias
from uuid import UUID

import psycopg
from psycopg.rows import tuple_row

from permalog.recording.store import has_words, refusal, sqlstate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from permalog.event import Event

Style: TypeAlias = Literal["any", "format", "numeric", "named"]

# "any": drivers that read $1 (asyncpg, libpq) take the %s for a comment; psycopg rewrites it to $1, inside the comment.
_STATEMENTS: Final[dict[Style, LiteralString]] = {
    "any": "SELECT event_id, status FROM permalog.append($1::text::json) /* %s */",
    "format": "SELECT event_id, status FROM permalog.append(%s::text::json)",
    "numeric": "SELECT event_id, status FROM permalog.append($1::text::json)",
    "named": "SELECT event_id, status FROM permalog.append(CAST(CAST(:event AS text) AS json))",
}
# In the order of the array: a set-returning function gives its rows one after the other, and the join follows them.
_ALL: Final[dict[Style, LiteralString]] = {
    "format": "SELECT a.event_id, a.status FROM json_array_elements(%s::text::json) AS e (event),"
    " permalog.append(e.event) AS a",
    "named": "SELECT a.event_id, a.status FROM json_array_elements(CAST(CAST(:event AS text) AS json)) AS e (event),"
    " permalog.append(e.event) AS a",
}


class Statement(NamedTuple):
    """SQL and its parameters. The row it returns is ``(event_id uuid, status 'created' or 'duplicate')``."""

    sql: LiteralString
    parameters: tuple[str]


def statement(event: Event, style: Style = "any") -> Statement:
    """The statement that records an event, for any driver.

    The default text runs as it is with psycopg 3 (its default cursors, synchronous or not) and with asyncpg. ``format``
    (``%s``) is for psycopg2 and Django, ``numeric`` (``$1``) for others, ``named`` (``:event``) for SQLAlchemy's
    `text`.
    """
    return Statement(_STATEMENTS[style], (event.to_json().decode(),))


def execute(event: Event, connection: Any) -> UUID:  # noqa: ANN401  psycopg, SQLAlchemy, Django or DB-API: told apart below
    """Runs the statement on a connection of psycopg, SQLAlchemy (or its Session), Django, or another DB-API driver.

    Returns:
        The id under which the event is stored.

    Raises:
        PermalogError: the database refused the event; as after any error, the caller's transaction is aborted.
        TypeError: the connection is asynchronous: those take `statement`.
        Exception: the driver's own error, where the cause is not the event.
    """
    (row,) = _rows(_STATEMENTS, event.to_json().decode(), connection)
    return _id_of(row)


def execute_all(events: Sequence[Event], connection: Any) -> list[UUID]:  # noqa: ANN401  as above
    """As `execute`, for many events in one statement; all are stored, or none.

    Returns:
        Their ids, in the events' order.
    """
    text = b"[" + b",".join(event.to_json() for event in events) + b"]"
    return [_id_of(row) for row in _rows(_ALL, text.decode(), connection)] if events else []


def _rows(statements: dict[Style, LiteralString], parameter: str, connection: Any) -> list[Any]:  # noqa: ANN401
    if _is_asynchronous(connection):
        raise TypeError("this connection is asynchronous: await its own execute with log.statement(event)")
    try:
        if _is_sqlalchemy(connection):
            from sqlalchemy import text  # noqa: PLC0415  only where the caller has it

            return list(connection.execute(text(statements["named"]), {"event": parameter}).fetchall())
        # What the caller chose for rows and cursors of psycopg must not decide what we read.
        ours = isinstance(connection, psycopg.Connection)
        with psycopg.Cursor(connection, row_factory=tuple_row) if ours else connection.cursor() as cursor:  # pyright: ignore[reportUnknownArgumentType]
            cursor.execute(statements["format"], (parameter,))
            return list(cursor.fetchall())
    except Exception as error:
        cause = _database_error(error)
        if cause is None:
            raise
        raise refusal(cause) from error


def _id_of(row: Any) -> UUID:  # noqa: ANN401
    event_id = row["event_id"] if isinstance(row, dict) else row[0]  # pyright: ignore[reportUnknownVariableType]
    return event_id if isinstance(event_id, UUID) else UUID(str(event_id))  # pyright: ignore[reportUnknownArgumentType]


def _is_sqlalchemy(connection: object) -> bool:
    return any(base.__module__.startswith("sqlalchemy.") for base in type(connection).__mro__)


def _is_asynchronous(connection: object) -> bool:
    """Such as psycopg's AsyncConnection, asyncpg's Connection, SQLAlchemy's AsyncSession: execute is a coroutine."""
    return iscoroutinefunction(getattr(connection, "execute", None))


def _database_error(error: BaseException) -> BaseException | None:
    """The driver's error behind a framework's (SQLAlchemy's `orig`, Django's cause), where its meaning is known."""
    for candidate in (error, getattr(error, "orig", None), error.__cause__):
        if candidate is not None and sqlstate(candidate) is not None:
            return candidate if has_words(candidate) else None
    return None
