"""GitHub App installations: bound to an owner, kept up to date, suspended, removed."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self, TypeAlias

import orjson

from permalog import Event, Owner, Personal, Resource
from security_agent import configuration, repository
from security_agent.actions import INTEGRATION
from security_agent.errors import Conflict, Invalid, NotConnected
from security_agent.sql import query

if TYPE_CHECKING:
    from permalog import Connection
    from security_agent.agent import Acting, Agent
    from security_agent.github import Installation
    from security_agent.github import Repository as Reached

Trigger: TypeAlias = Literal["setup", "webhook", "sync"]
READ: Final = "vulnerability_alerts"
"""The permission that the agent needs: ``read`` for syncing, ``write`` for telling GitHub of dismissals."""


@dataclass(frozen=True, slots=True)
class Integration:
    """An installation as an owner has bound it; the columns of the query ``read``."""

    installation_id: int
    account: str
    account_type: str
    permissions: dict[str, str]
    repository_selection: str
    connected_at: datetime
    suspended_at: datetime | None = None
    removed_at: datetime | None = None
    unauthorized_at: datetime | None = None

    @classmethod
    def of(cls, row: tuple[Any, ...] | None) -> Self | None:
        """From a row."""
        return None if row is None else cls(*row)

    @property
    def can_read(self) -> bool:
        """Whether alerts may be read."""
        return self.permissions.get(READ) in {"read", "write"}

    @property
    def can_write(self) -> bool:
        """Whether GitHub may be told of dismissals."""
        return self.permissions.get(READ) == "write"

    def state(self) -> dict[str, Any]:
        """As events hold it."""
        # An organisation's login is a name of the owner's; a person's is personal.
        of_a_person = self.account_type != "Organization" and self.account
        return {
            "account": Personal("github_login", self.account) if of_a_person else self.account,
            "account_type": self.account_type,
            "permissions": listed(self.permissions),
            "repository_selection": self.repository_selection,
            "suspended": self.suspended_at is not None,
            "removed": self.removed_at is not None,
        }


def listed(permissions: dict[str, str]) -> list[str]:
    """Permissions as events hold them: ``vulnerability_alerts:read``."""
    return sorted(f"{name}:{level}" for name, level in permissions.items())


def read(agent: Agent, owner: Owner) -> Integration | None:
    """The owner's installation, removed ones included; None: there never was one."""
    with agent.looking() as connection:
        return _row(connection, owner, "read")


def usable(agent: Agent, owner: Owner) -> Integration:
    """The owner's installation.

    Raises:
        NotConnected: there is none, or it is suspended or removed, or lacks the permission to read alerts.
    """
    found = read(agent, owner)
    if found is None or found.removed_at is not None:
        raise NotConnected("no GitHub App installation is connected: install the App, and connect it")
    if found.suspended_at is not None:
        raise NotConnected("the GitHub App installation is suspended: its owner on GitHub must unsuspend it")
    if not found.can_read:
        raise NotConnected(f"the GitHub App installation lacks the permission {READ}: accept it on GitHub")
    return found


def owners_of(agent: Agent, installation_id: int, *, removed: bool = False) -> list[Owner]:
    """Everybody who has bound an installation; with ``removed``, those whose binding is marked removed, too."""
    with agent.looking() as connection:
        rows = connection.execute(
            query("installation", "owners_of"), {"installation_id": installation_id, "removed": removed}
        ).fetchall()
    return [Owner(organization_id=organization, user_id=user) for organization, user in rows]


def connect(
    agent: Agent, owner: Owner, installation_id: int, acting: Acting, trigger: Trigger = "setup"
) -> Integration:
    """Binds an installation: its permissions and repositories are asked of GitHub. Again: what has changed is saved.

    Who calls this must know that the owner may have it: see `finish_link`.

    Raises:
        GitHubError: GitHub could not be asked, or the App has no such installation; nothing was changed.
    """
    told = ask(agent, installation_id)
    with agent.changing(owner) as connection:
        return save(agent, connection, owner, told, acting, trigger)


