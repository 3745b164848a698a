"""Write-back: telling GitHub of what was dismissed here, until it is done or refused for good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from permalog import Actor, Event, Resource
from security_agent.actions import FINDING
from security_agent.case import hold, look, owner_of
from security_agent.dismissal import NotPermitted, code_of, for_github
from security_agent.errors import AgentError, NotFound
from security_agent.github import AlertsDisabled, BadName, Forbidden, Refused, Suspended
from security_agent.github import NotFound as NotOnGitHub
from security_agent.queue import Task, defer
from security_agent.sql import query

if TYPE_CHECKING:
    from uuid import UUID

    from permalog import Connection, Owner
    from security_agent.agent import Agent
    from security_agent.case import Case

MOST_ATTEMPTS: Final = 10
FIRST_WAIT: Final = 30
"""Seconds before the second attempt; doubled each time, up to `LONGEST_WAIT`."""
LONGEST_WAIT: Final = 4 * 60 * 60
SUPERSEDED: Final = "superseded"
"""The finding is not ignored any more: there is nothing to write back."""
_FOR_GOOD: Final = (NotPermitted, Forbidden, Refused, NotOnGitHub, BadName, AlertsDisabled, Suspended)


@dataclass(frozen=True, slots=True)
class _Order:
    """What GitHub is to be told."""

    log_id: UUID
    id: UUID
    finding_id: UUID
    reason: str
    comment: str | None
    state: str
    attempts: int
    correlation_id: str | None


def write_back(agent: Agent, log_id: UUID, id: UUID) -> None:
    """Tells GitHub once; a job's work. What fails for now is put into the queue again; nothing happens twice.

    Dismissing on GitHub what is dismissed there already changes nothing, so a crash after telling it is repaired by
    telling it again.
    """
    with agent.looking() as connection:
        try:
            order = _order(connection, log_id, id)
            owner = owner_of(connection, log_id)
            case = look(connection, log_id, order.finding_id)
        except NotFound:
            return
    if order.state != "pending":
        return
    if case.status != "ignored":
        with agent.changing(owner) as connection:
            _end(agent, connection, order, SUPERSEDED, None)
        return
    try:
        alert = _told(agent, case, order)
    except AgentError as error:
        for_good = isinstance(error, _FOR_GOOD) or order.attempts + 1 >= MOST_ATTEMPTS
        with agent.changing(owner) as connection:
            if for_good:
                _end(agent, connection, order, code_of(error), None)
            else:
                _again(connection, order, code_of(error))
        return
    with agent.changing(owner) as connection:
        _end(agent, connection, order, None, alert)


def pending(agent: Agent, owner: Owner) -> list[UUID]:
    """What GitHub has not been told of yet, the oldest first."""
    with agent.looking() as connection:
        rows = connection.execute(query("judgement", "pending_write_backs"), {"log_id": owner.log_id}).fetchall()
    return [row[0] for row in rows]


def wait_after(attempts: int) -> int:
    """Seconds to wait after so many attempts."""
    return min(FIRST_WAIT * 2**attempts, LONGEST_WAIT)


def _order(connection: Connection, log_id: UUID, id: UUID) -> _Order:
    row = connection.execute(query("judgement", "write_back"), {"log_id": log_id, "id": id}).fetchone()
    if row is None:
        raise NotFound("there is no such write-back")
    return _Order(log_id, id, *row)


def _told(agent: Agent, case: Case, order: _Order) -> dict[str, Any]:
    """The alert as GitHub has it then."""
    installation = case.installation()
    if not case.may_write_back:
        raise NotPermitted
    github, number = agent.asking(), int(case.source_id)
    comment = for_github(order.comment, case.finding_id)
    try:
        return github.dismiss(installation, case.repository, number, order.reason, comment)
    except Refused:
        # It refuses what is dismissed or fixed already: then there is nothing left to do.
        alert = github.alert(installation, case.repository, number)
        if alert["state"] == "open":
            raise
        return alert


def _again(connection: Connection, order: _Order, code: str) -> None:
    seconds = wait_after(order.attempts)
    given = {"log_id": order.log_id, "id": order.id, "error": code, "seconds": seconds}
    connection.execute(query("judgement", "count_write_back"), given)
    defer(connection, Task.WRITE_BACK, log_id=order.log_id, id=order.id, seconds=seconds)


def _end(agent: Agent, connection: Connection, order: _Order, error: str | None, alert: dict[str, Any] | None) -> None:
    """Done, or given up, with the event that says so; nothing where somebody else has ended it."""
    case = hold(connection, order.log_id, order.finding_id)
    given = {
        "log_id": order.log_id, "id": order.id, "state": "failed" if error else "completed", "error": error,
    }  # fmt: skip
    row = connection.execute(query("judgement", "end_write_back"), given).fetchone()
    if row is None:
        return
    if alert is not None:
        seen = {"source_state": alert["state"], "source_updated_at": alert["updated_at"]}
        connection.execute(
            query("judgement", "see_source"), {"log_id": order.log_id, "finding_id": case.finding_id, **seen}
        )
    event = Event(
        owner=case.owner,
        action="security.finding.write_back_completed",
        outcome="failure" if error else "success",
        actor=Actor.system("write-back"),
        source="worker",
        resource=Resource(FINDING, str(case.finding_id)),
        metadata={
            "finding": case.snapshot(),
            "source": case.source,
            "reason": order.reason,
            "source_state": alert["state"] if alert else None,
            "attempts": row[0],
            "error": error,
        },
        correlation_id=order.correlation_id,
    )
    agent.log.record(event, connection)
