"""Short ways for tests to ask a database."""

from collections.abc import Sequence
from typing import Any, LiteralString, cast

import psycopg
from psycopg import sql


def composed(text: str, **names: str) -> sql.Composed:
    """A statement of the test's own making, with identifiers in its {places}."""
    return sql.SQL(cast("LiteralString", text)).format(**{k: sql.Identifier(v) for k, v in names.items()})


def ask(
    connection: psycopg.Connection[Any], text: str, parameters: Sequence[object] | None = None, /, **names: str
) -> list[tuple[Any, ...]]:
    """The rows that a statement gives, if it gives any."""
    cursor = connection.execute(composed(text, **names), parameters)
    return cursor.fetchall() if cursor.description else []


def value(connection: psycopg.Connection[Any], text: str, parameters: Sequence[object] | None = None, /) -> Any:
    """The only value of the only row."""
    ((only,),) = ask(connection, text, parameters)
    return only
