"""Automatic dismissal of all that is eligible: one event a finding, one correlation id for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from security_agent.attempt import extracted_of, verdict_of
from security_agent.case import hold, look
from security_agent.dismissal import dismiss_automatically
from security_agent.errors import Conflict, NotFound
from security_agent.policy import Decision, decide
from security_agent.sql import query

if TYPE_CHECKING:
    from permalog import Connection, Owner
    from security_agent.agent import Acting, Agent
    from security_agent.case import Case


@dataclass(frozen=True, slots=True)
class Eligible:
    """What would be dismissed now."""

    enabled: bool
    confidence: str
    """The threshold."""
    finding_ids: list[UUID]
    """Empty while it is off."""


@dataclass(frozen=True, slots=True)
class Bulk:
    """What was dismissed."""

    correlation_id: str
    finding_ids: list[UUID]
    write_backs: list[UUID]
    """What GitHub is to be told: jobs that wait."""


def eligible(agent: Agent, owner: Owner) -> Eligible:
    """What `dismiss_eligible` would dismiss, as things stand."""
    with agent.looking() as connection:
        enabled, confidence = _wishes(connection, owner)
        found = [
            finding_id for finding_id in _candidates(connection, owner)
            if enabled and _decided(connection, look(connection, owner.log_id, finding_id))[0].dismiss
        ]  # fmt: skip
    return Eligible(enabled, confidence, found)


def dismiss_eligible(agent: Agent, owner: Owner, acting: Acting) -> Bulk:
    """Dismisses every open finding that the policy allows, each in a transaction of its own together with its event.

    What is interrupted is gone on with by the next call: what is dismissed is not open any more.

    Raises:
        Conflict: automatic dismissal is off.
    """
    with agent.looking() as connection:
        enabled, _ = _wishes(connection, owner)
        if not enabled:
            raise Conflict("automatic dismissal is off: enable the agent and auto_dismiss in its configuration")
        candidates = _candidates(connection, owner)
    bulk = Bulk(str(uuid4()), [], [])
    for finding_id in candidates:
        _dismiss_one(agent, owner, finding_id, acting, bulk)
    return bulk


def _dismiss_one(agent: Agent, owner: Owner, finding_id: UUID, acting: Acting, bulk: Bulk) -> None:
    with agent.changing(owner) as connection:
        try:
            case = hold(connection, owner.log_id, finding_id)
        except NotFound:
            return
        decision, analysis_id = _decided(connection, case)
        if case.status != "open" or not decision.dismiss or analysis_id is None:
            return
        order = dismiss_automatically(agent, connection, case, decision, trigger="bulk", analysis_id=analysis_id,
                                      correlation_id=bulk.correlation_id, acting=acting)  # fmt: skip
    bulk.finding_ids.append(finding_id)
    if order is not None:
        bulk.write_backs.append(order)


def _decided(connection: Connection, case: Case) -> tuple[Decision, UUID | None]:
    """By the latest analysis that was completed."""
    given = {"log_id": case.log_id, "finding_id": case.finding_id}
    row = connection.execute(query("analysis", "latest_completed"), given).fetchone()
    triage, result, analysis_id = row or (None, None, None)
    return decide(case.subject, case.wishes, verdict_of(triage), extracted_of(result)), analysis_id


def _candidates(connection: Connection, owner: Owner) -> list[UUID]:
    return [row[0] for row in connection.execute(query("judgement", "candidates"), {"log_id": owner.log_id})]


def _wishes(connection: Connection, owner: Owner) -> tuple[bool, str]:
    row = connection.execute(query("judgement", "wishes"), {"log_id": owner.log_id}).fetchone()
    return (row[0], row[1]) if row else (False, "high")
