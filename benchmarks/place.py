"""Where it is measured: one server, a database for Permalog and the limit, another for the plain table."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final, LiteralString, cast
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
from psycopg import sql

from benchmarks.events import ACTIONS
from permalog.catalogue import BUILT_IN
from permalog.postgres import embedded
from permalog.postgres.migrate import migrate
from permalog.sql import Queries

if TYPE_CHECKING:
    from collections.abc import Generator

    from permalog.postgres.database import Connection

query: Final = Queries(files(__name__.rpartition(".")[0]))
_SETTINGS: Final = ("server_version", "fsync", "synchronous_commit", "shared_buffers", "max_wal_size")


@dataclass(frozen=True, slots=True)
class Place:
    """Two databases of one server, and connections to them as its superuser."""

    url: str
    """Permalog's database."""
    ours: Connection
    plain: Connection
    settings: dict[str, str]

    def checkpoint(self) -> None:
        """So that no measurement pays for what another has left to be written."""
        self.ours.execute("CHECKPOINT")

    def settle(self) -> None:
        """What autovacuum does sooner or later, done now: reading is measured with statistics and visibility maps."""
        for connection in (self.ours, self.plain):
            connection.execute("VACUUM ANALYZE")
        self.checkpoint()


@contextmanager
def prepared(url: str | None, folder: Path | None) -> Generator[Place]:
    """The databases, empty; they are dropped in the end, and so is a server that was started for them."""
    if url is not None:
        with _databases(url) as place:
            yield place
        return
    # Beside the folder of temporary files, which may be closed to the account that the server runs as.
    with tempfile.TemporaryDirectory(prefix="permalog-bench-", dir=folder) as home:
        Path(home).chmod(0o755)
        with embedded.start(Path(home) / "data") as server, _databases(server.url) as place:
            yield place


@contextmanager
def _databases(server: str) -> Generator[Place]:
    names = [f"bench_{kind}_{uuid4().hex[:8]}" for kind in ("permalog", "plain")]
    ours, plain = (urlunsplit(urlsplit(server)._replace(path=f"/{name}")) for name in names)
    with psycopg.connect(server, autocommit=True) as connection:
        for name in names:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        try:
            migrate(ours, BUILT_IN | ACTIONS)
            with _connected(ours) as first, _connected(plain) as second:
                _make_limit(first)
                second.execute(query("plain", "create"))
                yield Place(ours, first, second, _settings(first))
        finally:
            for name in names:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _connected(url: str) -> Connection:
    connection = psycopg.connect(url, autocommit=True)
    connection.execute("SET jit = off; SET timezone = 'UTC'")
    return connection


def _make_limit(connection: Connection) -> None:
    connection.execute(query("limit", "create"))
    for name, bound in connection.execute(query("limit", "partitions")).fetchall():
        statement = sql.SQL("CREATE TABLE bench.{} PARTITION OF bench.event {}")
        connection.execute(statement.format(sql.Identifier(name), sql.SQL(cast("LiteralString", bound))))


def _settings(connection: Connection) -> dict[str, str]:
    rows = [connection.execute("SELECT current_setting(%s)", (name,)).fetchone() for name in _SETTINGS]
    return {name: row[0] for name, row in zip(_SETTINGS, rows, strict=True) if row is not None}
