"""What the fixtures hand to tests about a server."""

from dataclasses import dataclass
from typing import LiteralString
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql


@dataclass(frozen=True)
class Server:
    """A PostgreSQL for tests."""

    # "18" or "15".
    version: str
    # As its superuser, of a database to connect to for making others.
    url: str


def on_database(url: str, name: str) -> str:
    """The same server's address with another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def as_user(url: str, name: str) -> str:
    """The same database's address for another login."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{name}@{parts.netloc.rpartition('@')[2]}"))


def run_on(url: str, statement: LiteralString, **names: str) -> None:
    """Run a statement that no transaction may hold, such as CREATE DATABASE."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(**{k: sql.Identifier(v) for k, v in names.items()}))
