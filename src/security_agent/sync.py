"""Sync: all alerts of an owner's repositories, taken in page by page.

`begin` puts `security.sync.triggered` on record, `run` does the work and puts `security.sync.completed` on record,
whatever came of it. Memory holds one page for each repository that is in work, however many alerts there are.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from uuid import UUID, uuid4

import orjson

from permalog import Actor, Event, Owner, Resource
from security_agent import installation, reach
from security_agent.actions import CONFIG
from security_agent.agent import Acting, Agent, owner_id
from security_agent.errors import Invalid, NotFound, SyncFailed
from security_agent.github import BadName, GitHubError
from security_agent.github.names import FullName
from security_agent.report import Outcome, Report, code_of
from security_agent.sql import query
from security_agent.syncing import Syncing

if TYPE_CHECKING:
    from collections.abc import Callable

    from permalog import Connection

Trigger: TypeAlias = Literal["manual", "scheduled"]


@dataclass(frozen=True, slots=True)
class Sync:
    """A sync that was begun; its id is the correlation id of all its events."""

    owner: Owner
    acting: Acting
    trigger: Trigger
    installation_id: int
    repository: str | None = None
    """``owner/name``; None: all that are selected."""
    id: UUID = field(default_factory=uuid4)
    started: float = field(default_factory=time.monotonic)

    def milliseconds(self) -> int:
        """How long ago it was begun."""
        return int((time.monotonic() - self.started) * 1000)

    def about(self) -> dict[str, Any]:
        """What both of its events tell."""
        about: dict[str, Any] = {"trigger": self.trigger, "scope": "one" if self.repository else "all"}
        return {**about, "repository": self.repository} if self.repository else about


def begin(agent: Agent, owner: Owner, acting: Acting, *, name: str | None = None, trigger: Trigger = "manual") -> Sync:
    """Makes sure that there is something to sync, and puts it on record that somebody wants it.

    Args:
        agent: the agent.
        owner: whose repositories.
        acting: who wants it.
        name: one repository, ``owner/name``; None: all that are selected.
        trigger: whether a person or the schedule wants it.

    Raises:
        NotConnected: there is no installation that could be used.
        Invalid: the name is not ``owner/name``.
        NotFound: the installation does not reach a repository of this name.
        GitHubError: GitHub could not be asked whether it does.
    """
    agent.asking()
    bound = installation.usable(agent, owner)
    if name is not None:
        name = _found(agent, owner, name, bound.installation_id, acting)
    begun = Sync(owner, acting, trigger, bound.installation_id, name)
    _end_lost(agent, owner)
    with agent.changing(owner) as connection:
        parameters = {
            "log": owner.log_id, "id": begun.id, "trigger": trigger, "repository": name, "now": agent.clock(),
        }  # fmt: skip
        connection.execute(query("sync", "clear"), parameters)
        connection.execute(query("sync", "begin"), parameters)
        agent.log.record(_event(begun, "triggered", "success", begun.about()), connection)
    return begun


def run(agent: Agent, begun: Sync, progress: Callable[[Outcome], None] | None = None) -> Report:
    """Does a sync that was begun; one repository's failure does not stop the others.

    Args:
        agent: the agent.
        begun: what `begin` returned.
        progress: told of each repository after each page, and when it is done; from several threads.

    Raises:
        SyncFailed: every repository failed, or the installation cannot be used; it is on record.
    """
    report = Report()
    try:
        _go(agent, begun, report, progress)
    except GitHubError as error:
        report.error = code_of(error)
    except BaseException as error:
        report.error = "interrupted" if isinstance(error, KeyboardInterrupt) else "internal"
        raise
    finally:
        _mark(agent, begun, report)
        _complete(agent, begun, report)
    if report.has_failed:
        raise SyncFailed(f"the sync failed: {report.error or 'no repository could be synced'}; try it again later")
    return report


def sync(  # noqa: PLR0913  as `begin` and `run`
    agent: Agent,
    owner: Owner,
    acting: Acting,
    *,
    name: str | None = None,
    trigger: Trigger = "manual",
    progress: Callable[[Outcome], None] | None = None,
) -> Report:
    """`begin` and `run`."""
    return run(agent, begin(agent, owner, acting, name=name, trigger=trigger), progress)


def latest(agent: Agent, owner: Owner, sync_id: UUID | None = None) -> dict[str, Any] | None:
    """The latest sync, running or done, or the one of an id; None: there is none."""
    statement = query("sync", "latest" if sync_id is None else "one")
    with agent.looking() as connection:
        row = connection.execute(statement, {"log": owner.log_id, "id": sync_id}).fetchone()
    names = ("id", "trigger", "repository", "started_at", "finished_at", "outcome", "result")
    return None if row is None else dict(zip(names, row, strict=True))


def end_lost(agent: Agent) -> None:
    """Puts it on record where a sync was interrupted since its process has died, of all owners."""
    with agent.looking() as connection:
        rows = connection.execute(query("sync", "owners_with_lost"), {"now": agent.clock()}).fetchall()
    for organization, user in rows:
        _end_lost(agent, Owner(organization_id=organization, user_id=user))


def _found(agent: Agent, owner: Owner, name: str, installation_id: int, acting: Acting) -> str:
    """The name as GitHub writes it, of a repository that the installation reaches."""
    try:
        FullName.parse(name)
    except BadName as error:
        raise Invalid("repository", str(error)) from None
    if not reach.to_sync(agent, owner, name):
        reach.refresh(agent, owner, installation_id, acting)
    found = reach.to_sync(agent, owner, name)
    if not found:
        raise NotFound(f"the installation does not reach the repository {name}")
    return found[0].full_name


def _go(agent: Agent, begun: Sync, report: Report, progress: Callable[[Outcome], None] | None) -> None:
    if begun.repository is None:
        stale = reach.refresh(agent, begun.owner, begun.installation_id, begun.acting, str(begun.id))
        report.stale += [place.full_name for place in stale]
    places = reach.to_sync(agent, begun.owner, begun.repository)
    syncing = Syncing(agent, begun.owner, begun.acting, begun.installation_id, begun.id, progress)
    for outcome in syncing.all(places):
        report.add(outcome)


def _mark(agent: Agent, begun: Sync, report: Report) -> None:
    """What the sync has learned of the installation."""
    if "unauthorized" in report.errors():
        installation.note_unauthorized(agent, begun.owner)
    elif "suspended" in report.errors():
        installation.suspend(agent, begun.owner, begun.acting, "sync")
    elif report.error == "not_found":
        installation.remove(agent, begun.owner, begun.acting, "sync")
    elif not report.has_failed:
        installation.note_unauthorized(agent, begun.owner, unauthorized=False)


def _complete(agent: Agent, begun: Sync, report: Report) -> None:
    """Puts the end on record, once."""
    outcome: Literal["success", "failure"] = "failure" if report.has_failed else "success"
    with agent.changing(begun.owner) as connection:
        _finish(agent, connection, begun, outcome, report.as_payload(begun.milliseconds()))


def _finish(
    agent: Agent, connection: Connection, begun: Sync, outcome: Literal["success", "failure"], result: dict[str, Any]
) -> None:
    metadata = {**begun.about(), **result}
    finished = connection.execute(
        query("sync", "finish"),
        {
            "log": begun.owner.log_id, "id": begun.id, "now": agent.clock(), "outcome": outcome,
            "result": orjson.dumps(metadata).decode(),
        },
    ).fetchone()  # fmt: skip
    if finished:
        agent.log.record(_event(begun, "completed", outcome, metadata), connection)


def _end_lost(agent: Agent, owner: Owner) -> None:
    """Syncs of the owner whose process has died: nobody knows how far they had come, and that is what is said."""
    with agent.looking() as connection:
        rows = connection.execute(query("sync", "lost"), {"log": owner.log_id, "now": agent.clock()}).fetchall()
    for id, trigger, name, started_at, alive_at in rows:  # noqa: A001  what it is
        lost = Sync(owner, Acting(_who_began(agent, owner, id), "cron"), trigger, 0, name, id)
        milliseconds = int((alive_at - started_at).total_seconds() * 1000)
        with agent.changing(owner) as connection:
            _finish(agent, connection, lost, "failure", Report(error="interrupted").as_payload(milliseconds))


def _who_began(agent: Agent, owner: Owner, id: UUID) -> Actor:
    """Whoever the log says began a sync: it is still theirs. The system where it was, or they were erased since."""
    page = agent.log.list(owner, action=["security.sync.triggered"], correlation_id=str(id), limit=1)
    for event in page.events:
        make = {"user": Actor.user, "staff": Actor.staff, "api_key": Actor.api_key}.get(event.actor_type)
        if make is not None and event.actor_id is not None:
            return make(event.actor_id)
    return Actor.system("sync-scheduler")


def _event(begun: Sync, what: str, outcome: Literal["success", "failure"], metadata: dict[str, Any]) -> Event:
    return Event(
        owner=begun.owner, action=f"security.sync.{what}", outcome=outcome, actor=begun.acting.actor,
        source=begun.acting.source, resource=Resource(CONFIG, owner_id(begun.owner)), metadata=metadata,
        correlation_id=str(begun.id),
    )  # fmt: skip
