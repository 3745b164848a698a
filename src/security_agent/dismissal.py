"""Dismissal: by a person, GitHub first; by the product itself, here first and on GitHub afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args
from uuid import uuid4

from permalog import Actor, Event, Personal, Resource
from security_agent.actions import FINDING
from security_agent.case import has_address, hold, look
from security_agent.errors import AgentError, Conflict, Invalid, NotFound
from security_agent.queue import Task, defer
from security_agent.sql import query

if TYPE_CHECKING:
    from uuid import UUID

    from permalog import Connection, Owner
    from security_agent.agent import Acting, Agent
    from security_agent.case import Case
    from security_agent.policy import Decision

Reason: TypeAlias = Literal["fix_started", "inaccurate", "no_bandwidth", "not_used", "tolerable_risk"]
Trigger: TypeAlias = Literal["triage", "sandbox", "bulk"]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)
LONGEST_COMMENT: Final = 2000
GITHUB_COMMENT: Final = 280
"""Characters that GitHub takes of a comment."""
_MANUAL: Final = "security.finding.dismissed"
_AUTOMATIC: Final = "security.finding.auto_dismissed"


@dataclass(frozen=True, slots=True)
class Dismissed:
    """A finding that is dismissed here and on GitHub."""

    finding_id: UUID
    reason: Reason
    correlation_id: str


class NotPermitted(Conflict):
    """GitHub has not granted what writing a dismissal back takes."""

    def __init__(self) -> None:
        super().__init__(
            "GitHub has granted vulnerability_alerts: read only; dismissing needs vulnerability_alerts: write:"
            " accept the App's new permissions on GitHub"
        )


def dismiss(  # noqa: PLR0913, PLR0917  who dismisses what, and why
    agent: Agent, owner: Owner, finding_id: UUID, acting: Acting, reason: str, comment: str | None
) -> Dismissed:
    """Dismisses a finding for a person: on GitHub, and then here.

    Where GitHub does not do it, nothing changes here, and the attempt is on record as ``failure``; so is that the
    finding was deleted while GitHub did it. Where this process dies in between, the next sync finds the alert dismissed
    on GitHub, and takes that over with an event that says so.

    Raises:
        Invalid: the reason is none of `REASONS`, or the comment is longer than 2,000 characters.
        NotFound: there is no such finding.
        Conflict: it is not open.
        NotConnected: there is no installation that could be used.
        NotPermitted: the installation may not write.
        GitHubError: GitHub refuses, or cannot be reached.
    """
    wanted, text = _checked(reason, comment)
    correlation_id = str(uuid4())
    with agent.looking() as connection:
        case = look(connection, owner.log_id, finding_id)
    if case.status != "open":
        raise Conflict(f"the finding is {case.status}; only open ones are dismissed")
    try:
        alert = _on_github(agent, case, wanted, text)
    except AgentError as error:
        with agent.changing(owner) as connection:
            agent.log.record(_refused(case, acting, wanted, text, code_of(error), correlation_id), connection)
        raise
    try:
        with agent.changing(owner) as connection:
            case = hold(connection, owner.log_id, finding_id)
            _ignore(connection, case, wanted, text, acting.actor, alert)
            agent.log.record(_dismissed(case, acting, wanted, text, correlation_id), connection)
    except NotFound:
        with agent.changing(owner) as connection:
            event = _refused(case, acting, wanted, text, "finding_deleted", correlation_id, write_back="completed")
            agent.log.record(event, connection)
        raise
    return Dismissed(finding_id, wanted, correlation_id)


def dismiss_automatically(  # noqa: PLR0913  what the event says
    agent: Agent,
    connection: Connection,
    case: Case,
    decision: Decision,
    *,
    trigger: Trigger,
    analysis_id: UUID,
    correlation_id: str | None,
    acting: Acting | None = None,
) -> UUID | None:
    """Dismisses a finding here, and lets GitHub know later; gives the id of the write-back.

    Args:
        agent: with its log.
        connection: in a transaction that has locked the finding.
        case: the finding, open.
        decision: of the policy, to dismiss.
        trigger: what it follows from.
        analysis_id: the analysis that it rests on.
        correlation_id: of the operation that this belongs to.
        acting: the person who asked for it; None: the product itself.
    """
    reason: Reason = "not_used" if decision.ground == "sandbox" else "tolerable_risk"
    text = f"Dismissed automatically: {decision.reason}."
    actor = acting.actor if acting else Actor.system("auto-dismiss")
    _ignore(connection, case, reason, text, actor, None)
    event = Event(
        owner=case.owner,
        action=_AUTOMATIC,
        actor=actor,
        source=acting.source if acting else "worker",
        resource=Resource(FINDING, str(case.finding_id)),
        before_state={"status": case.status},
        after_state={"status": "ignored", "reason": reason},
        metadata={
            "finding": case.snapshot(),
            "trigger": trigger,
            "ground": decision.ground,
            "confidence": decision.confidence.value if decision.confidence else None,
            "analysis_id": str(analysis_id),
            "source": case.source,
            "write_back": "pending",
        },
        correlation_id=correlation_id,
    )
    agent.log.record(event, connection)
    row = connection.execute(
        query("judgement", "add_write_back"),
        {"log_id": case.log_id, "finding_id": case.finding_id, "reason": reason, "comment": text,
         "correlation_id": correlation_id},
    ).fetchone()  # fmt: skip
    if row is None:
        return None  # GitHub is being told already
    defer(connection, Task.WRITE_BACK, log_id=case.log_id, id=row[0])
    return row[0]


def for_github(text: str | None, finding_id: UUID) -> str | None:
    """A comment that GitHub takes: shortened where it must be, and saying where the whole is."""
    if text is None or len(text) <= GITHUB_COMMENT:
        return text
    rest = f" […] (whole text: audit log, finding {finding_id})"
    return text[: GITHUB_COMMENT - len(rest)].rstrip() + rest


def code_of(error: AgentError) -> str:
    """What stands in an event for an error: its kind, in snake case. Nothing that GitHub said."""
    name = type(error).__name__
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
    return snake.replace("git_hub", "github")


def _checked(reason: str, comment: str | None) -> tuple[Reason, str | None]:
    if reason not in REASONS:
        raise Invalid("reason", f"must be one of {', '.join(REASONS)}")
    if comment is not None and len(comment) > LONGEST_COMMENT:
        raise Invalid("comment", f"is longer than {LONGEST_COMMENT} characters")
    if comment is not None and "\0" in comment:
        raise Invalid("comment", "holds a NUL")
    return reason, (comment.strip() or None) if comment else None


def _on_github(agent: Agent, case: Case, reason: Reason, comment: str | None) -> dict[str, Any]:
    installation = case.installation()
    if not case.may_write_back:
        raise NotPermitted
    number = int(case.source_id)
    return agent.asking().dismiss(installation, case.repository, number, reason, for_github(comment, case.finding_id))


def _ignore(  # noqa: PLR0913, PLR0917  the columns
    connection: Connection, case: Case, reason: Reason, comment: str | None, actor: Actor, alert: dict[str, Any] | None
) -> None:
    connection.execute(
        query("judgement", "ignore_finding"),
        {
            "log_id": case.log_id, "finding_id": case.finding_id, "reason": reason, "comment": comment,
            "by": actor.id, "by_type": actor.type,
            "source_state": alert["state"] if alert else None,
            "source_updated_at": alert["updated_at"] if alert else None,
        },
    )  # fmt: skip


def shown(comment: str | None) -> str | Personal | None:
    """A comment as a payload holds it: one with an address in it as personal data."""
    if comment is None or not has_address(comment):
        return comment
    return Personal("comment", comment[:2048])


def _dismissed(case: Case, acting: Acting, reason: Reason, comment: str | None, correlation_id: str) -> Event:
    return Event(
        owner=case.owner,
        action=_MANUAL,
        actor=acting.actor,
        source=acting.source,
        resource=Resource(FINDING, str(case.finding_id)),
        before_state={"status": case.status},
        after_state={"status": "ignored", "reason": reason, "comment": shown(comment)},
        metadata={"finding": case.snapshot(), "source": case.source, "write_back": "completed"},
        correlation_id=correlation_id,
    )


def _refused(  # noqa: PLR0913, PLR0917  what the event says
    case: Case,
    acting: Acting,
    reason: Reason,
    comment: str | None,
    code: str,
    correlation_id: str,
    write_back: Literal["completed", "failed"] = "failed",
) -> Event:
    """An attempt that GitHub did not do, or of which nothing came here: the status is as it was."""
    return Event(
        owner=case.owner,
        action=_MANUAL,
        outcome="failure",
        actor=acting.actor,
        source=acting.source,
        resource=Resource(FINDING, str(case.finding_id)),
        before_state={"status": case.status},
        after_state={"status": case.status, "reason": reason, "comment": shown(comment)},
        metadata={"finding": case.snapshot(), "source": case.source, "write_back": write_back, "error": code},
        correlation_id=correlation_id,
    )