class Told(NamedTuple):
    """An installation as GitHub has it."""

    facts: Installation
    reached: list[Reached]
    """Its repositories; of a suspended one GitHub tells none."""
    asked_at: datetime
    """By our clock, before GitHub was asked."""


def ask(agent: Agent, installation_id: int) -> Told:
    """How an installation is now.

    Raises:
        NotConnected: no App is configured to ask as.
        GitHubError: GitHub could not be asked, or the App has no such installation.
    """
    github, asked_at = agent.asking(), agent.clock()
    facts = github.installation(installation_id)
    reached = [] if facts.suspended_at else [one for page in github.repositories(installation_id) for one in page]
    return Told(facts, reached, asked_at)


def save(  # noqa: PLR0913, PLR0917  a change and all that its event tells
    agent: Agent, connection: Connection, owner: Owner, told: Told, acting: Acting, trigger: Trigger
) -> Integration:
    """Saves what GitHub told, with the event of what has changed, in the connection's transaction.

    Of two who ask at once, the one that asked later is right, whoever writes first.
    """
    before = _row(connection, owner, "read_to_change")
    is_saved = connection.execute(query("installation", "save"), _saved(agent, owner, told)).fetchone()
    after = _row(connection, owner, "read")
    if after is None:
        raise AssertionError  # it was saved above, or before
    if not is_saved:
        return after
    added, gone = ([], []) if told.facts.suspended_at else _reach(agent, connection, owner, told, acting, trigger)
    is_same = before is not None and (before.installation_id, before.state()) == (told.facts.id, after.state())
    if not is_same:
        action = "suspended" if after.suspended_at and trigger != "setup" else "connected"
        _record(agent, connection, owner, action, (before, after), acting, trigger)
    elif added or gone:
        _record(agent, connection, owner, "connected", (before, after), acting, trigger, _named(added, gone))
    return after


_NAMED: Final = 50
"""Repositories that one event names; how many there are, it tells in any case."""


def _named(added: list[str], gone: list[str]) -> dict[str, list[str]]:
    return {what: names[:_NAMED] for what, names in (("added", added), ("gone", gone)) if names}


def _reach(  # noqa: PLR0913, PLR0917  as `save`
    agent: Agent, connection: Connection, owner: Owner, told: Told, acting: Acting, trigger: Trigger
) -> tuple[list[str], list[str]]:
    """Notes what the installation reaches; returns the names that are new, and those that are not reached any more."""
    known = {place.repository_id for place in repository.active(connection, owner)}
    repository.put(connection, owner, told.reached)
    stale = repository.forsake_others(connection, owner, told.reached)
    configuration.prune(agent, connection, owner, {place.repository_id for place in stale}, acting, trigger)
    added = sorted(one.full_name for one in told.reached if one.id not in known)
    return added, sorted(place.full_name for place in stale)


def _saved(agent: Agent, owner: Owner, told: Told) -> dict[str, Any]:
    facts = told.facts
    return {
        "log": owner.log_id, "installation_id": facts.id, "account": facts.account_login,
        "account_type": facts.account_type, "permissions": orjson.dumps(facts.permissions).decode(),
        "repository_selection": facts.repository_selection, "suspended_at": facts.suspended_at,
        "asked_at": told.asked_at, "now": agent.clock(),
    }  # fmt: skip


def suspend(agent: Agent, owner: Owner, acting: Acting, trigger: Trigger) -> bool:
    """Marks the owner's installation suspended; False where it was already, or there is none."""
    with agent.changing(owner) as connection:
        return mark(agent, connection, owner, acting, trigger, "suspended")


def remove(agent: Agent, owner: Owner, acting: Acting, trigger: Trigger) -> bool:
    """Marks the owner's installation removed; findings stay. False where it was already, or there is none."""
    with agent.changing(owner) as connection:
        return mark(agent, connection, owner, acting, trigger, "removed")


