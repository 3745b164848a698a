"""Accounts: users, organisations, roles, and the tokens by which programs and people are known.

A token is ``plt_<32 hex digits: its id>_<43 characters: 256 random bits, base64url>``. Only SHA-256 of the second part
is kept; comparing takes the same time wherever they differ.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias
from uuid import UUID, uuid4

from permalog.errors import PermalogError
from permalog_server.sql import query

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from permalog.postgres.database import Connection, Database

Role: TypeAlias = Literal["owner", "admin", "billing_manager", "member"]
ROLES: Final[tuple[Role, ...]] = ("owner", "admin", "billing_manager", "member")

AUDITORS: Final[frozenset[Role]] = frozenset({"owner", "admin", "billing_manager"})
"""Who may read an organisation's audit log."""
MEMBERS: Final[frozenset[Role]] = frozenset(ROLES)
"""Who may read what the security agent found, sync, and start analyses."""

READ: Final = "audit_log:read"
EXPORT: Final = "audit_log:export"
FORGET: Final = "users:delete"
AGENT_READ: Final = "agent:read"
AGENT_WRITE: Final = "agent:write"
WRITE: Final = "events:write"
RECORD: Final = "events:record"
SCOPES: Final = {
    READ: "read the audit log: list, one event, summary, actions",
    EXPORT: "export the audit log",
    FORGET: "delete a user: oneself, or as staff anybody",
    AGENT_READ: "read what the security agent has found, and its configuration",
    AGENT_WRITE: "act with the security agent: sync, analyse, and as far as the role goes configure and dismiss",
    WRITE: "write events in others' names, of any time: for services",
    RECORD: "the same, for events of the last seven days only",
}
_DEFAULT_SCOPES: Final = (READ, EXPORT, FORGET, AGENT_READ, AGENT_WRITE)
_FORM: Final = re.compile(r"plt_([0-9a-f]{32})_([A-Za-z0-9_-]{43})", re.ASCII)


class UnknownToken(PermalogError):
    """No token, one that nobody was given, an expired or a revoked one."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Whoever a token speaks for, and what they may do in the organisation of the route."""

    token_id: UUID
    user_id: str
    email: str | None
    name: str | None
    staff: bool
    scopes: frozenset[str]
    writes_for: UUID | None
    """A service's token that writes events for one organisation only."""
    role: Role | None
    """In the organisation of the route; None on personal routes, and for who is not a member."""
    organization_exists: bool


@dataclass(frozen=True, slots=True)
class Issued:
    """A new token: the only time that it is seen."""

    token: str
    id: UUID
    expires_at: datetime | None


class Standing(NamedTuple):
    """Who somebody is, and their role in one organisation."""

    email: str | None
    name: str | None
    staff: bool
    role: Role | None


