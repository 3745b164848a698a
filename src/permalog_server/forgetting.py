"""Forgetting people and organisations: accounts, identities, personal logs; noted in a journal outside the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple
from uuid import UUID

from permalog import Event, Owner, Resource
from permalog.erasing.erasure import erase_alone, told_by
from permalog_server.journal import note, noted
from permalog_server.rejects import purge
from permalog_server.sql import query
from security_agent import forgetting as agent

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from permalog import Actor, Permalog
    from permalog.erasing.erasure import ErasedLog
    from permalog.postgres.database import Connection
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


class _Account(NamedTuple):
    """What the accounts know of somebody."""

    exists: bool
    texts: list[str]
    staff: bool
    tokens: int
    organizations: list[UUID]


class _Counts(NamedTuple):
    """What the accounts know of an organisation."""

    exists: bool
    tokens: int
    memberships: int


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
        """Erases a person everywhere; None where there is nobody and nothing to erase.

        Somebody who forgets themselves is told of their own log and of those of their organisations only: what another
        tenant's log holds about them is not theirs to learn.

        Raises:
            DatabaseProblem: a transaction that recorded something stayed open; the erasure is noted, and unfinished.
        """
        with self._log.database.shared() as connection, connection.transaction():
            account = _account_of(connection, user_id)
            found = self._log.erase_user(
                user_id, actor=actor, dry_run=True, also=account.texts, staff=account.staff, connection=connection
            )
        if not account.exists and not found:
            return None
        if not dry_run:
            note(self._journal, "user", user_id)
            repeated = self._erase_user(user_id, actor)
            if repeated is None:
                return None
            account, found = repeated
        if actor.type != "staff" and actor.id == user_id:
            found = [one for one in found if one.user_id == user_id or one.organization_id in account.organizations]
        logs = [one.as_json() for one in found]
        return Erased("user", user_id, dry_run, logs, account.tokens, len(account.organizations))

    def forget_organization(self, organization: UUID, actor: Actor, *, dry_run: bool = False) -> Erased | None:
        """Erases an organisation's log as a whole, and its accounts; None where there is nothing to erase.

        Raises:
            DatabaseProblem: as for `forget_user`.
        """
        with self._log.database.shared() as connection, connection.transaction():
            counts = _counts_of(connection, organization)
            found = self._log.erase_organization(organization, dry_run=True, connection=connection)
        if not counts.exists and not found:
            return None
        if not dry_run:
            note(self._journal, "organization", str(organization))
            repeated = self._erase_organization(organization, actor)
            if repeated is None:
                return None
            counts, found = repeated
        logs = [one.as_json() for one in found]
        return Erased("organization", str(organization), dry_run, logs, counts.tokens, counts.memberships)

    def purge_rejects(self, files: Iterable[Path], user_id: str, *, dry_run: bool = False) -> int:
        """Removes what tells of a person from files of rejected lines; how many lines. Before they are forgotten.

        Raises:
            InvalidQuery: a file cannot be read or written.
        """
        with self._log.database.shared() as connection:
            texts = _account_of(connection, user_id).texts
        return sum(purge(file, user_id, texts, dry_run=dry_run) for file in files)

    def replay(self, journal: Path, actor: Actor) -> int:
        """Repeats the erasures that a journal notes; how many there was still something to erase for.

        Also of whom nothing is found: what arrives of them later, from a queue or an import, must not stand.

        Raises:
            InvalidQuery: lines are none of ours; all others have been repeated.
        """
        is_own = self._journal.exists() and journal.samefile(self._journal)
        repeated = 0
        for kind, identifier in noted(journal):
            if not is_own:
                note(self._journal, kind, identifier)
            if kind == "user":
                done = self._erase_user(identifier, actor) is not None
            else:
                done = self._erase_organization(UUID(identifier), actor) is not None
            repeated += done
        return repeated

    def _erase_user(self, user_id: str, actor: Actor) -> tuple[_Account, list[ErasedLog]] | None:
        """None where another erasure was quicker, or there was nothing any more."""
        self._open()
        self._log.bar_user(user_id)
        self._purge_spools(user_id)
        with self._log.database.shared() as connection, connection.transaction():
            erase_alone(connection)
            account = _account_of(connection, user_id)
            found = self._log.erase_user(
                user_id, actor=actor, also=account.texts, staff=account.staff, connection=connection
            )
            self._accounts.forget_person(user_id, connection)
            agent.forget_person(connection, user_id, account.texts)
            agent.forget_owner(connection, Owner.user(user_id))
            if not account.exists and not found:
                return None
            self._record(connection, Resource("user", user_id), {"user_id": user_id, "logs": len(found)}, actor)
        return account, found

    def _erase_organization(self, organization: UUID, actor: Actor) -> tuple[_Counts, list[ErasedLog]] | None:
        self._open()
        self._log.bar_organization(organization)
        self._log.spools.purge_organization(organization)
        with self._log.database.shared() as connection, connection.transaction():
            erase_alone(connection)
            counts = _counts_of(connection, organization)
            found = self._log.erase_organization(organization, connection=connection)
            self._accounts.forget_organization(organization, connection)
            agent.forget_owner(connection, Owner.organization(organization))
            if not counts.exists and not found:
                return None
            what = {"organization_id": str(organization), "events": sum(one.events for one in found)}
            self._record(connection, Resource("organization", str(organization)), what, actor)
        return counts, found

    def _purge_spools(self, user_id: str) -> None:
        """In files of events that are still on their way, and of those that were refused."""
        with self._log.database.shared() as connection, connection.transaction():
            account = _account_of(connection, user_id)
            found = self._log.erase_user(user_id, dry_run=True, also=account.texts, connection=connection)
        told = told_by(self._log.database, user_id, [one.log_id for one in found])
        self._log.spools.purge_user(user_id, {*account.texts, *told})

    def _open(self) -> None:
        """Before the transaction: opening a log takes another connection, and who waits for one must not hold one."""
        self._log.open(Owner.organization(self._accounts.operator()))

    def _record(self, connection: Connection, resource: Resource, what: dict[str, Any], actor: Actor) -> None:
        """In the operator's log, too: an erased organisation has none any more."""
        operator = Owner.organization(self._accounts.operator(connection))
        event = Event(owner=operator, action=_ERASED, actor=actor, resource=resource, metadata=what)
        self._log.record(event, connection)


def _account_of(connection: Connection, user_id: str) -> _Account:
    row = connection.execute(query("accounts", "account_of"), {"user": user_id}).fetchone()
    return _Account(*row) if row else _Account(exists=False, texts=[], staff=False, tokens=0, organizations=[])


def _counts_of(connection: Connection, organization: UUID) -> _Counts:
    row = connection.execute(query("accounts", "organization_counts"), {"organization": organization}).fetchone()
    return _Counts(*row) if row else _Counts(exists=False, tokens=0, memberships=0)
