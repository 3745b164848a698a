"""Erasure: forgetting people, not facts. The functions of ``sql/routines/erasure.sql``, from Python.

It has two steps: barring, which is committed at once, and waits for those who were recording just then; and erasing,
behind which nothing can come in any more.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import orjson

from permalog.errors import DatabaseProblem
from permalog.sql import query

if TYPE_CHECKING:
    from collections.abc import Collection

    from permalog.event import Actor
    from permalog.postgres.database import Connection, Database

WAIT_SECONDS: Final = 30.0
"""For transactions that have recorded something and are still open: how long one of them may hold an erasure up."""
_PAUSE: Final = 0.02


@dataclass(frozen=True, slots=True)
class ErasedLog:
    """What was erased in one log, or would be."""

    log_id: UUID
    organization_id: UUID | None
    user_id: str | None
    identities: int
    """Whose personal data was cleared."""
    events: int
    """Removed together with the owner's own log; events of others are never touched."""

    def as_json(self) -> dict[str, Any]:
        """The log's id and the two counts."""
        return {"log_id": str(self.log_id), "identities": self.identities, "events": self.events}


def bar_user(database: Database, user_id: str, *, wait: float = WAIT_SECONDS) -> None:
    """From now on a person's identities arrive blank, and their own log takes no events.

    Raises:
        DatabaseProblem: a transaction that recorded something before was still open after ``wait`` seconds.
    """
    _bar(database, "bar_user", {"user": user_id}, wait)


def bar_organization(database: Database, organization_id: UUID, *, wait: float = WAIT_SECONDS) -> None:
    """From now on an organisation's log takes no events.

    Raises:
        DatabaseProblem: as for `bar_user`.
    """
    _bar(database, "bar_organization", {"organization": organization_id}, wait)


def erase_alone(connection: Connection) -> None:
    """Until the connection's transaction ends, no other erasure runs."""
    connection.execute(query("erase", "alone"))


def erase_user(  # noqa: PLR0913  who, by whom, and what is known of them
    connection: Connection,
    user_id: str,
    actor: Actor,
    *,
    dry_run: bool,
    also: Collection[str] = (),
    staff: bool = False,
) -> list[ErasedLog]:
    """Erases a person's identities in all logs, and the log that they own, in the connection's transaction.

    Each organisation's log that it touches gets ``security.log.user_erased``, by ``actor``; of ``staff`` only where
    they acted as a user. ``also``: addresses and names of theirs that no identity need tell. Identities of the person
    that arrive later arrive blank. With ``dry_run`` nothing is written.
    """
    asked = {
        "user": user_id, "actor": orjson.dumps(actor).decode(), "dry_run": dry_run, "also": list(also), "staff": staff,
    }  # fmt: skip
    return [ErasedLog(*row) for row in connection.execute(query("erase", "user"), asked).fetchall()]


def erase_organization(connection: Connection, organization_id: UUID, *, dry_run: bool) -> list[ErasedLog]:
    """Erases an organisation's log as a whole; its row stays, a tombstone, and refuses new events."""
    asked = {"organization": organization_id, "dry_run": dry_run}
    return [ErasedLog(*row) for row in connection.execute(query("erase", "organization"), asked).fetchall()]


def told_by(database: Database, user_id: str, log_ids: Collection[UUID]) -> set[str]:
    """The addresses and names that a person's identities in these logs tell; for the login of a reader."""
    texts: set[str] = set()
    for log_id in log_ids:
        with database.reading(log_id) as connection:
            rows = connection.execute(query("erase", "told_by"), {"log": log_id, "user": user_id}).fetchall()
        texts.update(text for row in rows for text in row if text is not None)
    return texts


def _bar(database: Database, name: str, whose: dict[str, object], wait: float) -> None:
    with database.shared() as connection:
        connection.execute(query("erase", name), whose)
        give_up_at = time.monotonic() + wait
        open_still: dict[str, int] = _writers(connection)
        while open_still:
            if time.monotonic() > give_up_at:
                raise DatabaseProblem(
                    f"a transaction that records events has been open for more than {wait:g} seconds (process"
                    f" {next(iter(open_still.values()))} of the database): end it, and erase again"
                )
            time.sleep(_PAUSE)
            now = _writers(connection)
            open_still = {one: now[one] for one in open_still.keys() & now.keys()}


def _writers(connection: Connection) -> dict[str, int]:
    """The transactions that have written to the log and are not over, and the process of each."""
    return {row[0]: row[1] for row in connection.execute(query("erase", "writers"))}