class Accounts:
    """Users, organisations, memberships and tokens in one database."""

    def __init__(self, database: Database) -> None:
        self._database: Final = database

    def admit(self, token: str | None, organization: UUID | None) -> Holder:
        """Who this token speaks for.

        Raises:
            UnknownToken: says nothing of the reason, so that it helps nobody to guess.
        """
        match = _FORM.fullmatch(token or "")
        if match is None:
            raise UnknownToken("a bearer token is required")
        token_id = UUID(match[1])
        with self._database.shared() as connection:
            row = connection.execute(
                query("accounts", "admit"), {"token": token_id, "organization": organization}
            ).fetchone()
            digest = row[0] if row else b"\0" * 32
            known = hmac.compare_digest(digest, _digest(match[2]))
            if row is None or not known or row[7] or row[8]:
                raise UnknownToken("this token is not valid, or no longer")
            if row[9]:
                connection.execute(query("accounts", "touch"), {"token": token_id})
        _, user_id, email, name, staff, scopes, writes_for, _, _, _, role, exists = row
        return Holder(token_id, user_id, email, name, staff, frozenset(scopes), writes_for, role, exists)

    def issue(
        self,
        user_id: str,
        *,
        organization: UUID | None = None,
        scopes: Collection[str] = (),
        expires_at: datetime | None = None,
    ) -> Issued:
        """A new token for somebody who is known; without scopes, what their role may do.

        Raises:
            ValueError: a scope that there is none of.
        """
        unknown = set(scopes) - SCOPES.keys()
        if unknown:
            message = f"scope: {min(unknown)!r} is none of {', '.join(SCOPES)}"
            raise ValueError(message)
        token_id, secret = uuid4(), base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")
        writes = {WRITE, RECORD} & set(scopes)
        self._run(
            "add_token", token=token_id, user=user_id, organization=organization if writes else None,
            scopes=sorted(scopes or _DEFAULT_SCOPES), digest=_digest(secret), expires=expires_at,
        )  # fmt: skip
        return Issued(f"plt_{token_id.hex}_{secret}", token_id, expires_at)

    def ensure_person(
        self, user_id: str, *, email: str | None = None, name: str | None = None, staff: bool = False
    ) -> None:
        """Makes or completes a user.

        Raises:
            ValueError: somebody of this id was deleted; ids are not given twice.
        """
        if self._row("ensure_person", user=user_id, email=email, name=name, staff=staff) is None:
            message = f"user: {user_id!r} was deleted, and the id is not given again"
            raise ValueError(message)

    def ensure_membership(self, user_id: str, organization: UUID, role: Role) -> bool:
        """Makes the organisation and the membership; True where the role is new or has changed.

        Raises:
            ValueError: the organisation was erased.
        """
        self._run("ensure_organization", organization=organization)
        state = self._row("organization_state", organization=organization)
        if state is None or state[0]:
            message = f"organization: {organization} was erased, and the id is not given again"
            raise ValueError(message)
        return self._row("ensure_membership", organization=organization, user=user_id, role=role) is not None

    def standing(self, user_id: str, organization: UUID | None) -> Standing | None:
        """What is known of a user; None where there is none, or they were deleted."""
        row = self._row("standing", user=user_id, organization=organization)
        return None if row is None else Standing(*row)

    def revoke(self, token_id: UUID) -> tuple[str, UUID | None] | None:
        """Ends a token at once; the user and organisation that it was for, or None where there is none to end."""
        row = self._row("revoke", token=token_id)
        return None if row is None else (row[0], row[1])

    def tokens(self, user_id: str | None = None) -> list[dict[str, Any]]:
        """All tokens, or a user's, oldest first, without anything secret."""
        names = ("id", "user_id", "organization_id", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at")
        with self._database.shared() as connection:
            return [
                dict(zip(names, row, strict=True))
                for row in connection.execute(query("accounts", "tokens"), {"user": user_id})
            ]

    def operator(self, connection: Connection | None = None) -> UUID:
        """The organisation whose log the installation's own changes go to."""
        row = self._row("operator", connection)
        if row is None:
            raise PermalogError("the operator's organisation is missing: run `permalog migrate`")
        return row[0]

    def forget_person(self, user_id: str, connection: Connection) -> None:
        """Blanks an account, revokes its tokens and ends its memberships, in the connection's transaction."""
        self._row("forget_person", connection, user=user_id)

    def forget_organization(self, organization: UUID, connection: Connection) -> None:
        """Marks an organisation erased, revokes its services' tokens and ends its memberships, likewise."""
        self._row("forget_organization", connection, organization=organization)

    def set_aside(self, token_id: UUID, minute: int, wanted: int) -> int:
        """Takes requests of a minute's allowance (minutes since 1970); how many had been taken before."""
        row = self._row("set_aside", token=token_id, minute=minute, wanted=wanted)
        return row[0] if row else 0

    def sweep(self, minute: int) -> None:
        """Removes the allowances of past minutes, and what was noticed too long ago to matter."""
        self._run("clear_allowances", minute=minute)
        self._run("clear_notices")

    def _row(
        self, statement: str, connection: Connection | None = None, **parameters: object
    ) -> tuple[Any, ...] | None:
        if connection is not None:
            return connection.execute(query("accounts", statement), parameters).fetchone()
        with self._database.shared() as own:
            return own.execute(query("accounts", statement), parameters).fetchone()

    def _run(self, statement: str, **parameters: object) -> None:
        with self._database.shared() as connection:
            connection.execute(query("accounts", statement), parameters)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
