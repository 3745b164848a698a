"""An attempt at analysing a finding, as it is stored; and how it ends, together with its event."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from psycopg.types.json import Jsonb

from permalog import Actor, Event, Resource
from security_agent.actions import FINDING
from security_agent.case import at, hold
from security_agent.dismissal import dismiss_automatically
from security_agent.errors import NotFound
from security_agent.extraction import Extracted
from security_agent.policy import decide
from security_agent.sql import query
from security_agent.triage.verdict import Confidence, Suggestion, Verdict

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from permalog import Connection
    from security_agent.agent import Acting, Agent
    from security_agent.case import Case

Status: TypeAlias = Literal["pending", "running", "completed", "failed"]
Tier: TypeAlias = Literal["triage", "sandbox", "extraction"]
_TIERS: tuple[Tier, ...] = ("triage", "sandbox", "extraction")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One analysis."""

    log_id: UUID
    id: UUID
    finding_id: UUID
    status: Status
    tier: Tier
    """How far it has come."""
    forced: bool
    model: str | None
    triage: dict[str, Any] | None
    result: dict[str, Any] | None
    failure_code: str | None
    token_digest: bytes | None
    triggered_by: str | None
    triggered_by_type: str
    correlation_id: str | None
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def is_active(self) -> bool:
        """Whether it holds one of its owner's three slots."""
        return self.status in {"pending", "running"}

    @property
    def actor(self) -> Actor:
        """Whoever started it; the system only where nobody did, or they were erased since."""
        if self.triggered_by is None or self.triggered_by_type == "system":
            return Actor.system("analysis")
        made = {"staff": Actor.staff, "api_key": Actor.api_key}.get(self.triggered_by_type, Actor.user)
        return made(self.triggered_by)

    def as_json(self) -> dict[str, Any]:
        """As the API gives it: nothing of a token, and nobody's id."""
        result = self.result["result"] if self.result else None
        return {
            "id": str(self.id), "finding_id": str(self.finding_id), "status": self.status, "tier": self.tier,
            "forced": self.forced, "model": self.model, "triage": self.triage, "result": result,
            "failure_code": self.failure_code, "triggered_by": self.triggered_by_type,
            "correlation_id": self.correlation_id, "requested_at": at(self.requested_at),
            "started_at": at(self.started_at), "finished_at": at(self.finished_at),
        }  # fmt: skip


def attempt(connection: Connection, log_id: UUID, id: UUID) -> Attempt:
    """An attempt as it is now.

    Raises:
        NotFound: there is none of this id in this log, or not any more.
    """
    row = connection.execute(query("analysis", "attempt"), {"log_id": log_id, "id": id}).fetchone()
    if row is None:
        raise NotFound("there is no such analysis")
    return of_row(row)


def of_row(row: tuple[Any, ...]) -> Attempt:
    """A row of the queries ``attempt`` and ``list``."""
    return Attempt(*row)


def digest_of(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).digest()


def verdict_as_json(verdict: Verdict) -> dict[str, Any]:
    """A triage as it is stored."""
    return {
        "needs_sandbox": verdict.needs_sandbox, "suggestion": verdict.suggestion.value,
        "confidence": verdict.confidence.value, "reason": verdict.reason, "engine": verdict.engine,
        "model": verdict.model, "fallback": verdict.fallback,
    }  # fmt: skip


def verdict_of(stored: dict[str, Any] | None) -> Verdict | None:
    """A stored triage."""
    if stored is None:
        return None
    kinds: dict[str, Any] = {
        "suggestion": Suggestion(stored["suggestion"]),
        "confidence": Confidence(stored["confidence"]),
    }
    return Verdict(**{**stored, **kinds})


def extracted_of(stored: dict[str, Any] | None) -> Extracted | None:
    """A stored result."""
    return None if stored is None else Extracted.model_validate(stored)