def note_unauthorized(agent: Agent, owner: Owner, *, unauthorized: bool = True) -> None:
    """GitHub answered 401: scheduled syncs leave the installation alone until somebody syncs by hand with success."""
    with agent.looking() as connection:
        connection.execute(
            query("installation", "unauthorized"),
            {"log": owner.log_id, "unauthorized": unauthorized, "now": agent.clock()},
        )


def begin_link(agent: Agent, owner: Owner) -> str:
    """What a link to the App's set-up page carries as ``state``: GitHub hands it back, good once and for an hour."""
    state = secrets.token_urlsafe(32)
    parameters = {"log": owner.log_id, "digest": _digest(state), "now": agent.clock()}
    with agent.changing(owner) as connection:
        connection.execute(query("installation", "clear_links"), parameters)
        connection.execute(query("installation", "add_link"), parameters)
    return state


def finish_link(agent: Agent, owner: Owner, installation_id: int, state: str, acting: Acting) -> Integration:
    """Binds the installation with which somebody comes back from the App's set-up page.

    The number in that address is anybody's to change, so that alone it proves nothing. The state proves that the owner
    had begun; and an installation that another owner has bound is theirs: an operator may bind it to both.

    Raises:
        Invalid: the state is not the owner's, was used, or is older than an hour.
        Conflict: the installation is bound by another owner.
        GitHubError: as `connect`.
    """
    with agent.looking() as connection:
        taken = connection.execute(
            query("installation", "take_link"),
            {"log": owner.log_id, "digest": _digest(state), "now": agent.clock()},
        ).fetchone()
    if taken is None:
        raise Invalid("state", "is not valid any more: begin again at permission-status")
    if any(other != owner for other in owners_of(agent, installation_id)):
        raise Conflict("this installation is connected to another owner: ask the operator to connect it to both")
    return connect(agent, owner, installation_id, acting)


def _digest(state: str) -> bytes:
    return hashlib.sha256(state.encode()).digest()


def mark(  # noqa: PLR0913, PLR0917  as `save`
    agent: Agent,
    connection: Connection,
    owner: Owner,
    acting: Acting,
    trigger: Trigger,
    what: Literal["suspended", "removed"],
) -> bool:
    """Marks the owner's installation, in the connection's transaction; False where it is marked, or there is none."""
    before = _row(connection, owner, "read_to_change")
    if before is None or getattr(before, f"{what}_at") is not None:
        return False
    marks = {"suspended": what == "suspended", "removed": what == "removed"}
    connection.execute(query("installation", "mark"), {"log": owner.log_id, "now": agent.clock(), **marks})
    after = _row(connection, owner, "read")
    _record(agent, connection, owner, what, (before, after), acting, trigger)
    return True


def _row(connection: Connection, owner: Owner, name: Literal["read", "read_to_change"]) -> Integration | None:
    return Integration.of(connection.execute(query("installation", name), {"log": owner.log_id}).fetchone())


def _record(  # noqa: PLR0913, PLR0917  what the event tells
    agent: Agent,
    connection: Connection,
    owner: Owner,
    action: str,
    change: tuple[Integration | None, Integration | None],
    acting: Acting,
    trigger: Trigger,
    reach: dict[str, list[str]] | None = None,
) -> None:
    before, after = change
    one = after or before
    if one is None:
        raise AssertionError  # there is one before, or after
    metadata = {
        "installation_id": one.installation_id, "repositories": repository.count(connection, owner),
        "permissions": listed(one.permissions), "trigger": trigger, **(reach or {}),
    }  # fmt: skip
    event = Event(
        owner=owner, action=f"security.installation.{action}", actor=acting.actor, source=acting.source,
        resource=Resource(INTEGRATION, str(one.installation_id)), metadata=metadata,
        before_state=before and before.state(), after_state=after and after.state(),
    )  # fmt: skip
    agent.log.record(event, connection)
