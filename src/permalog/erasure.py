"""Erasure: forgetting people, not facts. The functions of ``sql/routines/erasure.sql``, from Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson

from permalog.sql import query

if TYPE_CHECKING:
    from permalog.database import Connection
    from permalog.event import Actor


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


def erase_user(connection: Connection, user_id: str, actor: Actor, *, dry_run: bool) -> list[ErasedLog]:
    """Erases a person's identities in all logs, and the log that they own, in the connection's transaction.

    Each organisation's log that it touches gets ``security.log.user_erased``, by ``actor``. Identities of the person
    that arrive later arrive blank. With ``dry_run`` nothing is written.
    """
    asked = {"user": user_id, "actor": orjson.dumps(actor).decode(), "dry_run": dry_run}
    return [ErasedLog(*row) for row in connection.execute(query("erase", "user"), asked).fetchall()]


def erase_organization(connection: Connection, organization_id: UUID, *, dry_run: bool) -> list[ErasedLog]:
    """Erases an organisation's log as a whole; its row stays, a tombstone, and refuses new events."""
    asked = {"organization": organization_id, "dry_run": dry_run}
    return [ErasedLog(*row) for row in connection.execute(query("erase", "organization"), asked).fetchall()]
