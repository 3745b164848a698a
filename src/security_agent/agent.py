"""The agent: what all its services work with. The services are modules of functions that take it first."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

from permalog import Actor
from security_agent.errors import Erased, NotConnected
from security_agent.sql import query

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from permalog import Connection, Owner, Permalog
    from security_agent.github import GitHub

Source: TypeAlias = Literal["web", "api", "worker", "cron", "callback", "webhook", "cli"]
"""The doors through which the agent is asked to do something."""


@dataclass(frozen=True, slots=True)
class Acting:
    """Who does something with the agent, and through which door."""

    actor: Actor
    """Never the system for what a person started."""
    source: Source

    @classmethod
    def alone(cls, part: str, source: Source) -> Acting:
        """The product itself; ``part`` says which, such as ``sync-scheduler``."""
        return cls(Actor.system(part), source)


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Agent:
    """The log with its database, GitHub, and a clock. Safe to share between threads."""

    log: Permalog
    github: GitHub | None = None
    """None: no App is configured, and whatever needs GitHub says so."""
    clock: Callable[[], datetime] = now
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the process is to end: what runs long ends at its next step, and says so on record."""

    @contextmanager
    def changing(self, owner: Owner) -> Generator[Connection]:
        """A transaction for a change and its events; the owner has a row, which stays until its end.

        Opens the owner's log before: opening takes another connection, and who waits for one must not hold one.

        Raises:
            Erased: the owner was erased.
        """
        self.log.open(owner)
        with self.log.database.shared() as connection, connection.transaction():
            _hold(connection, owner)
            yield connection

    @contextmanager
    def looking(self) -> Generator[Connection]:
        """A connection for reading."""
        with self.log.database.shared() as connection:
            yield connection

    def asking(self) -> GitHub:
        """GitHub.

        Raises:
            NotConnected: no App is configured.
        """
        if self.github is None:
            raise NotConnected(
                "no GitHub App is configured: set PERMALOG_GITHUB_APP_ID and PERMALOG_GITHUB_PRIVATE_KEY"
            )
        return self.github


def _hold(connection: Connection, owner: Owner) -> None:
    """Makes sure of the owner's row, and keeps whoever would erase the owner waiting."""
    whose = {"log": owner.log_id, "organization": owner.organization_id, "user": owner.user_id}
    row = connection.execute(query("configuration", "hold"), whose).fetchone()
    if row is None:
        connection.execute(query("configuration", "ensure"), whose)
        row = connection.execute(query("configuration", "hold"), whose).fetchone()
    if row is None or row[0] is not None:
        raise Erased("this owner was erased: nothing is kept for them any more")


def owner_id(owner: Owner) -> str:
    """What stands as the resource of events about an owner's configuration: the organisation's or the user's id."""
    return str(owner.organization_id or owner.user_id)
