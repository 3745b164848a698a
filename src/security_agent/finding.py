"""Findings: read, counted, deleted by repository."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

from permalog import Event, Resource
from security_agent.actions import FINDING
from security_agent.agent import Acting, Agent
from security_agent.deadline import SEVERITIES
from security_agent.errors import Invalid, NotFound
from security_agent.github import BadName
from security_agent.github.names import FullName
from security_agent.snapshot import Snapshot, plain
from security_agent.sql import query

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from permalog import Owner

StatusFilter: TypeAlias = Literal["open", "fixed", "ignored", "closed"]
"""``closed``: fixed or ignored."""
AT_ONCE: Final = 200
"""Findings that one transaction deletes, with an event each."""
_STATUSES: Final = ("open", "fixed", "ignored")
_BRIEF: Final = (
    "id", "repository", "source", "source_id", "source_state", "status", "severity", "ghsa_id", "cve_id", "package",
    "ecosystem", "vulnerable_range", "patched_version", "manifest_path", "title", "cwe_ids", "cvss_score", "scope",
    "url", "first_detected_at", "deadline", "fixed_at", "last_synced_at", "ignored_at", "ignored_reason",
    "analysis_status",
)  # fmt: skip
_WHOLE: Final = (
    *_BRIEF, "description", "cvss_vector", "source_updated_at", "ignored_comment", "ignored_by", "ignored_by_type",
    "raw",
)  # fmt: skip


class Findings(NamedTuple):
    """A page of findings, the newest first, and how many there are in all."""

    findings: list[dict[str, Any]]
    total: int


def page(  # noqa: PLR0913  the interface's filters
    agent: Agent,
    owner: Owner,
    *,
    status: StatusFilter | None = None,
    severity: Sequence[str] = (),
    repository: str | None = None,
    limit: int = 50,
    offset: int = 0,
) -> Findings:
    """The findings that all given filters let through, without description and raw alert."""
    statuses = None if status is None else ["fixed", "ignored"] if status == "closed" else [status]
    parameters = {
        "log": owner.log_id, "statuses": statuses, "severities": list(severity) or None, "repository": repository,
        "limit": limit, "offset": offset,
    }  # fmt: skip
    with agent.looking() as connection:
        rows = connection.execute(query("finding", "list"), parameters).fetchall()
        counted = connection.execute(query("finding", "count"), parameters).fetchone()
    return Findings([_readable(_BRIEF, row) for row in rows], counted[0] if counted else 0)


def one(agent: Agent, owner: Owner, id: UUID) -> dict[str, Any]:
    """A finding, whole.

    Raises:
        NotFound: the owner has no such finding.
    """
    with agent.looking() as connection:
        row = connection.execute(query("finding", "one"), {"log": owner.log_id, "id": id}).fetchone()
    if row is None:
        raise NotFound("there is no such finding")
    found = _readable(_WHOLE, row)
    if found["ignored_by_type"] == "staff":
        found["ignored_by"] = None  # to a customer, staff are nobody in particular
    return found


def stats(agent: Agent, owner: Owner) -> dict[str, Any]:
    """How many there are, by status, by severity of the open ones, how many are overdue or due within seven days."""
    with agent.looking() as connection:
        rows = connection.execute(query("finding", "stats"), {"log": owner.log_id, "now": agent.clock()}).fetchall()
        analyses = dict(connection.execute(query("finding", "analyses"), {"log": owner.log_id}).fetchall())
    return {
        "total": sum(row[2] for row in rows),
        "by_status": {status: sum(row[2] for row in rows if row[0] == status) for status in _STATUSES},
        "open_by_severity": {
            severity: sum(row[2] for row in rows if row[:2] == ("open", severity)) for severity in SEVERITIES
        },
        "overdue": sum(row[3] for row in rows),
        "due_within_7_days": sum(row[4] for row in rows),
        "by_analysis_status": {
            status: analyses.get(status, 0) for status in ("none", "pending", "running", "completed", "failed")
        },
    }


def delete(agent: Agent, owner: Owner, repository: str, acting: Acting, correlation_id: str) -> int:
    """Deletes all findings of a repository, each with an event that holds what it was; returns how many.

    Each transaction deletes some of them with their events; where it fails in between, the rest is still there, and may
    be deleted again.

    Raises:
        Invalid: the name is not ``owner/name``.
    """
    try:
        FullName.parse(repository)
    except BadName as error:
        raise Invalid("repository", str(error)) from None
    parameters = {"log": owner.log_id, "repository": repository, "most": AT_ONCE}
    deleted = 0
    while True:
        with agent.changing(owner) as connection:
            rows = connection.execute(query("finding", "delete"), parameters).fetchall()
            agent.log.record_all([_deleted(owner, row, acting, correlation_id) for row in rows], connection)
        deleted += len(rows)
        if len(rows) < AT_ONCE:
            return deleted


def _deleted(owner: Owner, row: tuple[Any, ...], acting: Acting, correlation_id: str) -> Event:
    snapshot = Snapshot(*row[:13])
    fixed_at, ignored_at, reason, analysis_status = row[13:]
    reason = plain(reason) if reason else None
    state = {"status": snapshot.status, "reason": reason} if reason else {"status": snapshot.status}
    return Event(
        owner=owner, action="security.finding.deleted", actor=acting.actor, source=acting.source,
        resource=Resource(FINDING, str(snapshot.id)), before_state=state, correlation_id=correlation_id,
        metadata={
            "finding": snapshot.as_payload(), "fixed_at": fixed_at, "ignored_at": ignored_at, "reason": reason,
            "analysis_status": analysis_status,
        },
    )  # fmt: skip


def _readable(names: tuple[str, ...], row: tuple[Any, ...]) -> dict[str, Any]:
    found = dict(zip(names, row, strict=True))
    score = found["cvss_score"]
    return {**found, "cvss_score": None if score is None else float(score)}
