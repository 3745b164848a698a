"""The queue of jobs, as those see it who put something into it: in the same transaction as what it follows from."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from psycopg.types.json import Jsonb

from security_agent.sql import query

if TYPE_CHECKING:
    from uuid import UUID

    from permalog import Connection

QUEUE: Final = "agent"


class Task(StrEnum):
    """What there is to do."""

    SYNC_ALL = "agent.sync_all"
    """Sync every owner who wants it; every six hours."""
    ANALYZE = "agent.analyze"
    """Go on with an analysis that needs the code."""
    WRITE_BACK = "agent.write_back"
    """Tell GitHub of a dismissal."""
    CLEAN = "agent.clean"
    """End what has stalled, and sweep what is old; every minute."""


def defer(connection: Connection, task: Task, *, log_id: UUID, id: UUID, seconds: float = 0) -> None:
    """Puts a job into the queue, which is there once the connection's transaction commits.

    Args:
        connection: of that transaction.
        task: what to do.
        log_id: whose it is.
        id: of what it is about: an analysis, a write-back.
        seconds: how long it should wait.
    """
    arguments = Jsonb({"log_id": str(log_id), "id": str(id)})
    connection.execute(
        query("jobs", "defer"),
        {"queue": QUEUE, "task": task.value, "priority": 0, "arguments": arguments, "seconds": seconds},
    )


def forget_jobs(connection: Connection, log_id: UUID) -> None:
    """Removes all that the queue holds of an owner, done or not: they are erased."""
    connection.execute(query("jobs", "forget"), {"log_id": str(log_id)})