def held(connection: Connection, log_id: UUID, id: UUID) -> tuple[Case, Attempt] | None:
    """A finding and its attempt, both locked; None where the attempt is over: whoever comes now is too late.

    The finding first, as everybody does who changes one.
    """
    try:
        found = attempt(connection, log_id, id)
        case = hold(connection, log_id, found.finding_id)
    except NotFound:
        return None
    if connection.execute(query("analysis", "lock_attempt"), {"log_id": log_id, "id": id}).fetchone() is None:
        return None
    return case, attempt(connection, log_id, id)


def started(case: Case, one: Attempt, acting: Acting) -> Event:
    """The event of a start."""
    return _event(case, one, acting, "started", {"analysis_status": case.analysis_status}, "pending")


def complete(  # noqa: PLR0913, PLR0917  what an event holds
    agent: Agent, connection: Connection, case: Case, one: Attempt, acting: Acting, extracted: Extracted | None
) -> None:
    """Ends an attempt well, with its event; and dismisses the finding where the policy says so, likewise.

    Args:
        agent: with its log.
        connection: in a transaction that has locked both (`held`).
        case: the finding.
        one: the attempt, triage included.
        acting: who the event is by: whoever started it.
        extracted: the structured result; None where triage was enough.
    """
    _finish(connection, one, "completed", "triage" if extracted is None else "extraction", extracted, None)
    verdict = verdict_of(one.triage)
    result = None if extracted is None else extracted.result
    suggested = result.suggested_action.value if result else verdict.suggestion.value if verdict else None
    found = {
        "suggested_action": suggested,
        "confidence": verdict.confidence.value if verdict else None,
        "exploitable": result.exploitable.value if result else None,
        "extractor": extracted.extractor if extracted else None,
        "tiers": list(_TIERS if extracted else _TIERS[:1]),
    }
    before = {"analysis_status": one.status}
    agent.log.record(_event(case, one, acting, "completed", before, "completed", **found), connection)
    decision = decide(case.subject, case.wishes, verdict, extracted)
    if decision.dismiss and decision.ground is not None and case.status == "open":
        dismiss_automatically(agent, connection, case, decision, trigger=decision.ground, analysis_id=one.id,
                              correlation_id=one.correlation_id)  # fmt: skip


def fail(  # noqa: PLR0913, PLR0917  what an event holds
    agent: Agent, connection: Connection, case: Case, one: Attempt, acting: Acting, code: str
) -> None:
    """Ends an attempt badly, with its event. As for `complete`; ``code`` says why."""
    _finish(connection, one, "failed", one.tier, None, code)
    before = {"analysis_status": one.status}
    tiers = list(_TIERS[: _TIERS.index(one.tier) + 1])
    event = _event(case, one, acting, "failed", before, "failed", failure_code=code, tiers=tiers)
    agent.log.record(event, connection)


def _finish(  # noqa: PLR0913, PLR0917  the columns
    connection: Connection, one: Attempt, status: Status, tier: Tier, extracted: Extracted | None, code: str | None
) -> None:
    given = {"log_id": one.log_id, "id": one.id, "finding_id": one.finding_id, "status": status}
    result = None if extracted is None else Jsonb(extracted.model_dump(mode="json"))
    connection.execute(query("analysis", "finish"), {**given, "tier": tier, "result": result, "failure_code": code})
    connection.execute(query("analysis", "set_status"), given)


def _event(  # noqa: PLR0913, PLR0917  what an event holds
    case: Case, one: Attempt, acting: Acting, what: str, before: dict[str, Any], status: Status, **found: object
) -> Event:
    verdict = verdict_of(one.triage)
    return Event(
        owner=case.owner,
        action=f"security.finding.analysis_{what}",
        outcome="failure" if what == "failed" else "success",
        actor=acting.actor,
        source=acting.source,
        resource=Resource(FINDING, str(case.finding_id)),
        before_state=before,
        after_state={"analysis_status": status},
        metadata={
            "finding": case.snapshot(),
            "analysis_id": str(one.id),
            "triggered_by": one.triggered_by_type,
            "forced": one.forced,
            "engine": verdict.engine if verdict else None,
            "model": one.model,
            "fallback": verdict.fallback if verdict else None,
            **found,
        },
        correlation_id=one.correlation_id,
    )
