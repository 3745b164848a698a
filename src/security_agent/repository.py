"""The repositories that an owner's installation reaches, or reached."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import orjson

from security_agent.sql import query

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from permalog import Connection, Owner
    from security_agent.agent import Agent
    from security_agent.github import Repository as Reached

State: TypeAlias = Literal["active", "alerts_disabled", "stale"]


class Place(NamedTuple):
    """A repository by GitHub's number and its name, ``owner/name``."""

    repository_id: int
    full_name: str


class Repository(NamedTuple):
    """A repository; the columns of the query ``all``."""

    repository_id: int
    full_name: str
    private: bool
    state: State
    """``stale``: the installation does not reach it any more, or GitHub does not know it."""
    error: str | None
    """Of the last sync: a code."""
    last_synced_at: datetime | None
    selected: bool
    open: int
    total: int
    """How many findings there are of it."""


class Orphaned(NamedTuple):
    """The name of a repository with findings that the installation does not reach any more."""

    full_name: str
    open: int
    total: int
    last_synced_at: datetime


def put(connection: Connection, owner: Owner, reached: Sequence[Reached]) -> None:
    """Notes that the installation reaches these; the owner has a row."""
    rows = [{"id": one.id, "full_name": one.full_name, "private": one.private} for one in reached]
    if rows:
        connection.execute(
            query("repository", "put"), {"log": owner.log_id, "repositories": orjson.dumps(rows).decode()}
        )


def forsake_others(connection: Connection, owner: Owner, reached: Sequence[Reached]) -> list[Place]:
    """Marks all others stale; returns those that were not."""
    return _forsake(connection, owner, [one.id for one in reached], these=False)


def forsake(connection: Connection, owner: Owner, ids: Collection[int]) -> list[Place]:
    """Marks these stale; returns those that were not."""
    return _forsake(connection, owner, ids, these=True)


def _forsake(connection: Connection, owner: Owner, ids: Collection[int], *, these: bool) -> list[Place]:
    parameters: dict[str, Any] = {"log": owner.log_id, "ids": list(ids), "these": these}
    return [Place(*row) for row in connection.execute(query("repository", "forsake"), parameters).fetchall()]


def active(connection: Connection, owner: Owner) -> list[Place]:
    """Those that the installation reaches, as it is known, by name."""
    return [Place(*row) for row in connection.execute(query("repository", "active"), {"log": owner.log_id}).fetchall()]


def count(connection: Connection, owner: Owner) -> int:
    """How many the installation reaches."""
    row = connection.execute(query("repository", "count"), {"log": owner.log_id}).fetchone()
    return row[0] if row else 0


def every(agent: Agent, owner: Owner) -> list[Repository]:
    """All of an owner, by name."""
    with agent.looking() as connection:
        rows = connection.execute(query("repository", "all"), {"log": owner.log_id}).fetchall()
    return [Repository(*row) for row in rows]


def orphaned(agent: Agent, owner: Owner) -> list[Orphaned]:
    """Names with findings that the installation does not reach any more."""
    with agent.looking() as connection:
        rows = connection.execute(query("repository", "orphaned"), {"log": owner.log_id}).fetchall()
    return [Orphaned(*row) for row in rows]


def by_name(agent: Agent, owner: Owner, full_name: str) -> Place | None:
    """The repository of this name, stale ones included, whatever the case of its letters."""
    with agent.looking() as connection:
        row = connection.execute(
            query("repository", "by_name"), {"log": owner.log_id, "repository": full_name}
        ).fetchone()
    return Place(row[0], row[1]) if row else None
