"""Forgetting people and organisations: accounts, identities, personal logs; noted in a journal outside the database."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import UUID

import orjson

from permalog import Event, Owner, Resource
from permalog.errors import InvalidQuery
from permalog_server.sql import query

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from permalog import Actor, Permalog
    from permalog.database import Connection
    from permalog_server.accounts import Accounts

_ERASED: Final = "security.log.user_erased"


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased, or would be."""

    kind: Literal["user", "organization"]
    id: str
    dry_run: bool
    logs: list[dict[str, Any]]
    tokens: int
    memberships: int

    def as_json(self) -> dict[str, Any]:
        """As the API and the command line give it."""
        return {
            f"{self.kind}_id": self.id, "dry_run": self.dry_run, "logs": self.logs,
            "tokens": self.tokens, "memberships": self.memberships,
        }  # fmt: skip


class Office:
    """Where people and organisations are forgotten.

    The journal comes first: an erasure that was noted and then failed is repeated, one that happened unnoted would be
    undone by restoring a backup.
    """

    def __init__(self, log: Permalog, accounts: Accounts, journal: Path) -> None:
        self._log: Final = log
        self._accounts: Final = accounts
        self._journal: Final = journal

    def forget_user(self, user_id: str, actor: Actor, *, dry_run: bool = False) -> Erased | None:
        """Erases a person everywhere, in one transaction; None where there is nobody and nothing to erase."""
        self._open()
        with self._log.database.shared() as connection, connection.transaction():
            known, tokens, memberships = self._counts(connection, "account_counts", user=user_id)
            found = self._log.erase_user(user_id, actor=actor, dry_run=True, connection=connection)
            if not known and not found:
                return None
            if not dry_run:
                note(self._journal, "user", user_id)
                found = self._log.erase_user(user_id, actor=actor, connection=connection)
                self._accounts.forget_person(user_id, connection)
                self._record(connection, Resource("user", user_id), {"user_id": user_id, "logs": len(found)}, actor)
        return Erased("user", user_id, dry_run, [one.as_json() for one in found], tokens, memberships)

    def forget_organization(self, organization: UUID, actor: Actor, *, dry_run: bool = False) -> Erased | None:
        """Erases an organisation's log as a whole, and its accounts; None where there is nothing to erase."""
        self._open()
        with self._log.database.shared() as connection, connection.transaction():
            known, tokens, memberships = self._counts(connection, "organization_counts", organization=organization)
            found = self._log.erase_organization(organization, dry_run=True, connection=connection)
            if not known and not found:
                return None
            if not dry_run:
                note(self._journal, "organization", str(organization))
                found = self._log.erase_organization(organization, connection=connection)
                self._accounts.forget_organization(organization, connection)
                what = {"organization_id": str(organization), "events": sum(one.events for one in found)}
                self._record(connection, Resource("organization", str(organization)), what, actor)
        logs = [one.as_json() for one in found]
        return Erased("organization", str(organization), dry_run, logs, tokens, memberships)

    def replay(self, journal: Path, actor: Actor) -> int:
        """Repeats the erasures that a journal notes; how many there was still something to erase for.

        Raises:
            InvalidQuery: a line is none of ours; what stands before it has been repeated.
        """
        repeated = 0
        for kind, identifier in list(noted(journal)):
            if kind == "user":
                done = self.forget_user(identifier, actor)
            else:
                done = self.forget_organization(UUID(identifier), actor)
            repeated += done is not None
        return repeated

    def _open(self) -> None:
        """Before the transaction: opening a log takes another connection, and who waits for one must not hold one."""
        self._log.open(Owner.organization(self._accounts.operator()))

    def _counts(self, connection: Connection, statement: str, **parameters: object) -> tuple[bool, int, int]:
        row = connection.execute(query("accounts", statement), parameters).fetchone()
        return (row[0], row[1], row[2]) if row else (False, 0, 0)

    def _record(self, connection: Connection, resource: Resource, what: dict[str, Any], actor: Actor) -> None:
        """In the operator's log, too: an erased organisation has none any more."""
        operator = Owner.organization(self._accounts.operator(connection))
        event = Event(owner=operator, action=_ERASED, actor=actor, resource=resource, metadata=what)
        self._log.record(event, connection)


def note(journal: Path, kind: str, identifier: str) -> None:
    """Appends one line to the journal, and waits until it is on disk. It holds ids only."""
    journal.parent.mkdir(parents=True, exist_ok=True)
    line = (
        orjson.dumps({"at": datetime.now(UTC).isoformat(timespec="seconds"), "erased": kind, "id": identifier}) + b"\n"
    )
    handle = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, line)
        os.fsync(handle)
    finally:
        os.close(handle)


def noted(journal: Path) -> Generator[tuple[str, str]]:
    """What a journal says was erased: (``user`` or ``organization``, id), in order.

    Raises:
        InvalidQuery: a line is none of ours; names it.
    """
    for number, line in enumerate(journal.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            kind, identifier = str(entry["erased"]), str(entry["id"])
        except (ValueError, KeyError, TypeError):
            raise InvalidQuery(f"line {number}", "is no line of an erasure journal") from None
        if kind not in {"user", "organization"}:
            raise InvalidQuery(f"line {number}", "erased: must be user or organization")
        yield kind, identifier
